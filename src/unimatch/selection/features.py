"""Describes photos by features: those of a frozen encoder or, without weights, colour and texture."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from unimatch.images.arrays import ImageArray
from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD
from unimatch.models.encoder_base import Encoder

SHORT_SIDE = 252
"""Pixels to which the shorter side of a photo is resized, unless the longer one would have more than three times as
many."""

PATCHES = 48
"""The most patches of a photo that are kept, spread evenly over it."""

CELL = 14
"""Pixels of a patch's side if there is no encoder."""


@dataclass(frozen=True)
class Description:
    """The features of one photo and of its patches."""

    image: NDArray[np.float16]
    """(D,), of unit length."""
    patches: NDArray[np.float16]
    """(P, E), each row of unit length."""


class Describer(ABC):
    """Computes descriptions of photos."""

    name: str
    """Its name in messages."""

    @property
    def identity(self) -> str:
        """A text that differs between describers of different results; part of the keys of stored descriptions."""
        return f"{self.name}, {SHORT_SIDE} pixels, {PATCHES} patches"

    @abstractmethod
    def __call__(self, image: ImageArray) -> Description:
        """Describes a photo, (H, W, 3) uint8 RGB."""


class EncoderDescriber(Describer):
    """Describes a photo by the mean features of each level of an encoder, and its patches by those of the last level.

    Args:
        encoder: in eval mode, on its device.
        name: its name.
    """

    def __init__(self, encoder: Encoder, name: str) -> None:
        self.encoder, self.name = encoder, name
        self.device = next(encoder.parameters()).device

    @cached_property
    @override
    def identity(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for key, tensor in self.encoder.state_dict().items():
            digest.update(key.encode() + tensor.cpu().flatten().numpy().tobytes())
        return f"{super().identity}, weights {digest.hexdigest()}"

    @override
    @torch.inference_mode()
    def __call__(self, image: ImageArray) -> Description:
        small = resized(image, self.encoder.size_multiple)
        pixels = torch.from_numpy(small).to(self.device).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        levels = self.encoder((pixels - mean) / std)
        means = [unit(level.mean(dim=(2, 3))[0]) for level in levels]
        return describe(torch.cat(means), levels[-1][0].flatten(1).T)


class ColorDescriber(Describer):
    """Describes a patch by the mean and deviation of L*a*b* and its mean gradients, a photo by those of its patches."""

    name = "colour and texture"

    @override
    def __call__(self, image: ImageArray) -> Description:
        small = resized(image, CELL)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) / 255 - 0.5
        gradients = [np.abs(cv2.Sobel(lab[..., 0], cv2.CV_32F, dx, dy)) for dx, dy in ((1, 0), (0, 1))]
        maps = np.dstack([lab, *gradients])
        height, width = maps.shape[0] // CELL, maps.shape[1] // CELL
        cells = maps.reshape(height, CELL, width, CELL, -1).swapaxes(1, 2).reshape(height * width, CELL**2, -1)
        patches = torch.from_numpy(np.hstack([cells.mean(axis=1), 2 * cells[..., :3].std(axis=1)]))
        return describe(torch.cat([patches.mean(dim=0), patches.std(dim=0)]), patches)


def resized(image: ImageArray, multiple: int) -> ImageArray:
    """Returns a photo at the size at which it is described, with sides that are multiples of ``multiple``."""
    height, width = image.shape[:2]
    scale = min(SHORT_SIDE / min(height, width), 3 * SHORT_SIDE / max(height, width))
    sides = (max(1, round(side * scale / multiple)) * multiple for side in (width, height))
    return cv2.resize(image, tuple(sides), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def describe(image: Tensor, patches: Tensor) -> Description:
    """Returns the description of a photo from its feature (D,) and those of its patches (P, E)."""
    chosen = torch.linspace(0, len(patches) - 1, min(PATCHES, len(patches))).round().long()
    kept = unit(patches[chosen.to(patches.device)])
    return Description(unit(image).half().cpu().numpy(), kept.half().cpu().numpy())


def unit(features: Tensor) -> Tensor:
    """Returns features (..., D) scaled to unit length, in float32."""
    return nn.functional.normalize(features.float(), dim=-1)
