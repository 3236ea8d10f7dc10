"""Makes the views on which a method trains. A sample is a function of the image and one random generator.

Both dates of a pair share one geometry; colour and sharpness are changed independently, as in the published code.
"""

import math
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unimatch.augment.base import Cut, Image, StrongView, WeakView, each_date
from unimatch.augment.cutmix import draw_box
from unimatch.augment.geometry import ScaledCrop
from unimatch.augment.strong import StrongAugmentation
from unimatch.errors import ConfigError, DataError
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.tensors import to_tensor
from unimatch.types import IGNORE_INDEX, NO_CLASS, UNKNOWN_TRUTH


@dataclass(frozen=True)
class Views:
    """Makes training samples out of images with a weak and a strong view.

    The strong views of an unlabelled image show the same crop as its weak view, which gives their pixels' labels. If an
    image has one class, each view has its own crop, and there is no CutMix.

    Args:
        crop: side of the views, in pixels.
        weak: cuts a view out of an image.
        strong: makes a strong view of a weak one.
        cutmix: probability of a CutMix box in a strong view.
        strong_views: number of strong views of each unlabelled image; the first does not depend on it.
        labeled_strong: whether labelled images get the strong view's changes and box too.
        on_device: whether changes are only drawn: a field ``change`` of ten numbers then replaces each strong view, and
            tells :func:`unimatch.augment.batched.augment` how to change the image on the device.
        one_class: whether an image has one class, instead of one for each pixel.
        bands: what the images' bands mean. Pixels without data are ignored like padding; if bands are not red, green
            and blue, ``strong.for_bands()`` is used instead of ``strong``.
    """

    crop: int
    weak: WeakView = field(default_factory=ScaledCrop)
    strong: StrongView = field(default_factory=StrongAugmentation)
    cutmix: float = 0.5
    strong_views: int = 2
    labeled_strong: bool = False
    on_device: bool = False
    one_class: bool = False
    bands: Bands = PHOTOS

    def __post_init__(self) -> None:
        if not self.bands.rgb:
            object.__setattr__(self, "strong", self.strong.for_bands())
        name = type(self.strong).__name__
        if self.strong.moves and not self.one_class:
            raise ConfigError(
                f"strong={name}: {self.strong.moves} moves pixels, and their labels would stay behind; use it in the "
                "weak view, which moves image, mask and padding together"
            )
        if self.cutmix and self.one_class:
            raise ConfigError(f"cutmix={self.cutmix}: pastes pixels, but an image has one class here; leave it out")
        if self.on_device and not isinstance(self.strong, StrongAugmentation):
            raise ConfigError(
                f"augment=device: only StrongAugmentation (strong=paper) is drawn first and carried out later on the "
                f"device, not {name}; choose augment=workers"
            )
        if self.on_device and self.one_class:
            raise ConfigError(
                "augment=device: the device has the weak view alone, but strong views have crops of their own where an "
                "image has one class; choose augment=workers"
            )

    def labeled(self, rng: np.random.Generator, image: Image, label: NDArray[np.integer]) -> dict[str, Tensor]:
        """Returns a labelled sample: ``image`` (..., C, crop, crop) uint8, ``label`` and, if strong, ``box`` (4,)."""
        cut, known = self._cut(rng, image, label)
        sample = {"image": to_tensor(cut.image), "label": known}
        return sample | self._strong(rng, cut, "image") if self.labeled_strong else sample

    def unlabeled(self, rng: np.random.Generator, image: Image, label: NDArray[np.integer] | None) -> dict[str, Tensor]:
        """Returns the fields of :class:`unimatch.types.UnlabeledBatch` for one image, images as uint8."""
        cut, truth = self._cut(rng, image, label)
        valid = torch.tensor(True) if self.one_class else torch.from_numpy(cut.valid)
        sample = {"weak": to_tensor(cut.image), "valid": valid, "truth": truth}
        for number in range(1, self.strong_views + 1):
            if self.one_class:
                cut, _ = self._cut(rng, image, None)
            sample |= self._strong(rng, cut, f"strong{number}", str(number))
        return sample

    def _cut(self, rng: np.random.Generator, image: Image, label: NDArray[np.integer] | None) -> tuple[Cut, Tensor]:
        """Returns a weak view, and its label: (crop, crop) uint8, or () int64 if the image has one class."""
        if label is not None and (label.ndim == 0) != self.one_class:
            raise DataError(
                f"a label of shape {label.shape}, but one_class={self.one_class} (SegmentationData.one_class)"
            )
        if self.one_class:
            return self.weak.cut(rng, image, None, self.crop), torch.tensor(NO_CLASS if label is None else int(label))
        empty = self.bands.without_data(image)
        before = None if empty is None or not empty.any() else deepcopy(rng)
        cut = self.weak.cut(rng, image, None if label is None else np.asarray(label, np.uint8), self.crop)
        if empty is not None and before is not None:
            # Resizing blends such pixels with their neighbours, so that in the view they are no longer 0: they are cut
            # out like a label, by the same draws.
            hidden = np.asarray(self.weak.cut(before, image, empty.astype(np.uint8), self.crop).label) == 1
            mask = None if cut.label is None else np.where(hidden, IGNORE_INDEX, cut.label).astype(np.uint8)
            cut = replace(cut, label=mask, valid=cut.valid & ~hidden)
        unknown = np.full((self.crop, self.crop), UNKNOWN_TRUTH, np.uint8)
        return cut, torch.from_numpy(unknown if cut.label is None else cut.label)

    def _strong(self, rng: np.random.Generator, cut: Cut, name: str, number: str = "") -> dict[str, Tensor]:
        """Returns the strong view of a weak one, or the changes drawn for it, and its CutMix box.

        ``name`` is the field of the view, ``number`` what is added to the names of the fields ``change`` and ``box``.
        """
        if self.on_device:
            assert isinstance(self.strong, StrongAugmentation)
            dates = cut.image.shape[:-3]  # (), or (2,) for a pair
            changes = [self.strong.draw(rng).packed() for _ in range(math.prod(dates))]
            sample = {f"change{number}": torch.tensor(changes, dtype=torch.float32).view(*dates, -1)}
        else:
            sample = {name: to_tensor(each_date(partial(self.strong, rng, shown=cut.shown), cut.image))}
        if not self.one_class:
            sample[f"box{number}"] = torch.tensor(draw_box(rng, self.crop, probability=self.cutmix))
        return sample
