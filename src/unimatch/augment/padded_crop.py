"""FixMatch's weak view for classification: a random shift and a flip.

Source: FixMatch, arXiv 2001.07685, section 2.3: a flip, and a shift by up to an eighth of the image.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from typing_extensions import override

from unimatch.augment.base import LARGEST_SIDE, Cut, Image, Label, WeakView, each_plane
from unimatch.augment.geometry import resized, resized_mask
from unimatch.kinds import checked
from unimatch.options import probability, within


@checked
@dataclass(frozen=True)
class PaddedCrop(WeakView):
    """Resizes an image, pads it by reflection, crops it at a random place and flips it at random.

    Args:
        resize: length of the image's short side before the crop; None to resize only images shorter than the crop.
        padding: pixels added on each side.
        flip: probability of a horizontal flip.
    """

    resize: int | None = None
    padding: int = 4
    flip: float = 0.5

    def __post_init__(self) -> None:
        within(0, LARGEST_SIDE, padding=self.padding)
        within(1, LARGEST_SIDE, resize=self.resize)
        probability(flip=self.flip)

    @override
    def cut(self, rng: np.random.Generator, image: Image, label: Label | None, crop: int) -> Cut:
        height, width = image.shape[-3:-1]
        short = min(height, width)
        length = max(self.resize or short, crop)
        height, width = (max(length, round(side * length / short)) for side in (height, width))
        top = int(rng.integers(height + 2 * self.padding - crop, endpoint=True))
        left = int(rng.integers(width + 2 * self.padding - crop, endpoint=True))
        flip = bool(rng.random() < self.flip)

        def window(array: Image) -> Image:
            if pad := self.padding:
                array = np.asarray(cv2.copyMakeBorder(array, pad, pad, pad, pad, cv2.BORDER_REFLECT_101), np.uint8)
            array = array[top : top + crop, left : left + crop]
            return np.array(array[:, ::-1] if flip else array, order="C")

        view = each_plane(lambda date: window(resized(date, height, width)), image)
        mask = None if label is None else window(resized_mask(label, height, width))
        return Cut(view, mask, np.ones((crop, crop), np.bool_))
