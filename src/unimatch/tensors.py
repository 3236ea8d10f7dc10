"""Turns images as arrays into the tensors that models see, and back."""

from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Returns an array (..., H, W, 3) as a tensor (..., 3, H, W), both uint8."""
    if image.ndim > 3:
        return torch.stack([to_tensor(date) for date in image])
    planes = np.empty((image.shape[2], *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)


def normalize(images: Tensor) -> Tensor:
    """Returns RGB images in 0-255 as float32 with ImageNet's mean and standard deviation; channels third from last."""
    mean, std = mean_and_std(images.device)
    return (images.float() / 255 - mean) / std


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Returns normalised images (..., 3, H, W) as an array (..., H, W, 3) of 0-255: undoes both functions above.

    >>> image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    >>> np.array_equal(to_pixels(normalize(to_tensor(image))), image)
    True
    """
    mean, std = mean_and_std(images.device)
    restored = ((images * std + mean) * 255).round().clamp(0, 255)
    return restored.byte().movedim(-3, -1).cpu().numpy()


@cache
def mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns ImageNet's statistics as (3, 1, 1) tensors, copied to each device once: a copy would stall every step."""
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], device=device).view(2, 3, 1, 1)
    return mean, std
