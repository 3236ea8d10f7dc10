from types import SimpleNamespace

import torch

from unimatch.callbacks.progress import Progress, count_images


def test_images_of_both_loaders_count():
    labeled, unlabeled = {"index": torch.arange(3)}, {"index": torch.arange(4)}
    assert count_images({"labeled": labeled}) == 3
    assert count_images({"labeled": labeled, "unlabeled": unlabeled}) == 7


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
