"""The paper's weak view: one random resize, crop and flip, the same for an image and its mask.

Source: UniMatch V2, section 4.1 (implementation details): long side scaled by U(0.5, 2.0), random crop, flip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.augment.base import WHOLE, Cut, Image, Label, Region, WeakView, each_plane
from unimatch.kinds import checked
from unimatch.options import ascending, probability
from unimatch.types import IGNORE_INDEX


@dataclass(frozen=True)
class Geometry:
    """How a ``crop x crop`` view is cut out of an image: resized to ``height x width``, cut at (top, left), flipped."""

    height: int
    width: int
    top: int
    left: int
    flip: bool
    crop: int

    @property
    def shown(self) -> Region:
        """Rows and columns of the view that are not padding, which lies below and on the right or, if flipped, left."""
        columns = slice(max(self.crop - self.width, 0), None) if self.flip else slice(self.width)
        return slice(self.height), columns

    def valid(self) -> NDArray[np.bool_]:
        """Returns (crop, crop) bool, False where the view is padding."""
        valid = np.zeros((self.crop, self.crop), np.bool_)
        valid[self.shown] = True
        return valid

    def apply_to_image(self, image: Image) -> Image:
        """Returns the view (crop, crop, 3) of an image (H, W, 3), or that of one band; bilinear, padded with 0."""
        return self._padded(resized(image, self.height, self.width, self._window), padding=0)

    def apply_to_mask(self, mask: Label) -> Label:
        """Returns the view (crop, crop) of a mask (H, W); nearest pixel, padded with :data:`IGNORE_INDEX`."""
        return self._padded(resized_mask(mask, self.height, self.width)[self._window], padding=IGNORE_INDEX)

    @property
    def _window(self) -> Region:
        return slice(self.top, self.top + self.crop), slice(self.left, self.left + self.crop)

    def _padded(self, window: Image, padding: int) -> Image:
        """Returns a copy of the window, padded below and to the right, then flipped."""
        below, right = self.crop - window.shape[0], self.crop - window.shape[1]
        if below or right:
            bordered = cv2.copyMakeBorder(window, 0, below, 0, right, cv2.BORDER_CONSTANT, value=[padding] * 3)
            window = np.asarray(bordered, np.uint8)
        # OpenCV flips thirty times as fast as NumPy copies in reverse.
        return np.asarray(cv2.flip(window, 1), np.uint8) if self.flip else window.copy()


def resized(image: Image, height: int, width: int, region: Region = WHOLE) -> Image:
    """Returns a region of an image (H, W, 3), or of one band (H, W), after resizing it to ``height x width``, bilinear.

    Pillow shrinks images, as in the reference: its triangle filter covers all pixels that become one, where plain
    interpolation would alias. It computes only the region.
    """
    old_height, old_width = image.shape[:2]
    if height >= old_height and width >= old_width:
        return _scaled(image, height, width, cv2.INTER_LINEAR)[region]
    (top, bottom, _), (left, right, _) = region[0].indices(height), region[1].indices(width)
    down, across = old_height / height, old_width / width
    # Rounding must not make the box larger than the image.
    box = (left * across, top * down, min(right * across, old_width), min(bottom * down, old_height))
    shrunk = PIL.Image.fromarray(image).resize((right - left, bottom - top), PIL.Image.Resampling.BILINEAR, box)
    return np.asarray(shrunk)


def resized_mask(mask: Label, height: int, width: int) -> Label:
    """Returns a mask (H, W) resized to ``height x width``, nearest pixel.

    ``INTER_NEAREST_EXACT`` takes pixel centres, as the image's interpolation does; ``INTER_NEAREST`` would shift the
    mask by up to half a pixel.
    """
    return _scaled(mask, height, width, cv2.INTER_NEAREST_EXACT)


def _scaled(array: Image, height: int, width: int, interpolation: int) -> Image:
    if array.shape[:2] == (height, width):
        return array
    return np.asarray(cv2.resize(array, (width, height), interpolation=interpolation), np.uint8)


@checked
@dataclass(frozen=True)
class ScaledCrop(WeakView):
    """Resizes an image by a random factor, crops it at a random place and flips it at random.

    Args:
        scale: lowest and highest factor of the image's long side.
        flip: probability of a horizontal flip.
    """

    scale: Sequence[float] = (0.5, 2.0)
    flip: float = 0.5

    def __post_init__(self) -> None:
        ascending(scale=self.scale)
        probability(flip=self.flip)

    @override
    def cut(self, rng: np.random.Generator, image: Image, label: Label | None, crop: int) -> Cut:
        geometry = draw_geometry(rng, *image.shape[-3:-1], crop=crop, scale=self.scale, flip=self.flip)
        mask = None if label is None else geometry.apply_to_mask(label)
        return Cut(each_plane(geometry.apply_to_image, image), mask, geometry.valid(), geometry.shown)


def draw_geometry(
    rng: np.random.Generator, height: int, width: int, *, crop: int, scale: Sequence[float], flip: float
) -> Geometry:
    """Draws the geometry of one view of an image of ``height x width`` pixels; see :class:`ScaledCrop`.

    The length of the long side is drawn uniformly from whole pixels.

    >>> draw_geometry(np.random.default_rng(0), 60, 80, crop=32, scale=(1.0, 1.0), flip=0.0)
    Geometry(height=60, width=80, top=24, left=31, flip=False, crop=32)
    """
    long_side = max(height, width)
    new_long = max(1, int(rng.integers(int(long_side * scale[0]), int(long_side * scale[1]), endpoint=True)))
    if height > width:
        new_height, new_width = new_long, max(1, int(width * new_long / height + 0.5))
    else:
        new_height, new_width = max(1, int(height * new_long / width + 0.5)), new_long
    return Geometry(
        height=new_height,
        width=new_width,
        top=int(rng.integers(0, max(new_height - crop, 0), endpoint=True)),
        left=int(rng.integers(0, max(new_width - crop, 0), endpoint=True)),
        flip=bool(rng.random() < flip),
        crop=crop,
    )
