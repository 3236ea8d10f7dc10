"""Reads images of any bands and types, above all TIFF, and the georeference of GeoTIFFs."""

import logging
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from unimatch.errors import (
    OPEN_FILES,
    ConfigError,
    DataError,
    ProcessError,
    UnimatchError,
    lacks_open_files,
    worker_behind,
)
from unimatch.images.arrays import ORIENTATION, Exif, ImageArray, opened, read_image, turn
from unimatch.images.bands import Bands
from unimatch.images.file_kinds import open_image
from unimatch.images.pairs import read_pair
from unimatch.images.storage import TIFF_HEADERS, divided, first_page_tags, multiplied, storage
from unimatch.images.tiff_pages import count_pages
from unimatch.read_file import read_file, require_regular
from unimatch.wording import counted

GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
"""GeoTIFF's tags of scale, tie points, transformation, and the three of the coordinate system."""
WIDTH, HEIGHT = 256, 257
"""TIFF's tags of the size."""
NO_LEVELS = {
    0: "0 is white",
    3: "positions in a palette",
    **dict.fromkeys((8, 9, 10), "colours in LAB, not red, green and blue"),
}
"""Values of TIFF's tag PhotometricInterpretation with which pixels store no levels of brightness."""
NO_DATA_TAG = 42113
"""GDAL's TIFF tag of the value that means no data."""
TURNED_BY_TAG = (
    "it is turned by its orientation tag; save it upright, or train on it as it is stored: dataset.exif=stored"
)

LARGEST = 2**32
"""The most bytes that a decoded image may have."""


def read_bands(path: Path, bands: Bands, *, exif: Exif = "turn") -> ImageArray:
    """Reads an image as levels, (H, W, C) uint8; photos as :func:`unimatch.images.arrays.read_image` does.

    Args:
        path: the file.
        bands: which bands to take, and which of their values become 0 and 255.
        exif: whether the image is turned as its EXIF orientation says.

    Raises:
        DataError: the file cannot be read, or does not fit ``bands``.
        ConfigError: the file is a TIFF, and tifffile, which reads it, is not installed.
    """
    if bands.photos:
        return read_image(path, exif=exif)
    return bands.levels(bands.choose(read_stored(path, exif=exif), path), path)


def read_dates(paths: Sequence[Path], bands: Bands, *, exif: Exif = "turn") -> ImageArray:
    """Reads one image, or the two dates of a place as (2, H, W, C), as :func:`read_bands` does."""
    if len(paths) == 1:
        return read_bands(paths[0], bands, exif=exif)
    return read_pair(paths[0], paths[1], lambda path: read_bands(path, bands, exif=exif))


def read_stored(path: Path, *, exif: Exif = "turn") -> NDArray[Any]:
    """Returns all values that a file stores, (H, W, N) of its own type; raises what :func:`read_bands` does."""
    try:
        require_regular(path)
        with path.open("rb") as file:
            is_tiff = file.read(4) in TIFF_HEADERS
    except OSError as error:
        if lacks_open_files(error):  # the file is not at fault
            raise ProcessError(f"{path}: cannot be read, as {OPEN_FILES}") from error
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    values = read_tiff(path, exif) if is_tiff else read_other(path, exif)
    if 0 in values.shape:
        raise DataError(f"{path}: has no pixels")
    return values


def read_tiff(path: Path, exif: Exif) -> NDArray[Any]:
    """Reads a TIFF whose bands are samples, channels or pages."""
    try:
        import tifffile
    except ImportError as error:
        raise ConfigError(
            f"{path}: TIFF with bands or value_range needs a library: pip install 'unimatch[science]'"
        ) from error
    try:
        content = read_file(path)
        count_pages(content)
        content.seek(0)
        with quiet("tifffile"), tifffile.TiffFile(content) as file:
            axes = axes_of(file.series[0])
            if fault := unusable(file, axes, exif):
                raise DataError(f"{path}: one image of rows Y, columns X and bands is needed, but {fault}")
            series = file.series[0]
            if missing := absent(series.pages, file.filehandle.size):
                raise ValueError(missing)
            values = series.asarray(squeeze=False).reshape(list(axes.values()))
    except UnimatchError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        if worker_behind(error):
            raise  # the file is not at fault
        raise DataError(f"{path}: cannot be read as TIFF ({error}); repair or remove it") from error
    if len(axes) == 2:
        return values[..., None]
    return np.moveaxis(values, 0, -1) if next(iter(axes)) not in "YX" else values


def axes_of(series: Any) -> dict[str, int]:
    """Returns the axes of a tifffile's series in their order, such as Y, X and S, with their lengths; no empty ones.

    The second of two axes of one name, as files have that do not name theirs, gets a prime.
    """
    found = dict[str, int]()
    for name, length in zip(series.get_axes(False), series.get_shape(False), strict=True):
        if length > 1 or name in "YX":
            found[name + "'" * sum(other.startswith(name) for other in found)] = length
    return found


