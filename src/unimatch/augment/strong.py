"""The strong view's changes of colour and sharpness, drawn by us and carried out by albumentations.

This is the only module that knows albumentations, so that another library can take its place. Every random
number comes from the generator that is passed in: a view is a function of its seed.

Source: UniMatch V2, section 4.1: ColorJitter(.5, .5, .5, .25) with p .8, grayscale p .2, Gaussian blur
sigma U(0.1, 2.0) p .5.
"""

import os
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unimatch.errors import ConfigError

# Otherwise importing albumentations asks the network whether there is a newer release.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from albumentations.augmentations.pixel import functional as pixel

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class StrongAugmentation:
    """Random colour jitter, grayscale and blur of an (H, W, 3) uint8 image.

    Args:
        brightness: the factor is drawn from U(1 - brightness, 1 + brightness).
        contrast: likewise.
        saturation: likewise.
        hue: the shift is drawn from U(-hue, hue), in turns of the colour circle.
        jitter_probability: of the four changes above, which come in random order.
        grayscale_probability: of dropping all colour.
        blur_probability: of a Gaussian blur.
        blur_sigma: lowest and highest standard deviation of the blur, in pixels.
    """

    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        if min(strengths) < 0 or max(strengths[:3]) > 1 or self.hue > 0.5:
            raise ConfigError(f"strong augmentation: strengths must be 0 to 1, hue 0 to 0.5; found {strengths}")
        probabilities = (self.jitter_probability, self.grayscale_probability, self.blur_probability)
        if min(probabilities) < 0 or max(probabilities) > 1:
            raise ConfigError(f"strong augmentation: probabilities must be 0 to 1; found {probabilities}")
        if not 0 < self.blur_sigma[0] <= self.blur_sigma[1]:
            raise ConfigError(f"strong augmentation: blur_sigma={self.blur_sigma} must be above 0, lowest first")

    def __call__(self, rng: np.random.Generator, image: Image) -> Image:
        """A changed copy of the image, or the image itself where no change is drawn."""
        if rng.random() < self.jitter_probability:
            image = self._jitter(rng, image)
        if rng.random() < self.grayscale_probability:
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            image = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)
        if rng.random() < self.blur_probability:
            blurred = cv2.GaussianBlur(image, ksize=(0, 0), sigmaX=rng.uniform(*self.blur_sigma))
            image = np.asarray(blurred, np.uint8)
        return image

    def _jitter(self, rng: np.random.Generator, image: Image) -> Image:
        changes = (
            (pixel.adjust_brightness_torchvision, rng.uniform(1 - self.brightness, 1 + self.brightness)),
            (pixel.adjust_contrast_torchvision, rng.uniform(1 - self.contrast, 1 + self.contrast)),
            (pixel.adjust_saturation_torchvision, rng.uniform(1 - self.saturation, 1 + self.saturation)),
            (pixel.adjust_hue_torchvision, rng.uniform(-self.hue, self.hue)),
        )
        for which in rng.permutation(len(changes)):
            change, amount = changes[which]
            image = change(image, amount)
        return image
