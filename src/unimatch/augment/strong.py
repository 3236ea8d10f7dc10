"""The paper's strong view: changes of colour and sharpness, made with OpenCV and, for hues, with albumentations.

All random numbers come from the generator that is passed in, so that a view is a function of its seed.

Source: UniMatch V2, section 4.1: ColorJitter(.5, .5, .5, .25) with p .8, grayscale p .2, Gaussian blur
sigma U(0.1, 2.0) p .5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from albumentations.augmentations.pixel import functional as pixel
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.augment.base import WHOLE, Image, Region, StrongView
from unimatch.augment.blur import blurred
from unimatch.augment.per_band import BandAugmentation
from unimatch.errors import ConfigError
from unimatch.kinds import checked
from unimatch.options import ascending, probability

LUMA = np.array([0.299, 0.587, 0.114])
"""The weights of red, green and blue in the gray value (ITU-R 601)."""


@checked
@dataclass(frozen=True)
class StrongAugmentation(StrongView):
    """Changes colours, converts to gray and blurs, each at random.

    Args:
        brightness: the factor is drawn from U(1 - brightness, 1 + brightness).
        contrast: its factor is drawn in the same way.
        saturation: its factor is drawn in the same way.
        hue: the shift is drawn from U(-hue, hue), in turns of the colour circle.
        jitter_probability: probability of the four changes above, which are made in random order.
        grayscale_probability: probability of a conversion to gray.
        blur_probability: probability of a Gaussian blur.
        blur_sigma: lowest and highest standard deviation of the blur, in pixels.
    """

    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    blur_probability: float = 0.5
    blur_sigma: Sequence[float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "hue"):
            strength, most = getattr(self, name), 0.5 if name == "hue" else 1
            if not 0 <= strength <= most:
                raise ConfigError(f"{name}={strength}: must be 0 to {most}")
        probability(
            jitter_probability=self.jitter_probability,
            grayscale_probability=self.grayscale_probability,
            blur_probability=self.blur_probability,
        )
        ascending(blur_sigma=self.blur_sigma)

    @override
    def __call__(self, rng: np.random.Generator, image: Image, shown: Region = WHOLE) -> Image:
        return self.draw(rng).apply(image, shown)

    @override
    def for_bands(self) -> StrongView:
        return BandAugmentation(
            self.brightness, self.contrast, self.jitter_probability, self.blur_probability, self.blur_sigma
        )

    def draw(self, rng: np.random.Generator) -> "Change":
        """Draws what to do with one image."""
        order: tuple[int, ...] = ()
        amounts: tuple[float, ...] = (1.0, 1.0, 1.0, 0.0)
        if rng.random() < self.jitter_probability:
            limits = ((1, self.brightness), (1, self.contrast), (1, self.saturation), (0, self.hue))
            amounts = tuple(rng.uniform(middle - limit, middle + limit) for middle, limit in limits)
            order = tuple(rng.permutation(len(CHANGES)).tolist())
        grayscale = bool(rng.random() < self.grayscale_probability)
        lowest, highest = self.blur_sigma
        sigma = rng.uniform(lowest, highest) if rng.random() < self.blur_probability else 0.0
        return Change(order, amounts, grayscale, sigma)


@dataclass(frozen=True)
class Change:
    """The random changes that were drawn for one image."""

    order: tuple[int, ...]
    """The changes of colour in their order, as positions in :data:`CHANGES`; empty for none."""
    amounts: tuple[float, ...]
    """Factors of brightness, contrast and saturation, and the shift of the hue in turns of the colour circle."""
    grayscale: bool
    """Whether the image is converted to gray."""
    sigma: float
    """Standard deviation of the blur, pixels; 0 for no blur."""

    def packed(self) -> list[float]:
        """Returns this as ten numbers: amounts (4), order (4; -1 for no changes of colour), grayscale, sigma."""
        return [*self.amounts, *(self.order or (-1,) * 4), float(self.grayscale), self.sigma]

    def apply(self, image: Image, shown: Region = WHOLE) -> Image:
        """Returns a changed copy of the image, or the image itself if there is nothing to change."""
        if self.order:
            image = self._jitter(image, shown)
        if self.grayscale:
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            image = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)
        if self.sigma:
            image = blurred(image, self.sigma)
        return image

    def _jitter(self, image: Image, shown: Region) -> Image:
        part, padding = image[shown], np.zeros((1, 1, 3), np.uint8)
        padded = image.shape[0] * image.shape[1] - part.shape[0] * part.shape[1]
        for which in self.order:
            change, amount = CHANGES[which], self.amounts[which]
            mean = gray_mean(part, padding, padded) if change is contrast else 0.0
            part, padding = change(part, amount, mean), change(padding, amount, mean)
        height, width = image.shape[:2]
        (top, bottom, _), (left, right, _) = shown[0].indices(height), shown[1].indices(width)
        borders, color = (top, height - bottom, left, width - right), padding[0, 0].tolist()
        return np.asarray(cv2.copyMakeBorder(part, *borders, cv2.BORDER_CONSTANT, value=color), np.uint8)


def gray_mean(part: Image, padding: Image, padded: int) -> float:
    """Returns the mean gray value of an image, given its shown part, a pixel of its padding, and their number."""
    pixels = part.shape[0] * part.shape[1]
    colors = (np.array(cv2.mean(part)[:3]) * pixels + padding[0, 0] * float(padded)) / (pixels + padded)
    return float(LUMA @ colors)


def brightness(image: Image, factor: float, mean: float) -> Image:
    """Blends each pixel with black."""
    return mapped(image, factor * np.eye(3, 4))


def contrast(image: Image, factor: float, mean: float) -> Image:
    """Blends each pixel with the image's mean gray value."""
    matrix = factor * np.eye(3, 4)
    matrix[:, 3] = (1 - factor) * mean
    return mapped(image, matrix)


def saturation(image: Image, factor: float, mean: float) -> Image:
    """Blends each pixel with its own gray value."""
    matrix = factor * np.eye(3, 4)
    matrix[:, :3] += (1 - factor) * LUMA
    return mapped(image, matrix)


def hue(image: Image, turn: float, mean: float) -> Image:
    """Shifts the hue of each pixel, in steps of two degrees."""
    return np.asarray(pixel.adjust_hue_torchvision(image, turn), np.uint8)


def mapped(image: Image, matrix: NDArray[np.float64]) -> Image:
    """Maps every colour by a (3, 4) matrix, whose last column is an offset; rounds and clips to 0-255."""
    return np.asarray(cv2.transform(image, matrix), np.uint8)


CHANGES = (brightness, contrast, saturation, hue)
