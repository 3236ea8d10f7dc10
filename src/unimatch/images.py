"""Images and masks as arrays, out of files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from unimatch.errors import DataError
from unimatch.reading import read_file

ImageArray = NDArray[np.uint8]
"""(H, W, 3) RGB."""
MaskArray = NDArray[np.uint8]
"""(H, W) class ids, 255 where there is none."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def read_image(path: Path) -> ImageArray:
    """Read any image Pillow knows as (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises:
        DataError: the file is missing, cut short, no image, or of more than 8 bits a channel.
    """
    try:
        with Image.open(read_file(path)) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path}: an image of more than 8 bits a channel ({image.mode}) would be clipped; convert it to 8"
                )
            ImageOps.exif_transpose(image, in_place=True)  # large images are not copied more often than needed
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); repair or remove it") from error


def read_mask(path: Path) -> MaskArray:
    """Read an index mask: 8-bit grey or palette PNG, whose values are the class ids.

    Raises:
        DataError: the file is missing, cut short, or not an 8-bit index image.
    """
    try:
        with Image.open(read_file(path)) as mask:
            if mask.mode not in ("L", "P", "1"):
                raise DataError(
                    f"{path}: a mask must be an 8-bit index image (grey or palette), this one is {mask.mode}; "
                    "save class ids, not colours"
                )
            return np.asarray(ImageOps.exif_transpose(mask)).astype(np.uint8, copy=False)
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as a mask ({error}); repair or remove it") from error


def colorize(mask: MaskArray, palette: Sequence[Sequence[int]]) -> ImageArray:
    """(H, W) class ids -> (H, W, 3) RGB; ignored pixels are white.

    >>> colorize(np.array([[0, 1, 255]], np.uint8), [(0, 0, 0), (9, 8, 7)]).tolist()
    [[[0, 0, 0], [9, 8, 7], [255, 255, 255]]]
    """
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette
    return table[mask]
