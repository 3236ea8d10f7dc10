"""Turns pictures into data URLs, which a page can show without loading a file."""

import base64
import io
import math
from collections.abc import Sequence

from PIL import Image

from unimatch.images.arrays import ImageArray, MaskArray
from unimatch.images.pictures import Color

SHOWN_SIDE = 1600
"""The longer side at which larger images are shown, in pixels. They are predicted and counted at their own size."""


def shown_step(shape: Sequence[int]) -> int:
    """Returns the step by which an image of a shape (H, W) is subsampled to be shown: every second pixel for 2."""
    return math.ceil(max(shape) / SHOWN_SIDE)


def data_url(picture: ImageArray, kind: str) -> str:
    """Returns a picture (H, W, 3) as a data URL; ``kind`` is ``JPEG`` or ``PNG``."""
    return encoded(Image.fromarray(picture), kind)


def mask_url(mask: MaskArray, palette: Sequence[Color]) -> str:
    """Returns a mask (H, W) of class ids as a PNG whose palette has the classes' colours; other ids are white."""
    image = Image.fromarray(mask)
    colors = [*palette, *[(255, 255, 255)] * (256 - len(palette))]
    image.putpalette([channel for color in colors for channel in color])
    return encoded(image, "PNG")


def encoded(image: Image.Image, kind: str) -> str:
    """Returns an image as a data URL."""
    file = io.BytesIO()
    image.save(file, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
