"""The shapes of annotations: polygons, run lengths, brush strokes and pictures; and the painting of polygons.

A coordinate counts from the upper left corner of the upper left pixel, so that this pixel reaches from 0 to 1. A pixel
belongs to a polygon if its centre does.
"""

import io
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from unimatch.images.file_kinds import open_image
from unimatch.labelling.run_lengths import Counts, columns_of, read_brush, read_pairs

Ring = NDArray[np.float64]
"""(N, 2) x and y of a closed line's points."""

OUTSIDE = 1.0
"""Pixels by which a point may lie outside the image: tools round, and let users draw past the edge."""

TIE = 1e-9
"""Pixels within which a centre counts as lying on an edge, so that rounding does not decide."""

CROSSINGS = 2**21
"""Crossings of edges with rows that are computed together, to bound the memory."""


class Window(NamedTuple):
    """A rectangle of an image, and which of its pixels an annotation covers."""

    top: int
    left: int
    inside: NDArray[np.bool_]
    """(H, W), the size of the window."""


class Pixels(Protocol):
    """A shape that is given by its pixels."""

    @property
    def area(self) -> float:
        """About how many pixels it covers; smaller shapes lie over larger ones where a format has no other order."""
        ...

    def window(self, width: int, height: int) -> Window:
        """Returns the pixels it covers in an image of this size.

        Raises:
            ValueError: the shape cannot be drawn; the text says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Polygon:
    """The pixels with an odd number of rings around them: an outline, and the outlines of holes in it."""

    rings: tuple[Ring, ...]

    @property
    def area(self) -> float:
        """The area of the first ring less those of the others, in pixels."""
        first, *holes = (abs(signed_area(ring)) for ring in self.rings)
        return first - sum(holes)


@dataclass(frozen=True, slots=True)
class Runs:
    """The pixels of an image by their run lengths."""

    counts: Counts | str
    """Run lengths, or Kaggle's text of starts and lengths."""
    size: tuple[int, int] | None = None
    """Width and height of the image they were made for; None where the format does not give it."""
    along_rows: bool = False
    """Whether runs go along the rows; else they go down the columns."""

    @property
    def area(self) -> float:
        """The number of set pixels."""
        if isinstance(self.counts, str):
            return float(np.array(self.counts.split()[1::2], float).sum())
        return float(self.counts[1::2].sum())

    def window(self, width: int, height: int) -> Window:
        """Returns the pixels; see :class:`Pixels`."""
        check_size(self.size, width, height)
        total = width * height
        counts = read_pairs(self.counts, total) if isinstance(self.counts, str) else self.counts
        if not self.along_rows:
            return Window(0, *columns_of(counts, width, height))
        top, inside = columns_of(counts, height, width)
        return Window(top, 0, inside.T)


@dataclass(frozen=True, slots=True)
class Brush:
    """Label Studio's brush strokes, kept as they are encoded."""

    code: NDArray[np.uint8]
    size: tuple[int, int]

    @property
    def area(self) -> float:
        """That of the whole image: the strokes' own is not known before they are decoded, and no caller needs it."""
        return float(self.size[0] * self.size[1])

    def window(self, width: int, height: int) -> Window:
        """Returns the pixels; see :class:`Pixels`."""
        check_size(self.size, width, height)
        return Window(0, 0, read_brush(self.code, width * height).reshape(height, width))


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file that shows the pixels of an annotation, and where its upper left corner lies."""

    content: bytes
    left: int = 0
    top: int = 0
    packed: bool = False
    """Whether the file may be compressed with zlib, as Supervisely's are."""

    @property
    def area(self) -> float:
        """Infinite: it is not known before the file is decoded, and no caller needs it."""
        return math.inf

    def window(self, width: int, height: int) -> Window:
        """Returns the pixels that are not black or, in a picture with transparency, not transparent."""
        content = self.content
        if self.packed and not content.startswith(b"\x89PNG"):
            unpack = zlib.decompressobj()
            largest = 2**16 + 8 * width * height
            content = unpack.decompress(content, largest)
            if unpack.unconsumed_tail:
                raise ValueError(f"its picture has more than {largest} bytes")
        try:
            image = open_image(io.BytesIO(content))
        except UnidentifiedImageError as error:
            raise ValueError("its picture is of no known kind") from error
        with image:
            if image.width > width - self.left or image.height > height - self.top or min(self.left, self.top) < 0:
                raise ValueError(
                    f"its picture of {image.width} x {image.height} pixels at ({self.left}, {self.top}) leaves the "
                    f"image of {width} x {height}"
                )
            transparent = image.mode in ("RGBA", "LA") or "transparency" in image.info
            inside = image.convert("RGBA").getchannel("A") if transparent else image.convert("L")
            return Window(self.top, self.left, np.asarray(inside) > 0)


Shape = Polygon | Pixels
"""What an annotation, or a part of it, covers."""


def check_size(size: tuple[int, int] | None, width: int, height: int) -> None:
    """Checks that a shape was made for an image of this size.

    Raises:
        ValueError: it was not.
    """
    if size not in (None, (width, height)):
        raise ValueError(f"it was made for {size[0]} x {size[1]} pixels and the photo has {width} x {height}")


