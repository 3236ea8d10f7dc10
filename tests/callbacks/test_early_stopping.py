from types import SimpleNamespace

import lightning
import pytest

import unimatch
from unimatch.callbacks import EarlyStopping
from unimatch.errors import ConfigError


def steps_until_the_end(scores, **options):
    """Evaluations after which a training with these scores of the teacher ends; None if none of them ends it."""
    method = unimatch.UniMatchV2(unimatch.SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8)))
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    callback = EarlyStopping(**options)
    for number, score in enumerate(scores, start=1):
        method.evaluations.append(SimpleNamespace(teacher=SimpleNamespace(main=score)))
        callback.on_validation_end(trainer, method)
        if trainer.should_stop:
            return number
    return None


@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        ([1, 2, 3, 4, 5], {"patience": 1}, None),
        ([1, 2, 2, 3], {"patience": 1}, 3),
        ([1, 2, 1, 2, 2], {"patience": 3}, 5),
        ([1, 2, 1, 3, 2, 2.9], {"patience": 2}, 6),
        ([1, 1.5, 1.9, 2.5], {"patience": 2, "min_delta": 1.0}, 3),  # 2.5 would have been more than a point better
        ([1, 1.5, 2.5, 3, 3.5, 4], {"patience": 2, "min_delta": 1.0}, 5),
    ],
)
def test_training_ends_after_so_many_evaluations_without_a_better_one(scores, options, expected):
    assert steps_until_the_end(scores, **options) == expected


def test_a_resumed_run_that_had_ended_so_ends_at_once():
    method = unimatch.UniMatchV2(unimatch.SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8)))
    method.evaluations = [SimpleNamespace(teacher=SimpleNamespace(main=score)) for score in (2, 1)]
    trainer = SimpleNamespace(should_stop=False)
    EarlyStopping(patience=1).on_train_start(trainer, method)
    assert trainer.should_stop


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"^patience=0: must be at least 1"):
        EarlyStopping(patience=0)
    with pytest.raises(ConfigError, match=r"^min_delta=-1: must be a number, at least 0"):
        EarlyStopping(min_delta=-1)
