"""What is done to pixels before a model sees them. Predicting needs no more of training's data than this."""

from functools import cache

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(images: Tensor) -> Tensor:
    """RGB in 0-255 -> float32 with ImageNet's mean and standard deviation; channels third from last."""
    mean, std = mean_and_std(images.device)
    return (images.float() / 255 - mean) / std


@cache
def mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's statistics as (3, 1, 1) tensors, copied to each device once: a copy would stall every step."""
    mean, std = torch.tensor(IMAGENET_MEAN, device=device), torch.tensor(IMAGENET_STD, device=device)
    return mean.view(3, 1, 1), std.view(3, 1, 1)
