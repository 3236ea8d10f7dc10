import logging
from contextlib import contextmanager
from types import SimpleNamespace

import torch

import unimatch
from unimatch import SegmentationModel, UniMatchV2
from unimatch.callbacks import Report


def test_a_report_that_fails_is_a_warning(tmp_path, caplog):
    trainer = SimpleNamespace(is_global_zero=True)
    method = UniMatchV2(SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8)))
    method.evaluations = [None]
    with caplog.at_level(logging.WARNING, "unimatch"):
        Report(tmp_path, None).on_fit_end(trainer, method)
    assert "report.html was not written: DataError" in caplog.text


def test_what_was_lost_is_evaluated_again_in_the_trainings_precision(tmp_path):
    data = unimatch.data.digits(labeled=2, train=4, val=3, size=32)
    method = UniMatchV2(SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))).eval()
    entered = []

    @contextmanager
    def precision():
        entered.append(True)
        with torch.autocast("cpu", torch.bfloat16):
            yield

    report = Report(tmp_path, data)
    report.evaluate_again(SimpleNamespace(precision_plugin=SimpleNamespace(val_step_context=precision)), method)
    assert len(entered) == len(report.scores) == 3
    assert report.confusion.sum() == 3 * 32 * 32  # every pixel once
