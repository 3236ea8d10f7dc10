import lightning
import pytest

import unimatch
from helpers.support import at_night
from unimatch import SegmentationModel, SemiSupervisedDataModule, Supervised, UniMatchV2
from unimatch.callbacks import Fitness


@pytest.mark.parametrize(
    ("kind", "ema_decay", "length", "named"),
    [
        (UniMatchV2, 0.996, {"max_steps": 2}, ["has 2 steps", "method.ema_decay=0.996", "4 validation images"]),
        at_night(UniMatchV2, None, {"max_steps": 2}, ["has 2 steps", "4 validation images"]),
        at_night(Supervised, 0.996, {"max_steps": 2}, ["has 2 steps", "4 validation images"]),
        (UniMatchV2, 0.5, {"max_epochs": 1}, ["has 4 steps", "method.ema_decay=0.5", "4 validation images"]),
    ],
)
def test_what_does_not_fit_is_said_at_the_start(kind, ema_decay, length, named, caplog):
    data = unimatch.data.digits(labeled=4, train=12, val=4, size=32)
    method = kind(SegmentationModel("tiny", 11, features=4, out_channels=(4, 4, 4, 4)), ema_decay=ema_decay)
    trainer = lightning.Trainer(
        **length,
        accelerator="cpu",
        callbacks=[Fitness()],
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, SemiSupervisedDataModule(data, crop=32, batch_size=2, workers=0))
    warned = [
        record.message for record in caplog.records if record.name == "unimatch" and record.levelname == "WARNING"
    ]
    assert len(warned) == len(named)
    assert all(text in message for text, message in zip(named, warned, strict=True))
    assert method.teacher.decay == (0.0 if ema_decay is None else ema_decay)  # derived for two steps