def unusable(file: Any, axes: Mapping[str, int], exif: Exif) -> str:
    """Says why an opened tifffile, whose first series has these axes, is not one image of levels; empty if it is."""
    series, first = file.series[0], file.series[0].keyframe
    # Smaller copies of the image and masks of its pixels are pages too.
    pages = [more.keyframe for more in file.series[1:]]
    others = [page for page in pages if not page.is_reduced and not page.is_mask]
    if too_large(axes, series.nbytes):
        return f"it has {axes['X']} x {axes['Y']} pixels in {series.nbytes >> 20} MiB; cut it up"
    if others or not set("YX") <= set(axes) <= set("YXSCQI") or len(axes) > 3:
        sizes = ", ".join(f"{name} of {size}" for name, size in axes.items())
        return f"it holds {counted(1 + len(others), 'image')}, the first with axes {sizes}; save them one by one"
    if exif == "turn" and first.tags.valueof(ORIENTATION, 1) in range(2, 9):
        return TURNED_BY_TAG
    if first.photometric in NO_LEVELS:
        return f"its values stand for others ({NO_LEVELS[first.photometric]}); save the values themselves"
    return ""


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Drops what a library logs within the block: dozens of lines on one damaged file, of which our message tells."""
    logger = logging.getLogger(library)

    def drop(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


def absent(pages: Iterable[Any], size: int) -> str:
    """Says what of its pages' strips or tiles a TIFF of ``size`` bytes lacks: JPEG decoders would fill it with grey."""
    for page in pages:
        if page is None:  # a stack of ImageJ has tags for its first page only
            continue
        parts, needed = len(page.dataoffsets), math.prod(page.chunked)
        if parts < needed:
            return f"it names {parts} strips or tiles of {needed}"
        ends = map(operator.add, page.dataoffsets, page.databytecounts)
        if page.compression != 1 and max(ends, default=0) > size:
            return "it is cut short"
    return ""


def too_large(axes: Mapping[str, int], size: int) -> bool:
    """Tells whether an image has more pixels than Pillow would read, or more bytes than :data:`LARGEST`."""
    limit = Image.MAX_IMAGE_PIXELS
    pixels = axes.get("X", 0) * axes.get("Y", 0)
    return size > LARGEST or (limit is not None and pixels > 2 * limit)


def read_other(path: Path, exif: Exif) -> NDArray[Any]:
    """Reads other formats than TIFF: grey of 8 or 16 bits, colours of 8 bits, and PNG in colours of 16 bits."""
    with opened(path, "an image") as image:
        stored, times = storage(image), multiplied(image)
        if stored.pages > 1:
            raise DataError(f"{path}: holds {stored.pages} images, and one is needed; save them one by one")
        if stored.bits > 8 and stored.bands > 1:  # of these Pillow would read only the high bytes
            if image.format != "PNG":
                raise DataError(f"{path}: {stored} cannot be read whole from {image.format}; save it as TIFF or PNG")
            if exif == "turn" and image.getexif().get(ORIENTATION, 1) != 1:
                raise DataError(f"{path}: {TURNED_BY_TAG}")
            import cv2  # here, because exported models run without it

            whole = np.asarray(cv2.imdecode(np.frombuffer(read_file(path).getvalue(), np.uint8), cv2.IMREAD_UNCHANGED))
            return np.asarray(cv2.cvtColor(whole, cv2.COLOR_BGRA2RGBA if whole.shape[2] == 4 else cv2.COLOR_BGR2RGB))
        image.info.pop("transparency", None)
        modes = {"1": "L", "P": "RGB"}
        if image.mode not in ("L", "LA", "RGB", "RGBA", "F", *modes) and not image.mode.startswith("I"):
            raise DataError(f"{path}: {image.mode} has no bands of values; save it as RGB or TIFF")
        turned, _ = turn(image, exif)
        values = np.array(turned.convert(modes[turned.mode]) if turned.mode in modes else turned)
    if stored.bits > 8:
        values = divided(values, times)
    return values[..., None] if values.ndim == 2 else values


def tiff_tags(path: Path) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Returns the tags of a TIFF's first page; none of other files."""
    try:
        with path.open("rb") as file:
            return first_page_tags(file)
    except Exception:  # reading the pixels says what is wrong with the file
        return TiffImagePlugin.ImageFileDirectory_v2()


def georeference(path: Path) -> TiffImagePlugin.ImageFileDirectory_v2 | None:
    """Returns the tags that say where on Earth a GeoTIFF lies, as Pillow writes them; None of other files.

    They are about the pixels as they are stored. An orientation that turns these is among the tags.
    """
    found, tags = tiff_tags(path), TiffImagePlugin.ImageFileDirectory_v2()
    for tag in GEOREFERENCE:
        if tag in found:
            tags.tagtype[tag] = found.tagtype[tag]
            tags[tag] = found[tag]
    if not len(tags):
        return None
    if (orientation := found.get(ORIENTATION, 1)) in range(2, 9):
        tags[ORIENTATION] = orientation
    return tags


def pixel_count(path: Path) -> int:
    """Returns how many pixels an image has, from its header alone; 0 where that cannot be read."""
    try:
        with open_image(path) as image:
            return image.width * image.height
    except Exception:  # such as for a TIFF of bands that Pillow does not know
        sides = [tiff_tags(path).get(side, 0) for side in (WIDTH, HEIGHT)]
        return math.prod(side if isinstance(side, int) else 0 for side in sides)
