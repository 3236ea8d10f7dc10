"""Reads images and masks as arrays."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from unimatch.disk import read_file
from unimatch.errors import DataError

ImageArray = NDArray[np.uint8]
"""(H, W, 3) RGB, or as many bands as the data set has; (2, H, W, 3) for the two dates of a pair."""
MaskArray = NDArray[np.uint8]
"""(H, W) class ids, 255 where there is none."""
LabelArray = NDArray[np.uint8] | NDArray[np.int64]
"""A mask (H, W), or the class of a whole image, an array of shape ()."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

STRIP = 2**18
"""How many pixels a strip of :func:`strips` has."""


def read_image(path: Path) -> ImageArray:
    """Reads any image that Pillow knows as (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Grey, 1-bit, palette and CMYK images become RGB; transparency is left out.

    Raises:
        DataError: the file is missing, cut short, no image, of more than 8 bits a channel, or of more pixels than
            Pillow allows.
    """
    with opened(path, "an image") as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(
                f"{path}: an image of more than 8 bits a channel ({image.mode}) would be clipped; convert it to 8"
            )
        return rgb(image)


def read_pair(before: Path, after: Path, read: Callable[[Path], ImageArray] = read_image) -> ImageArray:
    """Reads two dates of one place as (2, H, W, 3) uint8 RGB, or as ``read`` reads each.

    Raises:
        DataError: a date is missing or cannot be read (:func:`read_image`), or the two differ in size.
    """
    if before.is_file() and not after.is_file():
        raise DataError(f"{after}: no such file; it is the second date of {before}")
    dates = [read(before), read(after)]
    first, second = (f"{date.shape[1]} x {date.shape[0]}" for date in dates)
    if first != second:
        raise DataError(
            f"{after}: the second date is {second} pixels and the first, {before}, {first}; they must be equal"
        )
    return np.stack(dates)


def second_date(before: str) -> str:
    """Returns the file of the second date: ``B`` in place of the last folder called ``A``.

    >>> second_date("/data/A/train_1.png")
    '/data/B/train_1.png'
    """
    root, _, name = before.rpartition(f"{os.sep}A{os.sep}")
    return os.path.join(root, "B", name)  # noqa: PTH118


def read_mask(path: Path) -> NDArray[np.uint8] | NDArray[np.int32]:
    """Reads an index mask, whose values are class ids: grey of 1, 8, 16 or 32 bits, or palette.

    Returns:
        (H, W) uint8, or int32 where more than 8 bits are stored.

    Raises:
        DataError: the file is missing, cut short, or not an index image.
    """
    with opened(path, "a mask") as mask:
        if mask.mode not in ("1", "L", "P") and not mask.mode.startswith("I"):
            raise DataError(
                f"{path}: a mask must be an index image (grey or palette), this one is {mask.mode}; save class ids "
                "(of changes 0 and 255) in one channel, or in segmentation read colours as classes with dataset.colors"
            )
        ImageOps.exif_transpose(mask, in_place=True)
        stored = np.asarray(mask)
        return stored.astype(np.int32) if mask.mode.startswith("I") else stored.astype(np.uint8, copy=False)


def read_color_mask(path: Path) -> ImageArray:
    """Reads a mask whose colours are the classes, as (H, W, 3) uint8.

    Raises:
        DataError: the file is missing, cut short, or of more than 8 bits a channel.
    """
    with opened(path, "a mask") as mask:
        if mask.mode.startswith(("I", "F")):
            raise DataError(f"{path}: a mask of {mask.mode} has no colours; leave out dataset.colors to read ids")
        return rgb(mask)


@contextmanager
def opened(path: Path, what: str) -> Iterator[Image.Image]:
    """Opens a file as an image, not yet decoded; whatever goes wrong becomes a DataError that names the file."""
    try:
        with Image.open(read_file(path)) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything in Pillow's decoders
        why = "of no known kind" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{path}: cannot be read as {what} ({why}); repair or remove it") from error


def rgb(image: Image.Image) -> ImageArray:
    """Returns an image as an array (H, W, 3) uint8, turned as its EXIF orientation says."""
    ImageOps.exif_transpose(image, in_place=True)  # large images are not copied more often than needed
    image.info.pop("transparency", None)  # is left out in any case, and a palette's makes Pillow warn
    if image.mode != "RGB":
        image = image.convert("RGB")
    width, height = image.size
    array = np.empty((height, width, 3), np.uint8)
    for rows in strips(height, width):  # all at once, Pillow would copy them twice
        array[rows] = np.asarray(image.crop((0, rows.start, width, min(rows.stop, height))))
    return array


def latest(image: NDArray[np.uint8]) -> ImageArray:
    """Returns the image itself, or the second date of a pair (2, H, W, 3)."""
    return image if image.ndim == 3 else image[-1]


def dates_by_name(image: NDArray[np.uint8]) -> list[tuple[str, ImageArray]]:
    """Returns the image under the name ``image``, or the dates of a pair (2, H, W, 3) as ``date 1`` and ``date 2``."""
    return [("image", image)] if image.ndim == 3 else [(f"date {i}", date) for i, date in enumerate(image, 1)]


def to_levels(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns probabilities 0-1 as 0-255, as they are stored.

    >>> to_levels(np.array([0, 0.5, 1], np.float32)).tolist()
    [0, 128, 255]
    """
    return np.rint(confidence * np.float32(255)).astype(np.uint8)


def strips(height: int, width: int) -> Iterator[slice]:
    """Yields slices of rows that are small enough to stay in the CPU's cache while they are worked on.

    >>> list(strips(100, 1024))
    [slice(0, 256, None)]
    """
    step = max(1, STRIP // width)
    return (slice(row, row + step) for row in range(0, height, step))


def nearest_multiple(side: float, multiple: int) -> int:
    """Returns the multiple nearest to a side, but at least ``multiple``; halves round up.

    >>> nearest_multiple(500, 14), nearest_multiple(3, 14), nearest_multiple(7, 1)
    (504, 14, 7)
    """
    return max(1, int(side / multiple + 0.5)) * multiple
