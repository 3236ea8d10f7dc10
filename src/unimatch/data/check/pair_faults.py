"""Finds faults of pairs of dates."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unimatch.data.check.findings import Part
from unimatch.errors import DataError
from unimatch.images.arrays import Exif, ImageArray
from unimatch.images.bands import Bands
from unimatch.images.rasters import read_bands


def differ_in_size(paths: Sequence[Path], bands: Bands, exif: Exif) -> bool:
    """Tells whether all files of an image can be read, and have different sizes."""
    try:
        return len({read_bands(path, bands, exif=exif).shape for path in paths}) > 1
    except DataError:
        return False


def date_faults(name: str, image: ImageArray) -> Iterator[tuple[str, str]]:
    """Yields a fault if both dates of a pair have the same pixels."""
    if image.ndim == 4 and np.array_equal(image[0], image[1]):
        yield "same dates", f"{name}: both dates have the same pixels"


def share_faults(part: Part) -> Iterator[tuple[str, str]]:
    """Yields a fault if the labels of a part call most pixels changed."""
    unchanged, changed = part.pixels[:2].tolist()
    if changed > unchanged:
        yield "mostly changed", f"{100 * changed / (unchanged + changed):.1f} % of the pixels"
