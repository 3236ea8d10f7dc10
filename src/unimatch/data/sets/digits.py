"""The segmentation demo: scenes composed of scikit-learn's 1,797 real handwritten digits.

Nothing is downloaded: the digits come with scikit-learn. A scene is a textured, coloured and cluttered background with
a few digits of random size, colour and place; its mask gives each digit's pixels their class. A scene is a function of
its seed, part and number; training and validation scenes use different digits.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from typing_extensions import override

from unimatch.data.catalog import DIGITS
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.data.splits.lists import choose_labeled
from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray, MaskArray

VALIDATION_SHARE = 0.25
"""The share of the 1,797 digits that only validation scenes use."""

MOST_OVERLAP = 0.0
"""A digit is left out if earlier digits have more pixels in its window than this share of its own."""

INK = 0.45
"""Pixels of a digit with more ink than this, of 1, belong to it in the mask."""


def digits(
    *,
    labeled: int | None = 64,
    train: int = 664,
    val: int = 200,
    size: int = 48,
    split_seed: int = 0,
    scene_seed: int = 0,
) -> SegmentationData:
    """Returns the demo's data: ``labeled`` of ``train`` scenes with their masks, the others as the unlabelled pool.

    Args:
        labeled: number of labelled scenes, None for all.
        train: number of training scenes.
        val: number of validation scenes.
        size: height and width of the scenes in pixels, at least 32.
        split_seed: which training scenes are labelled.
        scene_seed: from which the scenes are composed.

    Raises:
        ConfigError: a number is out of range.
    """
    if size < 32 or train < 1 or val < 1:
        raise ConfigError(f"size={size}, train={train}, val={val}: at least 32, 1 and 1 are needed")
    indices, rest = choose_labeled(train, labeled, split_seed)
    return SegmentationData(
        DIGITS,
        labeled=DigitScenes(indices, size, scene_seed, validation=False),
        unlabeled=DigitScenes(rest, size, scene_seed, validation=False),
        val=DigitScenes(range(val), size, scene_seed, validation=True),
    )


class DigitScenes(Source):
    """Scenes by their numbers, each composed once and kept in memory (9 KB for 48 x 48 pixels)."""

    def __init__(self, numbers: Sequence[int], size: int, seed: int, *, validation: bool) -> None:
        self.numbers, self.size, self.seed, self.validation = numbers, size, seed, validation
        self._scenes: dict[int, tuple[ImageArray, MaskArray]] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    @override
    def name(self, index: int) -> str:
        return f"digits/{'val' if self.validation else 'train'}/{self.numbers[index]}"

    @override
    def image(self, index: int) -> ImageArray:
        return self._scene(index)[0]

    @override
    def mask(self, index: int) -> MaskArray:
        return self._scene(index)[1]

    def _scene(self, index: int) -> tuple[ImageArray, MaskArray]:
        if index not in self._scenes:
            rng = np.random.default_rng((self.seed, int(self.validation), self.numbers[index]))
            self._scenes[index] = compose_scene(rng, self.size, *digit_part(self.validation))
        return self._scenes[index]


@cache
def digit_part(validation: bool) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns the digits of one part: (N, 8, 8) float32 strokes in 0-1 and their (N,) values 0-9."""
    dataset = load_digits()
    order = np.random.default_rng(0).permutation(len(dataset.target))
    held_out = int(len(order) * VALIDATION_SHARE)
    chosen = order[:held_out] if validation else order[held_out:]
    return (dataset.images[chosen] / 16).astype(np.float32), dataset.target[chosen].astype(np.int64)


def compose_scene(
    rng: np.random.Generator, size: int, strokes: NDArray[np.float32], values: NDArray[np.int64]
) -> tuple[ImageArray, MaskArray]:
    """Draws a scene: background, clutter, then up to four brighter digits, as far as there is room.

    Args:
        rng: the only source of randomness.
        size: height and width in pixels.
        strokes: (N, 8, 8) digits to choose from, ink 1 and paper 0.
        values: (N,) the values of the digits, 0-9.

    Returns:
        (size, size, 3) uint8 RGB and the (size, size) uint8 mask.
    """
    image = background(rng, size)
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(2, 5)):
        which = rng.integers(len(values))
        side = int(size * rng.uniform(0.42, 0.5))
        digit = cv2.resize(strokes[which], (side, side), interpolation=cv2.INTER_LINEAR)
        window = place(rng, mask, side)
        if np.count_nonzero(mask[window]) > MOST_OVERLAP * np.count_nonzero(digit > INK):
            continue
        color = rng.uniform(200, 255) * rng.uniform(0.9, 1, size=3)
        ink = np.clip((digit - 0.2) * 2.5, 0, 1)[..., None]
        image[window] = image[window] * (1 - ink) + color * ink
        mask[window][digit > INK] = values[which] + 1
    image += rng.normal(0, 3, size=image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def place(rng: np.random.Generator, mask: MaskArray, side: int) -> tuple[slice, slice]:
    """Returns the one of twenty random windows that has the fewest pixels of digits drawn before."""
    candidates = []
    for _ in range(20):
        top, left = rng.integers(0, mask.shape[0] - side, size=2, endpoint=True)
        window = np.s_[top : top + side, left : left + side]
        candidates.append((np.count_nonzero(mask[window]), window))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def background(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Draws a dark (size, size, 3) background in 0-110: smooth noise of two scales, and strokes as clutter."""
    image = np.zeros((size, size, 3))
    for cells, amplitude in ((4, 30), (12, 15)):
        noise = rng.uniform(-1, 1, size=(cells, cells, 3))
        image += amplitude * cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    image += rng.uniform(30, 70, size=3)
    for _ in range(rng.integers(3, 7)):
        start, end = rng.integers(0, size, size=(2, 2)).tolist()
        color = tuple(rng.uniform(20, 110, size=3).tolist())
        cv2.line(image, start, end, color, thickness=int(rng.integers(1, 3)), lineType=cv2.LINE_AA)
    return np.clip(image, 0, 110)
