"""Finds what is wrong with pairs of two dates."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unimatch.data.check.findings import Part
from unimatch.errors import DataError
from unimatch.images.arrays import Exif, ImageArray
from unimatch.images.bands import Bands
from unimatch.images.rasters import read_bands


def differ_in_size(paths: Sequence[Path], bands: Bands, exif: Exif) -> bool:
    """Tells whether the files of an image can each be read, and have different sizes."""
    try:
        return len({read_bands(path, bands, exif=exif).shape for path in paths}) > 1
    except DataError:
        return False


def date_faults(name: str, image: ImageArray) -> Iterator[tuple[str, str]]:
    """Finds pairs whose two dates have the same pixels."""
    if image.ndim == 4 and np.array_equal(image[0], image[1]):
        yield "same dates", f"{name}: both dates have the same pixels"


def share_faults(part: Part) -> Iterator[tuple[str, str]]:
    """Finds parts whose labels call most pixels changed."""
    unchanged, changed = part.pixels[:2].tolist()
    if changed > unchanged:
        yield "mostly changed", f"{100 * changed / (unchanged + changed):.1f} % of the pixels"