def check_polygon(polygon: Polygon, width: int, height: int) -> None:
    """Checks that a polygon's rings have enough points and lie in the image.

    Raises:
        ValueError: a ring has fewer than three points, or a point lies outside.
    """
    for ring in polygon.rings:
        if len(ring) < 3:
            raise ValueError(f"its polygon has {len(ring)} points; three are needed")
        # For NaN the comparisons are false too.
        wrong = ~((ring >= -OUTSIDE) & (ring <= (width + OUTSIDE, height + OUTSIDE))).all(axis=1)
        if wrong.any():
            x, y = ring[wrong.argmax()]
            raise ValueError(f"its point ({x:g}, {y:g}) lies outside the image of {width} x {height} pixels")


def are_normalized(shapes: Iterable[Shape]) -> bool:
    """Tells whether there are three or more polygons, all with points between 0 and 1: shares of the image's sides.

    Fewer polygons may really lie in the first pixel.
    """
    rings = [ring for shape in shapes if isinstance(shape, Polygon) for ring in shape.rings if ring.size]
    return len(rings) > 2 and all(0 <= ring.min() <= ring.max() <= 1 and (ring % 1).any() for ring in rings)


NORMALIZED = (
    "all points lie between 0 and 1, as shares of the photos' sides do, and they must count pixels; export them so"
)
"""The message for a file of such polygons."""


def signed_area(ring: Ring) -> float:
    """Returns the area within a ring in pixels; its sign tells in which direction the ring runs."""
    (x0, y0), (x1, y1) = ring.T, following(ring).T
    return float(x0.dot(y1) - x1.dot(y0)) / 2


def following(ring: Ring) -> Ring:
    """Returns the next point of a ring for each of its points."""
    return np.concatenate((ring[1:], ring[:1]))


def paint(mask: NDArray[np.generic], polygons: Sequence[Polygon], values: Sequence[int]) -> None:
    """Paints polygons into a mask, each with its value and over those before it.

    A polygon's edges cut every row of pixel centres into pieces that lie outside, inside, outside and so on. A centre
    on an edge belongs to the piece on its right.

    Args:
        mask: (H, W), contiguous in memory; it is changed.
        polygons: the polygons; to paint all in one call takes a fraction of the time.
        values: the value of each polygon.
    """
    if not polygons:
        return
    height, width = mask.shape
    flat, wide = mask.reshape(-1), width + 1
    rings = [ring for polygon in polygons for ring in polygon.rings]
    x0, y0 = np.concatenate(rings).T
    x1, y1 = np.concatenate([following(ring) for ring in rings]).T
    lengths = [sum(map(len, polygon.rings)) for polygon in polygons]
    place = np.arange(len(polygons)).repeat(lengths) * height
    first = np.ceil(np.minimum(y0, y1) - 0.5).clip(0, height).astype(np.int64)
    last = np.ceil(np.maximum(y0, y1) - 0.5).clip(0, height).astype(np.int64)
    slope = (x1 - x0) / np.where(y1 == y0, 1, y1 - y0)
    start = x0 - slope * (y0 - 0.5) - 0.5 - TIE  # where an edge's line meets the first row of centres
    changes = np.bincount(first, minlength=height + 1) - np.bincount(last, minlength=height + 1)
    for rows in row_blocks(changes[:-1].cumsum()):
        begin = first.clip(rows.start, rows.stop)
        count = last.clip(rows.start, rows.stop) - begin
        ends = count.cumsum()
        row = np.arange(ends[-1]) + (begin - ends + count).repeat(count)
        column = np.ceil(start.repeat(count) + slope.repeat(count) * row).clip(0, width).astype(np.int64)
        # Sorted by polygon, row and column, a crossing that enters is followed by the one that leaves.
        crossings = np.sort((place.repeat(count) + row) * wide + column)
        lines, columns = np.divmod(crossings, wide)
        owners, rows_of = np.divmod(lines[::2], height)
        begins = rows_of * width + columns[::2]
        stops = begins + columns[1::2] - columns[::2]
        for value, begin_at, stop_at in zip(owners.tolist(), begins.tolist(), stops.tolist(), strict=True):
            flat[begin_at:stop_at] = values[value]


def row_blocks(crossings: NDArray[np.int64]) -> Iterator[slice]:
    """Cuts rows into slices of about :data:`CROSSINGS` crossings each, by the crossings (H,) of every row."""
    block = crossings.cumsum() // CROSSINGS
    bounds = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(crossings)] if block[-1] else [0, len(crossings)]
    return (slice(start, stop) for start, stop in pairwise(bounds))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """Returns the four corners of a rectangle, given two opposite ones."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def ellipse(x: float, y: float, wide: float, high: float) -> Ring:
    """Returns an ellipse with the centre (x, y) and two radii as a polygon that is exact to a twentieth of a pixel."""
    radius = max(abs(wide), abs(high), 1.0)
    if not radius < 1e6:
        raise ValueError(f"its radius is {radius:g}")
    angle = np.linspace(0, 2 * np.pi, math.ceil(np.pi * math.sqrt(radius / 0.1)) + 8, endpoint=False)
    return np.stack([x + wide * np.cos(angle), y + high * np.sin(angle)], axis=1)


def turned(ring: Ring, degrees: float, about: tuple[float, float]) -> Ring:
    """Returns a ring turned clockwise about a point."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    result: Ring = (ring - about) @ turn + about
    return result
