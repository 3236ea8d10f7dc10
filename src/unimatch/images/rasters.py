"""Reads images of any bands and types, TIFF above all, and keeps where they lie on Earth."""

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
from unimatch.images.storage import divided, multiplied, storage
from unimatch.images.tiff_pages import count_pages
from unimatch.reading import read_file

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF files begin; the last two are BigTIFF's."""

GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
"""TIFF's tags of scale, tie points, transformation, and the coordinate system in three parts."""
WIDTH, HEIGHT = 256, 257
"""The tags of the size."""
PHOTOMETRICS = {
    0: "black is the highest",
    3: "places in a palette",
    **dict.fromkeys((8, 9, 10), "colours of LAB, which are no red, green and blue"),
}
"""Values of TIFF's PhotometricInterpretation that are no levels."""
NO_DATA_TAG = 42113
"""GDAL's tag of the value that means no data."""
TURNED_BY_TAG = (
    "it is turned by its orientation tag; save it as it should lie, or train on it as it is stored: dataset.exif=stored"
)

LARGEST = 2**32
"""Bytes of an image, unpacked, at most."""


def read_bands(path: Path, bands: Bands, *, exif: Exif = "turn") -> ImageArray:
    """Reads an image as levels, (H, W, C) uint8; photos as :func:`unimatch.images.arrays.read_image` does.

    ``exif`` says what becomes of an EXIF orientation.

    Raises:
        DataError: the file cannot be read, or is not what ``bands`` says.
        ConfigError: a TIFF, and the library that reads it is not installed.
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
    """Reads all values that a file stores, (H, W, N) of its own type; raises as :func:`read_bands` does."""
    try:
        with path.open("rb") as file:
            is_tiff = file.read(4) in TIFF
    except OSError as error:
        if lacks_open_files(error):  # which is no fault of the file
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
            series, first = file.series[0], file.series[0].keyframe
            axes = {
                name: size
                for name, size in zip(series.get_axes(False), series.get_shape(False), strict=True)
                if size > 1 or name in "YX"
            }
            # Smaller copies of the image and masks of its pixels are pages too.
            pages = [more.keyframe for more in file.series[1:]]
            others = [page for page in pages if not page.is_reduced and not page.is_mask]
            fault = ""
            if too_large(axes, series.nbytes):
                fault = f"it has {axes['X']} x {axes['Y']} pixels in {series.nbytes >> 20} MiB; cut it up"
            elif others or not set("YX") <= set(axes) <= set("YXSCQI") or len(axes) > 3:
                sizes = ", ".join(f"{name} of {size}" for name, size in axes.items())
                fault = f"it holds {1 + len(others)} images, the first with axes {sizes}; save them one by one"
            elif exif == "turn" and first.tags.valueof(ORIENTATION, 1) != 1:
                fault = TURNED_BY_TAG
            elif first.photometric in PHOTOMETRICS:
                fault = f"its values stand for others ({PHOTOMETRICS[first.photometric]}); save the values themselves"
            missing = None if fault else absent(series.pages, file.filehandle.size)
            if missing:
                raise ValueError(missing)
            values = None if fault else series.asarray(squeeze=False).reshape(list(axes.values()))
    except UnimatchError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        if worker_behind(error):
            raise  # which is no fault of the file
        raise DataError(f"{path}: cannot be read as TIFF ({error}); repair or remove it") from error
    if values is None:
        raise DataError(f"{path}: one image of rows Y, columns X and bands is needed, but {fault}")
    if len(axes) == 2:
        return values[..., None]
    return np.moveaxis(values, 0, -1) if next(iter(axes)) not in "YX" else values


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Drops what a library logs in the meantime: of one damaged file, dozens of lines beside our own message."""
    logger = logging.getLogger(library)

    def drop(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


def absent(pages: Iterable[Any], size: int) -> str:
    """Says what a TIFF of ``size`` bytes has not of its pages' strips or tiles; decoders of JPEG make it grey."""
    for page in pages:
        if page is None:  # of a stack of ImageJ, which has tags for the first alone
            continue
        parts, needed = len(page.dataoffsets), math.prod(page.chunked)
        if parts < needed:
            return f"it names {parts} strips or tiles of {needed}"
        ends = map(operator.add, page.dataoffsets, page.databytecounts)
        if page.compression != 1 and max(ends, default=0) > size:
            return "it is cut short"
    return ""


def too_large(axes: Mapping[str, int], size: int) -> bool:
    """Tells whether an image has more pixels than Pillow allows of others, or more bytes than :data:`LARGEST`."""
    limit = Image.MAX_IMAGE_PIXELS
    pixels = axes.get("X", 0) * axes.get("Y", 0)
    return size > LARGEST or (limit is not None and pixels > 2 * limit)


def read_other(path: Path, exif: Exif) -> NDArray[Any]:
    """Reads what is no TIFF: grey of 8 or 16 bits, colours of 8 bits, and PNG in colours of 16 bits."""
    with opened(path, "an image") as image:
        stored, times = storage(image), multiplied(image)
        if stored.pages > 1:
            raise DataError(f"{path}: holds {stored.pages} images, and one is needed; save them one by one")
        if stored.bits > 8 and stored.bands > 1:  # of which Pillow would read the high bytes alone
            if image.format != "PNG":
                raise DataError(f"{path}: {stored} cannot be read whole from {image.format}; save it as TIFF or PNG")
            if exif == "turn" and image.getexif().get(ORIENTATION, 1) != 1:
                raise DataError(f"{path}: {TURNED_BY_TAG}")
            import cv2  # not above: exported models run without it

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
    """Returns what a TIFF says of its first image, by the numbers of the tags; of other files nothing."""
    found = TiffImagePlugin.ImageFileDirectory_v2()
    try:
        with path.open("rb") as file:
            header = file.read(8)
            if header[:4] in TIFF:
                header += file.read(8) if header[:4] in TIFF[2:] else b""
                found = TiffImagePlugin.ImageFileDirectory_v2(header)
                file.seek(found.next)
                found.load(file)
    except Exception:  # whatever is wrong with it is said when it is read
        return TiffImagePlugin.ImageFileDirectory_v2()
    return found


def georeference(path: Path) -> TiffImagePlugin.ImageFileDirectory_v2 | None:
    """Returns the tags that say where a GeoTIFF lies, as Pillow writes them; None of other files."""
    found, tags = tiff_tags(path), TiffImagePlugin.ImageFileDirectory_v2()
    for tag in GEOREFERENCE:
        if tag in found:
            tags.tagtype[tag] = found.tagtype[tag]
            tags[tag] = found[tag]
    return tags if len(tags) else None


def pixel_count(path: Path) -> int:
    """Returns how many pixels an image has, from its header alone; 0 where that cannot be read."""
    try:
        with open_image(path) as image:
            return image.width * image.height
    except Exception:  # among these are TIFFs of bands that Pillow does not know
        sides = [tiff_tags(path).get(side, 0) for side in (WIDTH, HEIGHT)]
        return math.prod(side if isinstance(side, int) else 0 for side in sides)
