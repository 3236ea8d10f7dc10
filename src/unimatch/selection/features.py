"""Describes photos by numbers: by a frozen encoder, or, without weights, by colour and texture."""

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
from unimatch.models.encoders import Encoder

SHORT_SIDE = 252
"""Pixels to which the shorter side of a photo is resized; the longer one to at most three times that."""

PATCHES = 48
"""How many patches of a photo are kept, spread evenly over it."""

CELL = 14
"""Pixels of a patch's side where there is no encoder."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which the encoders with published weights were trained with."""


@dataclass(frozen=True)
class Description:
    """What is kept of one photo."""

    image: NDArray[np.float16]
    """(D,) of unit length."""
    patches: NDArray[np.float16]
    """(P, E) each of unit length."""


class Describer(ABC):
    """Turns photos into descriptions."""

    name: str
    """What people call it."""

    @property
    def identity(self) -> str:
        """Tells apart what describes differently: part of the key under which descriptions are kept."""
        return f"{self.name}, {SHORT_SIDE} pixels, {PATCHES} patches"

    @abstractmethod
    def __call__(self, image: ImageArray) -> Description:
        """Describes a photo (H, W, 3)."""


class EncoderDescriber(Describer):
    """Describes by an encoder's features: the photo by the mean of each level, a patch by the last level.

    Args:
        encoder: in eval mode, on its device.
        name: of the encoder.
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
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (MEAN, STD))
        levels = self.encoder((pixels - mean) / std)
        means = [unit(level.mean(dim=(2, 3))[0]) for level in levels]
        return describe(torch.cat(means), levels[-1][0].flatten(1).T)


class ColorDescriber(Describer):
    """Describes by colour and texture: of each patch the mean and spread of L*a*b* and how steep its edges are."""

    name = "colour and texture"

    @override
    def __call__(self, image: ImageArray) -> Description:
        small = resized(image, CELL)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) / 255 - 0.5
        steep = [np.abs(cv2.Sobel(lab[..., 0], cv2.CV_32F, *axis)) for axis in ((1, 0), (0, 1))]
        maps = np.dstack([lab, *steep])
        height, width = maps.shape[0] // CELL, maps.shape[1] // CELL
        cells = maps.reshape(height, CELL, width, CELL, -1).swapaxes(1, 2).reshape(height * width, CELL**2, -1)
        patches = torch.from_numpy(np.hstack([cells.mean(axis=1), 2 * cells[..., :3].std(axis=1)]))
        return describe(torch.cat([patches.mean(dim=0), patches.std(dim=0)]), patches)


def resized(image: ImageArray, multiple: int) -> ImageArray:
    """Returns a photo made as small as it is described at, with sides that are multiples of ``multiple``."""
    height, width = image.shape[:2]
    scale = min(SHORT_SIDE / min(height, width), 3 * SHORT_SIDE / max(height, width))
    sides = (max(1, round(side * scale / multiple)) * multiple for side in (width, height))
    return cv2.resize(image, tuple(sides), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def describe(image: Tensor, patches: Tensor) -> Description:
    """Returns what is kept of a photo's feature (D,) and its patches' (P, E)."""
    step = torch.linspace(0, len(patches) - 1, min(PATCHES, len(patches))).round().long()
    kept = unit(patches[step.to(patches.device)])
    return Description(unit(image).half().cpu().numpy(), kept.half().cpu().numpy())


def unit(features: Tensor) -> Tensor:
    """Returns features (..., D) at unit length, in float32."""
    return nn.functional.normalize(features.float(), dim=-1)
