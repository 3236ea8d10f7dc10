import errno

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import unimatch
from helpers.support import SMALL, rest_nightly
from unimatch import disk
from unimatch.callbacks.tracking import log_picture
from unimatch.loggers import loggers


def test_a_resumed_part_replaces_what_was_logged_after_its_checkpoint(tmp_path):
    for part, steps in ((None, range(10)), (5, range(5, 12))):
        _, logger = loggers.tensorboard(tmp_path, resumed=part is not None)
        if part is not None:
            logger.resume(part)
        for step in steps:
            logger.log_metrics({"loss": 10.0 * bool(part) + step}, step)
        logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(12))
    assert [event.value for event in events.Scalars("loss")] == [*range(5), *range(15, 22)]


@pytest.mark.parametrize("logger", rest_nightly(["tensorboard", "wandb", "mlflow"], ["tensorboard"]))
def test_trackers_get_curves_of_classes_and_a_picture_at_evaluations(run_command, monkeypatch, logger):
    """Not at every step: two evaluations, and nothing of it in metrics.csv."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    if logger == "mlflow":
        pytest.importorskip("mlflow")
    short = ["trainer.max_steps=4", "trainer.val_check_interval=2", f"logger={logger}"]
    run_dir = run_command(*SMALL, *short)
    assert "teacher_iou" not in (run_dir / "metrics.csv").read_text()
    if logger == "wandb":
        pictures = list(run_dir.glob("wandb/offline-run-*/files/media/images/validation_*.png"))
        assert len(pictures) == 2
        return
    if logger == "mlflow":
        (mlflow_run,) = run_dir.parent.glob(f"mlruns/*/{(run_dir / 'mlflow_id').read_text()}")
        assert [path.name for path in sorted(mlflow_run.glob("artifacts/validation/*"))] == ["1.png", "3.png"]
        assert len((mlflow_run / "metrics" / "teacher_iou" / "background").read_text().splitlines()) == 2
        return
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"images": 0}).Reload()
    background = events.Scalars("teacher_iou/background")
    assert [event.step for event in background] == [1, 3] == [event.step for event in events.Scalars("teacher/miou")]
    assert [event.step for event in events.Images("validation")] == [1, 3]
    assert events.Scalars("pseudo_label_share/background")
    assert (events.Images("validation")[0].width, events.Images("validation")[0].height) == (4 * 48, 4 * (48 + 4))


def test_the_picture_begins_with_the_image_itself():
    from unimatch import SegmentationModel, UniMatchV2
    from unimatch.callbacks import Tracking

    data = unimatch.data.digits(train=8, labeled=4, val=3)
    method = UniMatchV2(SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))).eval()
    picture = Tracking(data, count=1).picture(method)
    assert picture.shape == (52, 4 * 48, 3)
    assert np.array_equal(picture[:48, :48], data.val.image(1))


def test_a_picture_that_cannot_be_written_is_a_warning_that_names_tensorboard(tmp_path, monkeypatch, caplog):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "unwritten", {})
    _, logger = loggers.tensorboard(tmp_path)
    monkeypatch.setattr(logger.experiment, "add_image", full)
    log_picture(logger, np.zeros((4, 4, 3), np.uint8), 3)
    assert f"{tmp_path / 'tensorboard' / 'validation'} was not written: No space left" in caplog.text
