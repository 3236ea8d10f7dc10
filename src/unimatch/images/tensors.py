"""Converts images from arrays to the tensors that models see, and back."""

from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unimatch.images.bands import PHOTOS, Bands

IMAGE_FIELDS = ("image", "weak", "strong1", "strong2")
LABEL_FIELDS = ("label", "truth")
"""The fields of a sample that hold images, and those that hold masks."""


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Returns an array (..., H, W, C) as a tensor (..., C, H, W), both uint8."""
    if image.ndim > 3:
        return torch.stack([to_tensor(date) for date in image])
    if image.shape[2] != 3:
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))
    planes = np.empty((image.shape[2], *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)


def normalize(images: Tensor, bands: Bands = PHOTOS) -> Tensor:
    """Returns images (..., C, H, W) in 0-255 as float32 in 0-1, less the bands' mean and divided by their std."""
    mean, std = mean_and_std(images.device, bands)
    return (images.float() / 255 - mean) / std


def to_pixels(images: Tensor, bands: Bands = PHOTOS) -> NDArray[np.uint8]:
    """Returns normalised images (..., C, H, W) as an array (..., H, W, C) uint8: the inverse of both functions above.

    >>> image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    >>> np.array_equal(to_pixels(normalize(to_tensor(image))), image)
    True
    """
    mean, std = mean_and_std(images.device, bands)
    restored = ((images * std + mean) * 255).round().clamp(0, 255)
    return restored.byte().movedim(-3, -1).cpu().numpy()


@cache
def mean_and_std(device: torch.device, bands: Bands) -> tuple[Tensor, Tensor]:
    """Returns the bands' mean and std, (C, 1, 1) each, kept on each device: a copy in every step would stall it."""
    mean, std = torch.tensor([bands.mean, bands.std], device=device).view(2, -1, 1, 1)
    return mean, std


def prepare(sample: dict[str, Tensor], bands: Bands) -> dict[str, Tensor]:
    """Returns a sample with its images normalised and its masks as int64; the other fields stay."""
    images = {name: normalize(sample[name], bands) for name in IMAGE_FIELDS if name in sample}
    labels = {name: sample[name].long() for name in LABEL_FIELDS if name in sample}
    return {**sample, **images, **labels}
