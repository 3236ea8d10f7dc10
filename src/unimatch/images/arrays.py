"""Reads images and masks as arrays."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from unimatch.errors import DataError, UnimatchError, worker_behind
from unimatch.images.file_kinds import REPAIR, misread, open_image, why_unreadable
from unimatch.images.storage import (
    Storage,
    divided,
    inverted,
    is_lossy,
    multiplied,
    rare_compression,
    storage,
    tiff_storage,
)
from unimatch.read_file import read_file

ImageArray = NDArray[np.uint8]
"""(H, W, 3) RGB, or as many bands as the data set has; (2, H, W, 3) for the two dates of a pair."""
MaskArray = NDArray[np.uint8]
"""(H, W) class ids, 255 where there is none."""
Ids = NDArray[np.uint8] | NDArray[np.int32] | NDArray[np.int64]
"""Values stored in masks: int32 for more than 8 bits, int64 for what int32 cannot hold."""
LabelArray = NDArray[np.uint8] | NDArray[np.int64]
"""A mask (H, W), or the class of a whole image, an array of shape ()."""

Exif = Literal["turn", "stored"]
"""Whether images and masks are turned as their EXIF orientation says, or left as they are stored."""

ORIENTATION = 274
"""The EXIF tag of an image's orientation."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""

UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""The transposition that undoes each EXIF orientation."""

STRIP_PIXELS = 2**18
"""Pixels in a strip of :func:`strips`, about."""


def read_image(path: Path, *, exif: Exif = "turn") -> ImageArray:
    """Reads an image of the :data:`FORMATS` as (H, W, 3) uint8 RGB.

    Grey, 1-bit, palette and CMYK images become RGB; transparency is left out.

    Args:
        path: the file.
        exif: what becomes of an EXIF orientation.

    Raises:
        DataError: the file is missing, cut short, no image, of more pixels than Pillow allows, or not of 8 bits, one
            page, and the bands of a picture.
    """
    with opened(path, "an image") as image:
        require_picture(path, image)
        return rgb(turn(image, exif)[0])


class StoredMask(NamedTuple):
    """What a mask's file holds."""

    values: Ids
    """(H, W) ids as stored; or (H, W, 3) uint8, colours."""
    transparent: NDArray[np.bool_] | None = None
    """(H, W), True where a pixel is wholly transparent; None where no pixel is."""
    palette: bytes = b""
    """The colours of a palette's entries, three bytes each."""
    lossy: bool = False
    """Whether the file's compression may change values."""
    orientation: int = 1
    """The EXIF orientation, 1 to 8; 1 is upright."""


def read_mask(path: Path) -> Ids:
    """Reads only the values of an index mask (:func:`read_ids`)."""
    return read_ids(path).values


def read_ids(path: Path, *, exif: Exif = "turn") -> StoredMask:
    """Reads an index mask, whose values are class ids: grey of 1 to 32 bits, palette, or colours that are all grey.

    Raises:
        DataError: the file is missing, cut short, of several pages, or not an index image.
    """
    with opened(path, "a mask") as mask:
        return ids_of(mask, path, exif)


def ids_of(mask: Image.Image, where: Path | str, exif: Exif = "turn") -> StoredMask:
    """Reads an opened image, not yet decoded, as :func:`read_ids` does a file; ``where`` names it in messages."""
    stored, times = require_one_page(where, mask), multiplied(mask)
    if stored.kind == "floats" or (stored.bits > 8 and stored.bands > 1) or stored.unnamed:
        raise DataError(unreadable(where, stored, "a mask"))
    lossy, is_inverted = is_lossy(mask), inverted(mask)
    mask, orientation = turn(mask, exif)
    pixels, transparent = whole_numbers(mask, stored, is_inverted=is_inverted), None
    if mask.mode in ("L", "I", "I;16"):
        pixels = divided(pixels, times)
    elif mask.mode in ("LA", "RGB", "RGBA"):
        if mask.mode != "LA" and not (pixels[..., :1] == pixels[..., 1:3]).all():
            raise DataError(no_index_image(where, mask.mode))
        transparent = transparent_pixels(mask)
        pixels = np.ascontiguousarray(pixels[..., 0])
    elif mask.mode not in ("1", "L", "P") and not mask.mode.startswith("I"):
        raise DataError(no_index_image(where, mask.mode))
    values = pixels if pixels.dtype in (np.int32, np.int64) else pixels.astype(np.uint8, copy=False)
    palette = mask.palette.palette if mask.mode == "P" and mask.palette and mask.palette.mode == "RGB" else b""
    return StoredMask(values, transparent, bytes(palette), lossy, orientation)


