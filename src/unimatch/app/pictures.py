"""Writes pictures as data URLs, which a page may show without loading anything."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from unimatch.images.arrays import ImageArray, MaskArray
from unimatch.images.pictures import Color

SHOWN_SIDE = 1600
"""Larger images are shown at about this size, but predicted and counted at their own."""


def shown_step(shape: Sequence[int]) -> int:
    """Returns every how many pixels of an image (H, W) are shown."""
    return -(-max(shape) // SHOWN_SIDE)


def data_url(picture: ImageArray, kind: str) -> str:
    """Returns a picture (H, W, 3) as a data URL."""
    return written(Image.fromarray(picture), kind)


def mask_url(mask: MaskArray, palette: Sequence[Color]) -> str:
    """Returns a mask (H, W) of class ids as a PNG with the classes' colours as its palette; 255 is white."""
    image = Image.fromarray(mask)
    colors = [*palette, *[(255, 255, 255)] * (256 - len(palette))]
    image.putpalette([channel for color in colors for channel in color])
    return written(image, "PNG")


def written(image: Image.Image, kind: str) -> str:
    """Returns an image as a data URL."""
    file = io.BytesIO()
    image.save(file, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
