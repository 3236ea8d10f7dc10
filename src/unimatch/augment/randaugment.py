"""Strong views for classification: random changes of colour and shape, then a grey square.

The changes and their ranges are those of FixMatch, arXiv 2001.07685, appendix D, table 12, applied with Pillow. All
random numbers come from the generator that is passed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from typing_extensions import override

from unimatch.augment.base import WHOLE, Region, StrongView
from unimatch.errors import ConfigError
from unimatch.kinds import checked

GREY = (127, 127, 127)
"""The colour of pixels that come into view when an image is moved, and of the square."""


def moved(image: Image.Image, xx: float, xy: float, x0: float, yx: float, yy: float, y0: float) -> Image.Image:
    """Returns the image whose pixel (x, y) is the given one's at (xx x + xy y + x0, yx x + yy y + y0)."""
    return image.transform(
        image.size, Image.Transform.AFFINE, (xx, xy, x0, yx, yy, y0), Image.Resampling.BILINEAR, fillcolor=grey(image)
    )


def grey(image: Image.Image) -> int | tuple[int, ...]:
    """Returns grey as a colour for an image of three bands or of one."""
    return GREY if image.mode == "RGB" else GREY[0]


CHANGES: dict[str, tuple[float, float, Callable[[Image.Image, float], Image.Image]]] = {
    "identity": (0, 0, lambda image, _: image),
    "autocontrast": (0, 0, lambda image, _: ImageOps.autocontrast(image)),
    "equalize": (0, 0, lambda image, _: ImageOps.equalize(image)),
    "brightness": (0.05, 0.95, lambda image, factor: ImageEnhance.Brightness(image).enhance(factor)),
    "color": (0.05, 0.95, lambda image, factor: ImageEnhance.Color(image).enhance(factor)),
    "contrast": (0.05, 0.95, lambda image, factor: ImageEnhance.Contrast(image).enhance(factor)),
    "sharpness": (0.05, 0.95, lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor)),
    "posterize": (4, 8, lambda image, bits: ImageOps.posterize(image, int(bits))),
    "solarize": (0, 256, lambda image, threshold: ImageOps.solarize(image, int(threshold))),
    "rotate": (-30, 30, lambda image, degrees: image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=grey(image))),
    "shear_x": (-0.3, 0.3, lambda image, slope: moved(image, 1, slope, 0, 0, 1, 0)),
    "shear_y": (-0.3, 0.3, lambda image, slope: moved(image, 1, 0, 0, slope, 1, 0)),
    "translate_x": (-0.3, 0.3, lambda image, share: moved(image, 1, 0, share * image.width, 0, 1, 0)),
    "translate_y": (-0.3, 0.3, lambda image, share: moved(image, 1, 0, 0, 0, 1, share * image.height)),
}
"""The changes by name: the lowest and the highest strength, drawn uniformly, and the function."""

MOVING = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
"""Changes that move pixels."""


@checked
@dataclass(frozen=True)
class RandAugment(StrongView):
    """Makes ``count`` random changes, then paints a grey square at a random place.

    Args:
        count: number of changes, which are drawn with repetition.
        changes: names of the :data:`CHANGES` to draw from; None for all.
        cutout: the square's side is drawn from U(0, cutout), as a share of the image's short side; 0 for none.
        by_band: whether each band is changed as a grey image, all of them alike.

    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> RandAugment()(np.random.default_rng(0), image).shape
    (8, 8, 3)
    """

    count: int = 2
    changes: Sequence[str] | None = None
    cutout: float = 0.5
    by_band: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.changes or () if name not in CHANGES]
        if unknown or (self.changes is not None and not self.changes):
            raise ConfigError(f"changes={list(self.changes or ())}: choose from {', '.join(CHANGES)}")
        if self.count < 0 or not 0 <= self.cutout <= 1:
            raise ConfigError(f"count={self.count}, cutout={self.cutout}: at least 0, and a share, are needed")

    @property
    @override
    def moves(self) -> str:
        return ", ".join(name for name in self.changes or CHANGES if name in MOVING)

    @override
    def for_bands(self) -> StrongView:
        return replace(self, by_band=True)

    @override
    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8], shown: Region = WHOLE) -> NDArray[np.uint8]:
        names = tuple(self.changes or CHANGES)
        pictures = [Image.fromarray(plane) for plane in (np.moveaxis(image, -1, 0) if self.by_band else [image])]
        for which in rng.integers(len(names), size=self.count):
            lowest, highest, change = CHANGES[names[which]]
            strength = float(rng.uniform(lowest, highest))
            pictures = [change(picture, strength) for picture in pictures]
        changed = (
            np.stack([np.asarray(picture) for picture in pictures], axis=-1) if self.by_band else np.array(pictures[0])
        )
        # The centre of the grey square may lie anywhere in the image, so that the border may cut the square.
        height, width = changed.shape[:2]
        side = int(rng.uniform(0, self.cutout) * min(height, width))
        top, left = int(rng.integers(height)) - side // 2, int(rng.integers(width)) - side // 2
        changed[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = GREY[0]
        return changed
