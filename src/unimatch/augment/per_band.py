"""The paper's strong view for images whose bands are not red, green and blue: without hue, saturation and grey."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.augment.base import WHOLE, Image, Region, StrongView
from unimatch.augment.blur import blurred


@dataclass(frozen=True)
class BandAugmentation(StrongView):
    """Changes brightness and contrast of each band by its own random factors, and blurs all bands alike.

    Args:
        brightness: each band's factor is drawn from U(1 - brightness, 1 + brightness).
        contrast: its factor is drawn in the same way; a band is blended with its mean.
        jitter_probability: probability of the two changes above, which are made in random order.
        blur_probability: probability of a Gaussian blur.
        blur_sigma: lowest and highest standard deviation of the blur, in pixels.
    """

    brightness: float = 0.5
    contrast: float = 0.5
    jitter_probability: float = 0.8
    blur_probability: float = 0.5
    blur_sigma: Sequence[float] = (0.1, 2.0)

    @override
    def __call__(self, rng: np.random.Generator, image: Image, shown: Region = WHOLE) -> Image:
        result, count = image, image.shape[-1]
        if rng.random() < self.jitter_probability:
            brightness = rng.uniform(1 - self.brightness, 1 + self.brightness, (count,))
            contrast = rng.uniform(1 - self.contrast, 1 + self.contrast, (count,))
            contrast_first = bool(rng.random() < 0.5)
            planes = np.moveaxis(image, -1, 0)
            tables = [
                jitter_table(plane[shown], brightness[band], contrast[band], contrast_first)
                for band, plane in enumerate(planes)
            ]
            result = np.stack([table[plane] for table, plane in zip(tables, planes, strict=True)], axis=-1)
        if rng.random() < self.blur_probability:
            sigma = rng.uniform(self.blur_sigma[0], self.blur_sigma[1])
            result = np.stack(
                [blurred(np.ascontiguousarray(result[..., band]), sigma) for band in range(count)], axis=-1
            )
        return result


def jitter_table(
    plane: NDArray[np.uint8], brightness: float, contrast: float, contrast_first: bool
) -> NDArray[np.uint8]:
    """Returns (256,), what each level of a band (H, W) becomes; values are rounded and clipped after each change.

    >>> jitter_table(np.array([[10, 30]], np.uint8), 2.0, 0.5, False)[[10, 30]].tolist()
    [30, 50]
    """
    counts = np.bincount(plane.ravel(), minlength=256)
    table = np.arange(256.0)
    for change_contrast in (contrast_first, not contrast_first):
        mean = float(counts @ table) / max(1, int(counts.sum()))
        base = mean if change_contrast else 0.0
        table = np.rint(base + (contrast if change_contrast else brightness) * (table - base)).clip(0, 255)
    return table.astype(np.uint8)
