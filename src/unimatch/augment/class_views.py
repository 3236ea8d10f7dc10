"""The views of an image that has one class: flips and padded crops, and strong changes of these.

Source: FixMatch, arXiv 2001.07685, section 2.3: the weak view is a flip and a shift by up to an eighth of the image.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unimatch.augment.randaugment import RandAugment
from unimatch.tensors import to_tensor
from unimatch.types import NO_CLASS

Image = NDArray[np.uint8]
Strong = Callable[[np.random.Generator, Image], Image]


@dataclass(frozen=True)
class ClassWeakView:
    """The image resized, padded with its mirror image, cropped at random and flipped.

    Args:
        crop: side of the view, pixels.
        resize: length of the image's short side before the crop; None leaves an image as large as it is, unless it is
            smaller than the crop.
        padding: pixels on each side.
        flip: probability of a horizontal flip.
    """

    crop: int
    resize: int | None = None
    padding: int = 4
    flip: float = 0.5

    def weak(self, rng: np.random.Generator, image: Image) -> Image:
        """(H, W, 3) -> (crop, crop, 3)."""
        image = with_short_side(image, max(self.resize or min(image.shape[:2]), self.crop))
        if self.padding:
            pad = self.padding
            image = np.asarray(cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101), np.uint8)
        top = int(rng.integers(image.shape[0] - self.crop, endpoint=True))
        left = int(rng.integers(image.shape[1] - self.crop, endpoint=True))
        view = image[top : top + self.crop, left : left + self.crop]
        return np.ascontiguousarray(view[:, ::-1] if rng.random() < self.flip else view)


@dataclass(frozen=True)
class ClassLabeledView(ClassWeakView):
    """The view of a labelled image: weak, or strong where labelled images are to be augmented strongly."""

    strong: Strong | None = None

    def __call__(self, rng: np.random.Generator, image: Image, label: NDArray[np.int64]) -> dict[str, Tensor]:
        """``image`` (3, crop, crop) uint8, ``label`` () int64."""
        view = self.weak(rng, image)
        view = view if self.strong is None else self.strong(rng, view)
        return {"image": to_tensor(view), "label": torch.tensor(int(label))}


@dataclass(frozen=True)
class ClassUnlabeledViews(ClassWeakView):
    """The weak and the strong views of an unlabelled image: a crop and a flip of its own for each, then the changes.

    Args:
        strong: the change of a weak view that makes a strong one.
        strong_views: how many; the first is the same whatever the number.
    """

    strong: Strong = field(default_factory=RandAugment)
    strong_views: int = 2

    def __call__(self, rng: np.random.Generator, image: Image, label: NDArray[np.int64] | None) -> dict[str, Tensor]:
        """The fields of :class:`unimatch.types.UnlabeledBatch` for one image, without boxes; images as uint8."""
        sample = {
            "weak": to_tensor(self.weak(rng, image)),
            "valid": torch.tensor(True),
            "truth": torch.tensor(NO_CLASS if label is None else int(label)),
        }
        for view in range(1, self.strong_views + 1):
            sample[f"strong{view}"] = to_tensor(self.strong(rng, self.weak(rng, image)))
        return sample


def with_short_side(image: Image, length: int) -> Image:
    """The image resized to a short side of that many pixels; shrinking averages.

    >>> with_short_side(np.zeros((20, 30, 3), np.uint8), 10).shape
    (10, 15, 3)
    """
    height, width = image.shape[:2]
    short = min(height, width)
    if short == length:
        return image
    size = (max(length, round(width * length / short)), max(length, round(height * length / short)))
    kind = cv2.INTER_AREA if length < short else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=kind), np.uint8)
