import logging
from types import SimpleNamespace

from unimatch import SegmentationModel, UniMatchV2
from unimatch.callbacks import Report


def test_a_report_that_fails_is_a_warning(tmp_path, caplog):
    trainer = SimpleNamespace(is_global_zero=True)
    method = UniMatchV2(SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8)))
    method.evaluations = [None]
    with caplog.at_level(logging.WARNING, "unimatch"):
        Report(tmp_path, None).on_fit_end(trainer, method)
    assert "report.html was not written: DataError" in caplog.text
