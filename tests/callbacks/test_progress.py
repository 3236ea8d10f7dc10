from types import SimpleNamespace

import pytest
import torch

from unimatch.callbacks.progress import Progress, count_images


def test_images_of_both_loaders_count():
    labeled, unlabeled = {"index": torch.arange(3)}, {"index": torch.arange(4)}
    assert count_images({"labeled": labeled}) == 3
    assert count_images({"labeled": labeled, "unlabeled": unlabeled}) == 7


@pytest.mark.parametrize(("steps", "told"), [(1, "1"), (float("inf"), "all")])
def test_the_trial_evaluation_says_its_images(steps, told, caplog):
    trainer = SimpleNamespace(num_sanity_val_steps=steps)
    with caplog.at_level("INFO", logger="unimatch"):
        Progress().on_sanity_check_start(trainer, None)
    assert caplog.messages == [f"a trial evaluation before training starts, validation images: {told}"]


def test_a_long_evaluation_is_told_on_the_way():
    said = []
    progress = Progress(line_seconds=3600)
    progress.bar = SimpleNamespace(set_postfix_str=said.append)
    trainer = SimpleNamespace(num_val_batches=[7])
    progress.on_validation_start(trainer, None)
    progress.on_validation_batch_end(trainer, None, None, None, 0)
    assert said == []
    progress.told -= 3600
    progress.on_validation_batch_end(trainer, None, None, None, 3)
    progress.on_validation_batch_end(trainer, None, None, None, 4)
    assert said == ["evaluating 4/7"]
