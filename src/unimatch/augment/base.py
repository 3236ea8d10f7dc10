"""Defines weak and strong views, of which :mod:`unimatch.augment.views` makes samples."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.errors import ConfigError, DataError

Image = NDArray[np.uint8]
"""(H, W, 3), or as many bands as the data set has; or (2, H, W, 3), the two dates of a pair."""
Label = NDArray[np.uint8]
"""(H, W) class ids."""
Region = tuple[slice, slice]
"""Rows and columns of an image."""

WHOLE: Region = (slice(None), slice(None))

LARGEST_SIDE = 2**15 - 1
"""The largest side of a view, in pixels: OpenCV moves no larger images."""


@dataclass(frozen=True)
class Cut:
    """A weak view of an image: a square cut out of it, and of its label."""

    image: Image
    """(..., crop, crop, 3)."""
    label: Label | None
    """(crop, crop), 255 where the image is padded; None if no label was given."""
    valid: NDArray[np.bool_]
    """(crop, crop), False where the image is padded."""
    shown: Region = WHOLE
    """The rows and columns outside which the image is black padding."""


class WeakView(ABC):
    """Cuts a square out of an image: the same one out of both dates of a pair and out of the label."""

    @abstractmethod
    def cut(self, rng: np.random.Generator, image: Image, label: Label | None, crop: int) -> Cut:
        """Cuts a view of ``crop x crop`` pixels out of an image, which stays as it is; all randomness is ``rng``'s."""


class StrongView(ABC):
    """Changes the pixels of a weak view."""

    @property
    def moves(self) -> str:
        """The names of the changes that move pixels away from their labels; empty if there are none."""
        return ""

    @abstractmethod
    def __call__(self, rng: np.random.Generator, image: Image, shown: Region = WHOLE) -> Image:
        """Returns a changed copy of an image (H, W, C), or the image itself.

        Of a pair one date is given at a time. All randomness comes from ``rng``. Outside the rows and columns ``shown``
        the image is black padding, whose pixels do not count, so that their colours may be anything.
        """

    def for_bands(self) -> "StrongView":
        """Returns the view to use instead where the image's bands are not red, green and blue."""
        return self


class CalledView(StrongView):
    """Makes a strong view with the user's own function.

    Args:
        change: ``(rng, image) -> image``: takes and returns (H, W, 3) uint8, or as many bands as the data set has, of
            the same size. It moves no pixels, and takes all randomness from the generator.
    """

    def __init__(self, change: Callable[[np.random.Generator, Image], Image]) -> None:
        library = type(change).__module__.partition(".")[0]
        if wrapper := {"albumentations": "Albumentations", "torchvision": "TorchvisionV2"}.get(library):
            raise ConfigError(f"strong={type(change).__name__}: wrap it, unimatch.augment.{wrapper}(transform)")
        if not callable(change):
            raise ConfigError(f"strong={change}: must be a strong view, or a function (rng, image) -> image")
        self.change = change

    @override
    def __call__(self, rng: np.random.Generator, image: Image, shown: Region = WHOLE) -> Image:
        changed = self.change(rng, image.copy())
        if not isinstance(changed, np.ndarray) or (changed.dtype, changed.shape) != (image.dtype, image.shape):
            found = f"{getattr(changed, 'dtype', type(changed).__name__)} {getattr(changed, 'shape', '')}".strip()
            raise DataError(f"strong: must return {image.dtype} {image.shape}, this view returns {found}")
        return changed


def each_date(change: Callable[[Image], Image], image: Image) -> Image:
    """Applies a change to an image (H, W, 3), or to each date of a pair (2, H, W, 3)."""
    return change(image) if image.ndim == 3 else np.stack([change(date) for date in image])


def each_plane(change: Callable[[Image], Image], image: Image) -> Image:
    """Applies a change that mixes no bands to an image (..., H, W, C): to three bands at once, else band by band."""
    if image.shape[-1] == 3:
        return each_date(change, image)
    planes = (np.ascontiguousarray(plane) for plane in np.moveaxis(image, -1, 0))
    return np.stack([change(plane) if plane.ndim == 2 else np.stack([*map(change, plane)]) for plane in planes], -1)
