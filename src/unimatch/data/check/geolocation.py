"""Finds GeoTIFFs of one sample that lie at different places on Earth."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unimatch.images.folders import suffix
from unimatch.images.rasters import georeference

SCALE, TIE_POINT, MATRIX = 33550, 33922, 34264
"""GeoTIFF's tags of the pixel scale, the tie point and the transformation."""
TOLERANCE = 0.5
"""Pixels by which corners may differ, as programs round coordinates."""


class Corner(NamedTuple):
    """Where the first pixel of a GeoTIFF lies, and how wide a pixel is, in the units of its coordinates."""

    x: float
    y: float
    pixel: float


def apart(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yields GeoTIFFs that lie at another place than the first georeferenced one, or have other coordinates."""
    tiffs = [path for path in paths if suffix(path.name).lower() in (".tif", ".tiff")]
    placed = [(path, corner) for path in tiffs if (corner := corner_of(path)) is not None] if len(tiffs) > 1 else []
    for path, corner in placed[1:]:
        first, other = placed[0]
        if max(abs(corner.x - other.x), abs(corner.y - other.y)) > TOLERANCE * other.pixel:
            here, there = (f"{place.x:.10g}, {place.y:.10g}" for place in (corner, other))
            text = f"{path}: begins at {here} and {first} at {there}; cut both to one extent, in one coordinate system"
            yield "places apart", text


def corner_of(path: Path) -> Corner | None:
    """Returns the corner of a GeoTIFF; None for a file without a valid georeference."""
    tags: Any = georeference(path) or {}
    try:
        if MATRIX in tags:
            matrix = [float(value) for value in tags[MATRIX]]
            corner = Corner(matrix[3], matrix[7], math.hypot(matrix[0], matrix[4]))
        else:
            (width, height, *_), (column, row, _, x, y, *_) = tags[SCALE], tags[TIE_POINT]
            corner = Corner(float(x - column * width), float(y + row * height), abs(float(width)))
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return corner if all(map(math.isfinite, corner)) and corner.pixel > 0 else None