def whole_numbers(mask: Image.Image, stored: Storage, *, is_inverted: bool) -> NDArray[Any]:
    """Returns a mask's pixels as the integers in its file; Pillow inverts some, and mistakes the sign of others."""
    pixels = np.asarray(mask)
    if is_inverted:
        pixels = ~pixels
    if mask.mode.startswith("I"):
        pixels = pixels.astype(np.int32)
    if stored.bits == 8 and stored.kind == "signed integers":  # Pillow reads them as unsigned
        pixels = pixels.view(np.int8).astype(np.int32)
    if stored.bits == 32 and stored.kind == "unsigned integers" and (pixels < 0).any():  # Pillow reads them as signed
        pixels = pixels.view(np.uint32).astype(np.int64)
    return pixels


def no_index_image(where: Path | str, mode: str) -> str:
    """Writes the message for a mask in colours where ids are read."""
    return (
        f"{where}: a mask must be an index image (grey or palette), this one is {mode}; save class ids (of changes 0 "
        "and 255) in one channel, or in segmentation read colours as classes with dataset.colors"
    )


def read_colors(path: Path, *, exif: Exif = "turn") -> StoredMask:
    """Reads a mask whose colours are the classes.

    Raises:
        DataError: the file is missing, cut short, of several pages, or of more than 8 bits a channel.
    """
    with opened(path, "a mask") as mask:
        return colors_of(mask, path, exif)


def colors_of(mask: Image.Image, where: Path | str, exif: Exif = "turn") -> StoredMask:
    """Reads an opened image, not yet decoded, as :func:`read_colors` does a file; ``where`` names it in messages."""
    stored = require_one_page(where, mask)
    if stored.bands == 1 and (stored.bits > 8 or stored.kind == "floats"):
        raise DataError(f"{where}: a mask of {stored} has no colours; leave out dataset.colors to read ids")
    if stored.bits > 8:
        raise DataError(unreadable(where, stored, "a mask"))
    refuse_other_colors(where, mask, "a mask")
    lossy = is_lossy(mask)
    mask, orientation = turn(mask, exif)
    transparent = transparent_pixels(mask)
    return StoredMask(rgb(mask), transparent, lossy=lossy, orientation=orientation)


def require_one_page(where: Path | str, mask: Image.Image) -> Storage:
    """Returns what a mask's file stores.

    Raises:
        DataError: it holds several pages.
    """
    stored = storage(mask)
    if stored.pages > 1:
        raise DataError(
            f"{where}: holds {stored.pages} pages or frames, and a mask has one; save the ids of all classes in one"
        )
    return stored


def transparent_pixels(mask: Image.Image) -> NDArray[np.bool_] | None:
    """Returns (H, W), True where a pixel of an image is wholly transparent; None where no pixel is."""
    if not mask.has_transparency_data:
        return None
    transparent = np.asarray(mask.convert("RGBA").getchannel("A")) == 0
    return transparent if transparent.any() else None


