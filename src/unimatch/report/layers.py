"""Draws what lies over a photograph in the report: pictures of classes or of confidence, in a few colours each.

They are PNGs with a palette, transparent where nothing is drawn. The page's script finds a pixel's class by its colour.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.images.arrays import MaskArray
from unimatch.images.colors import BLACK, Color
from unimatch.types import IGNORE_INDEX

LEVELS = 16
"""How many steps of confidence have a colour of their own."""
SCALE: tuple[Color, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""The colours from no confidence to full confidence, evenly spaced: those of Matplotlib's viridis."""


def class_layer(mask: NDArray[np.integer], colors: Sequence[Color], *, background: bool = False) -> Image.Image:
    """Returns a mask (H, W) as a picture in the classes' colours, clear where there is no class.

    A black class is the background, which is clear too, so that the photograph is seen: its pixels have an opacity of
    1 in 255, by which they are told from those without a class.

    Args:
        mask: class ids and 255.
        colors: of the classes.
        background: whether black is drawn.
    """
    opacities = [1 if color == BLACK and not background else 255 for color in colors]
    return paletted(mask.astype(np.uint8), colors, opacities)


def error_layer(truth: MaskArray, predicted: NDArray[np.integer], colors: Sequence[Color]) -> Image.Image:
    """Returns the wrong pixels in the colours of the classes that were predicted there; black is drawn."""
    wrong = (truth != IGNORE_INDEX) & (predicted != truth)
    return class_layer(np.where(wrong, predicted, IGNORE_INDEX), colors, background=True)


def confidence_layer(confidence: NDArray[np.floating]) -> Image.Image:
    """Returns confidences (H, W), 0-1, in the colours of a scale."""
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
    """Returns a picture of ids (H, W) in their colours, 0-255 opaque; ids without a colour are clear."""
    picture = Image.fromarray(ids).convert("L")
    picture = picture.copy()
    picture.putpalette([channel for color in colors for channel in color] + [0] * (768 - 3 * len(colors)))
    picture.info["transparency"] = bytes(opacities) + bytes(256 - len(opacities))
    return picture
