"""Draws the layers that the report shows over a photograph: classes, errors and confidence.

They are images with a palette, transparent where nothing is drawn. The page's script finds a pixel's class by its
colour.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.images.arrays import MaskArray
from unimatch.images.colors import BLACK, Color
from unimatch.types import IGNORE_INDEX

LEVELS = 16
"""How many levels of confidence have different colours."""
SCALE: tuple[Color, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""The colours of confidence from 0 to 1, evenly spaced, from Matplotlib's viridis."""


def class_layer(mask: NDArray[np.integer], colors: Sequence[Color], *, background: bool = False) -> Image.Image:
    """Returns a mask in the classes' colours, transparent where there is no class.

    A black class is taken for the background, and is not drawn either, so that the photograph can be seen. Its pixels
    have an opacity of 1 in 255, which tells them from pixels without a class.

    Args:
        mask: (H, W) class ids, and 255 for no class.
        colors: of the classes.
        background: whether to draw a black class too.
    """
    opacities = [1 if color == BLACK and not background else 255 for color in colors]
    return paletted(mask.astype(np.uint8), colors, opacities)


def error_layer(truth: MaskArray, predicted: NDArray[np.integer], colors: Sequence[Color]) -> Image.Image:
    """Returns the wrong pixels in the colours of the classes that are predicted there; a black class is drawn too.

    Args:
        truth: (H, W) class ids, and 255 for pixels that are left out.
        predicted: (H, W) class ids.
        colors: of the classes.
    """
    wrong = (truth != IGNORE_INDEX) & (predicted != truth)
    return class_layer(np.where(wrong, predicted, IGNORE_INDEX), colors, background=True)


def confidence_layer(confidence: NDArray[np.floating]) -> Image.Image:
    """Returns confidences (H, W), 0-1, in the colours of :func:`level_colors`."""
    levels = np.clip(confidence * LEVELS, 0, LEVELS - 1).astype(np.uint8)
    return paletted(levels, level_colors(), [255] * LEVELS)


def level_colors() -> list[Color]:
    """Returns a colour for each level of confidence.

    >>> level_colors()[0], level_colors()[-1], len(level_colors())
    ((68, 1, 84), (253, 231, 37), 16)
    """
    at = np.linspace(0, len(SCALE) - 1, LEVELS)
    channels = [np.interp(at, range(len(SCALE)), channel).round().astype(int) for channel in zip(*SCALE, strict=True)]
    return [(int(red), int(green), int(blue)) for red, green, blue in zip(*channels, strict=True)]


def paletted(ids: MaskArray, colors: Sequence[Color], opacities: Sequence[int]) -> Image.Image:
    """Returns ids (H, W) uint8 as a picture with a palette; ids without a colour are transparent.

    Args:
        ids: of the pixels.
        colors: by id.
        opacities: by id, 0-255.
    """
    picture = Image.fromarray(ids)
    picture.putpalette([channel for color in colors for channel in color] + [0] * (768 - 3 * len(colors)))
    picture.info["transparency"] = bytes(opacities) + bytes(256 - len(opacities))
    return picture