@contextmanager
def opened(path: Path, what: str) -> Iterator[Image.Image]:
    """Opens a file as an image, not yet decoded; whatever goes wrong, also in decoding, becomes a DataError.

    ``what`` says in the message what the file should be, such as ``a mask``.
    """
    content = io.BytesIO()
    try:
        content = read_file(path)
        with open_image(content) as image:
            if fault := misread(image, content.getvalue()):
                raise DataError(f"{path}: {fault}")
            yield image
    except UnimatchError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything in Pillow's decoders
        if worker_behind(error):
            raise  # the file is not at fault
        unknown = isinstance(error, UnidentifiedImageError)
        stored = tiff_storage(content) if unknown else None
        if stored is not None and stored.bits == 8 and stored.bands in (1, 3, 4) and not stored.unnamed:
            raise DataError(f"{path}: a TIFF whose compression cannot be read; save it with LZW or Deflate") from error
        if stored is not None:
            raise DataError(unreadable(path, stored, what)) from error
        why, remedy = why_unreadable(content.getvalue()) if unknown else (error, REPAIR)
        if (compression := rare_compression(content)) and str(error).startswith("decoder error"):
            why = f"a TIFF with {compression} compression, which this version of Pillow does not read, or damaged"
            remedy = "save it with LZW or Deflate"
        raise DataError(f"{path}: cannot be read as {what} ({why}); {remedy}") from error


def require_picture(path: Path, image: Image.Image) -> None:
    """Refuses an opened image of which Pillow would return only a part: high bytes, three of its bands, one page.

    Raises:
        DataError: it is such an image, or its colours are not RGB, grey or CMYK.
    """
    stored = storage(image)
    if stored.bits > 8 or stored.kind == "floats" or stored.unnamed:
        raise DataError(unreadable(path, stored, "an image"))
    if stored.pages > 1:
        raise DataError(
            f"{path}: holds {stored.pages} pages or frames, and an image has one; save the right one alone, or if they "
            "are bands, train on them with dataset.bands"
        )
    refuse_other_colors(path, image, "an image")


def refuse_other_colors(where: Path | str, image: Image.Image, what: str) -> None:
    """Refuses colours that Pillow does not turn into red, green and blue as they were.

    Raises:
        DataError: the image, or whatever ``what`` says, has such colours.
    """
    if image.mode in ("LAB", "HSV"):
        raise DataError(f"{where}: {what} in the colours of {image.mode}; convert it to RGB")


def unreadable(where: Path | str, stored: Storage, what: str) -> str:
    """Writes the message for a file whose bands Pillow does not return as they are stored."""
    if what == "an image":
        remedy = "convert it to 8-bit RGB, or train on what it holds with dataset.bands and dataset.value_range"
    else:
        remedy = "save class ids as whole numbers in one band of 8 or 16 bits, colours in three of 8 bits"
    return f"{where}: {stored} cannot be read as {what}; {remedy}"


def turn(image: Image.Image, exif: Exif) -> tuple[Image.Image, int]:
    """Turns an image as its EXIF orientation says, or leaves it as stored; also returns the orientation it had."""
    orientation = image.getexif().get(ORIENTATION, 1)
    if orientation not in range(2, 9):
        orientation = 1
    if exif == "turn":
        ImageOps.exif_transpose(image, in_place=True)  # large images are not copied more often than needed
    elif image.format == "TIFF" and orientation != 1:
        image.load()  # Pillow turns these while it decodes them
        image = image.transpose(UNDO_ORIENTATION[orientation])
    return image, orientation


def rgb(image: Image.Image) -> ImageArray:
    """Returns an image as an array (H, W, 3) uint8."""
    image.info.pop("transparency", None)  # not used, and Pillow would warn of that of a palette
    if image.mode != "RGB":
        image = image.convert("RGB")
    width, height = image.size
    if width * height <= STRIP_PIXELS:
        return np.array(image)
    array = np.empty((height, width, 3), np.uint8)
    for rows in strips(height, width):  # Pillow copies what it converts twice
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
    step = max(1, STRIP_PIXELS // width)
    return (slice(row, row + step) for row in range(0, height, step))


def nearest_multiple(side: float, multiple: int) -> int:
    """Returns the multiple nearest to a side, but at least ``multiple``; halves round up.

    >>> nearest_multiple(500, 14), nearest_multiple(3, 14), nearest_multiple(7, 1)
    (504, 14, 7)
    """
    return max(1, int(side / multiple + 0.5)) * multiple
