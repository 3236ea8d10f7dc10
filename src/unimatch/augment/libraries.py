"""Makes views of transforms from albumentations and torchvision.

A strong view only changes pixels; a weak one may also move them, together with their labels. All random numbers follow
from the generator that is passed in, so that a view does not depend on processes or order.
"""

import random
from abc import abstractmethod
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, ClassVar

import albumentations
import cv2
import numpy as np
import torch
from albumentations.augmentations.dropout.transforms import BaseDropout
from torchvision import tv_tensors
from torchvision.transforms import v2
from typing_extensions import override

from unimatch.augment.base import WHOLE, Cut, Image, Label, Region, StrongView, WeakView
from unimatch.errors import ConfigError
from unimatch.types import IGNORE_INDEX


class LibraryView(WeakView, StrongView):
    """Makes views by a library's transform.

    Args:
        transform: one of the library's, or several composed.
        first: for a weak view, cuts the crop out before the transform, which must keep its size. None if the transform
            cuts the crop out itself.
    """

    compositions: ClassVar[tuple[type, ...]]
    """The library's classes that hold other transforms as ``transforms``."""

    def __init__(self, transform: Any, first: WeakView | None = None) -> None:
        self.transform, self.first = transform, first

    @abstractmethod
    def moves_pixels(self, part: Any) -> bool:
        """Tells whether a single transform, not a composition, moves pixels."""

    @abstractmethod
    def apply(self, rng: np.random.Generator, images: list[Image], masks: list[Label]) -> tuple[list[Any], list[Label]]:
        """Transforms images (H, W, 3) and masks (H, W) in the same way; masks take the nearest pixel."""

    def parts(self, transform: Any) -> Iterator[Any]:
        """Yields the single transforms of a composition."""
        if isinstance(transform, self.compositions):
            for part in transform.transforms:  # type: ignore[attr-defined]
                yield from self.parts(part)
        else:
            yield transform

    @property
    @override
    def moves(self) -> str:
        moving = [type(part).__name__ for part in self.parts(self.transform) if self.moves_pixels(part)]
        return ", ".join([type(self.first).__name__, *moving] if self.first else moving)

    @override
    def __call__(self, rng: np.random.Generator, image: Image, shown: Region = WHOLE) -> Image:
        (changed,), _ = self.apply(rng, [image], [])
        return self._checked(changed, image.shape)

    @override
    def cut(self, rng: np.random.Generator, image: Image, label: Label | None, crop: int) -> Cut:
        if self.first is None:
            before = Cut(image, label, np.ones(image.shape[-3:-1], np.bool_))
        else:
            before = self.first.cut(rng, image, label, crop)
        dates = [before.image] if image.ndim == 3 else list(before.image)
        inside = before.valid.astype(np.uint8)
        labels = [] if before.label is None else [before.label]
        dates, (inside, outside, *labels) = self.apply(rng, dates, [inside, 1 - inside, *labels])
        dates = [self._checked(date, (crop, crop, image.shape[-1])) for date in dates]
        valid = (inside == 1) & (outside == 0)  # padding has the same value in both masks, whatever it is
        labels = [np.where(valid, label, np.uint8(IGNORE_INDEX)) for label in labels]
        return Cut(dates[0] if image.ndim == 3 else np.stack(dates), labels[0] if labels else None, valid)

    def _checked(self, image: Any, shape: tuple[int, ...]) -> Image:
        """Returns the transform's image, contiguous.

        Raises:
            ConfigError: its size or type is not that of a view.
        """
        found, kind = tuple(image.shape), str(image.dtype).removeprefix("torch.")
        if kind != "uint8":
            raise ConfigError(
                f"transform: {type(self).__name__} gives {kind}, but views are uint8; leave out what converts or "
                "normalises images, which is done later"
            )
        if found != shape:
            raise ConfigError(
                f"transform: {type(self).__name__} gives an image of {found[0]} x {found[1]} pixels, but the view has "
                f"{shape[0]} x {shape[1]}; end it with a crop of this size, or let a weak view cut the crop out before "
                "it: first=unimatch.augment.ScaledCrop()"
            )
        return np.ascontiguousarray(image)


class Albumentations(LibraryView):
    """Makes views with any transform of albumentations, such as an ``A.Compose``; its own seed has no effect.

    >>> view = Albumentations(albumentations.HorizontalFlip(p=1.0))
    >>> view.cut(np.random.default_rng(0), np.arange(12, dtype=np.uint8).reshape(2, 2, 3), None, 2).image[0].tolist()
    [[3, 4, 5], [0, 1, 2]]
    """

    compositions = (albumentations.BaseCompose,)

    def __init__(self, transform: Any, first: WeakView | None = None) -> None:
        if not isinstance(transform, albumentations.BasicTransform | albumentations.BaseCompose):
            raise ConfigError(f"transform={transform}: must be of albumentations, such as A.Compose([...])")
        both = albumentations.Compose(
            [deepcopy(transform)],
            additional_targets={"image1": "image", "mask1": "mask", "mask2": "mask"},
            mask_interpolation=cv2.INTER_NEAREST,
        )
        super().__init__(both, first)

    @override
    def moves_pixels(self, part: Any) -> bool:
        # Dropout fills holes, and changes masks only if it has a value for them.
        harmless = isinstance(part, BaseDropout) and part.fill_mask is None
        return isinstance(part, albumentations.DualTransform) and not harmless

    @override
    def apply(self, rng: np.random.Generator, images: list[Image], masks: list[Label]) -> tuple[list[Any], list[Label]]:
        self.transform.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        image_names, mask_names = ("image", "image1")[: len(images)], ("mask", "mask1", "mask2")[: len(masks)]
        given = dict(zip(image_names, images, strict=True)) | dict(zip(mask_names, masks, strict=True))
        made = self.transform(**given)
        return [made[name] for name in image_names], [made[name] for name in mask_names]


class TorchvisionV2(LibraryView):
    """Makes views with any transform of ``torchvision.transforms.v2`` that takes its random numbers from torch."""

    compositions = (v2.Compose, v2.RandomApply, v2.RandomChoice, v2.RandomOrder)

    def __init__(self, transform: Any, first: WeakView | None = None) -> None:
        super().__init__(transform, first)
        for part in self.parts(transform):
            if not isinstance(part, v2.Transform):
                raise ConfigError(f"transform={part}: must be of torchvision.transforms.v2, such as v2.Compose([...])")

    @override
    def moves_pixels(self, part: Any) -> bool:
        # torchvision has no common class for such transforms, but defines them in two modules.
        modules = {kind.__module__.rpartition(".")[2] for kind in type(part).__mro__}
        return bool(modules & {"_geometry", "_auto_augment"})

    @override
    def apply(self, rng: np.random.Generator, images: list[Image], masks: list[Label]) -> tuple[list[Any], list[Label]]:
        stacked = torch.from_numpy(np.stack(images)).movedim(-1, -3)
        given = [tv_tensors.Image(stacked if len(images) > 1 else stacked[0])]
        given += [tv_tensors.Mask(torch.from_numpy(mask)) for mask in masks]
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed the GPUs too, whose state is not restored here.
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            made, *moved = self.transform(given)
        changed = made.movedim(-3, -1).numpy()
        return list(changed) if len(images) > 1 else [changed], [mask.numpy() for mask in moved]
