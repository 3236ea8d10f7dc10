"""From an image to the views a method trains on. A view is a function of the image and one random generator.

Both dates of a pair have one geometry; each has changes of colour and sharpness of its own, as in the published code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unimatch.augment.cutmix import draw_box
from unimatch.augment.geometry import draw_geometry
from unimatch.augment.strong import StrongAugmentation
from unimatch.tensors import to_tensor
from unimatch.types import UNKNOWN_TRUTH


def each_date(change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Change an image (H, W, 3), or each date of a pair (2, H, W, 3) by itself."""
    return change(image) if image.ndim == 3 else np.stack([change(date) for date in image])


def drawn(strong: StrongAugmentation, rng: np.random.Generator, view: NDArray[np.uint8]) -> Tensor:
    """What to do with a view, (10,) float32; of a pair of dates (2, 10)."""
    changes = [strong.draw(rng).packed() for _ in range(len(view) if view.ndim == 4 else 1)]
    return torch.tensor(changes if view.ndim == 4 else changes[0], dtype=torch.float32)


@dataclass(frozen=True)
class WeakView:
    """Random resize, crop and flip.

    Args:
        crop: side of the view, pixels.
        scale: lowest and highest factor of the image's long side.
        flip: probability of a horizontal flip.
    """

    crop: int
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5


@dataclass(frozen=True)
class LabeledView(WeakView):
    """The view of a labelled image: weak, or strong where labelled images are to be augmented strongly.

    Args:
        strong: adds the strong view's changes and a CutMix box if given.
        cutmix: probability of that box.
        on_device: the changes are only drawn: ``change``, (10,) float32, says what to do with the whole batch
            (:func:`unimatch.augment.batched.augment`).
    """

    strong: StrongAugmentation | None = None
    cutmix: float = 0.5
    on_device: bool = False

    def __call__(
        self, rng: np.random.Generator, image: NDArray[np.uint8], mask: NDArray[np.uint8]
    ) -> dict[str, Tensor]:
        """``image`` (3, crop, crop) uint8, ``label`` (crop, crop) uint8 and, if strong, ``box`` (4,)."""
        geometry = draw_geometry(rng, *image.shape[-3:-1], crop=self.crop, scale=self.scale, flip=self.flip)
        view = each_date(geometry.apply_to_image, image)
        sample = {"label": torch.from_numpy(geometry.apply_to_mask(mask))}
        if self.strong is not None:
            if self.on_device:
                sample["change"] = drawn(self.strong, rng, view)
            else:
                view = each_date(partial(self.strong, rng, shown=geometry.shown), view)
            sample["box"] = torch.tensor(draw_box(rng, self.crop, probability=self.cutmix))
        sample["image"] = to_tensor(view)
        return sample


@dataclass(frozen=True)
class UnlabeledViews(WeakView):
    """The weak and the strong views of an unlabelled image: one geometry, a strong augmentation for each.

    Args:
        strong: the change that makes a strong view of the weak one, drawn anew for each.
        cutmix: probability of a CutMix box in a strong view.
        strong_views: how many; the first is the same whatever the number.
        on_device: the changes are only drawn: ``change1`` and ``change2`` take the place of the strong views, see
            :class:`LabeledView`.
    """

    strong: StrongAugmentation = field(default_factory=StrongAugmentation)
    cutmix: float = 0.5
    strong_views: int = 2
    on_device: bool = False

    def __call__(
        self, rng: np.random.Generator, image: NDArray[np.uint8], mask: NDArray[np.uint8] | None
    ) -> dict[str, Tensor]:
        """The fields of :class:`unimatch.types.UnlabeledBatch` for one image, images as uint8."""
        geometry = draw_geometry(rng, *image.shape[-3:-1], crop=self.crop, scale=self.scale, flip=self.flip)
        weak = each_date(geometry.apply_to_image, image)
        if mask is None:
            truth = np.full((self.crop, self.crop), UNKNOWN_TRUTH, np.uint8)
        else:
            truth = geometry.apply_to_mask(mask)
        sample = {
            "weak": to_tensor(weak),
            "valid": torch.from_numpy(geometry.valid()),
            "truth": torch.from_numpy(truth),
        }
        for view in range(1, self.strong_views + 1):
            if self.on_device:
                sample[f"change{view}"] = drawn(self.strong, rng, weak)
            else:
                sample[f"strong{view}"] = to_tensor(each_date(partial(self.strong, rng, shown=geometry.shown), weak))
            sample[f"box{view}"] = torch.tensor(draw_box(rng, self.crop, probability=self.cutmix))
        return sample
