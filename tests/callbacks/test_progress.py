import torch

from unimatch.callbacks.progress import count_images


def test_images_of_both_loaders_count():
    labeled, unlabeled = {"index": torch.arange(3)}, {"index": torch.arange(4)}
    assert count_images({"labeled": labeled}) == 3
    assert count_images({"labeled": labeled, "unlabeled": unlabeled}) == 7
