import io
import struct
import tracemalloc
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from unimatch.labelling.shapes import (
    Picture,
    Polygon,
    Runs,
    check_polygon,
    ellipse,
    paint,
    rectangle,
    signed_area,
    turned,
)


def painted(rings, width, height):
    mask = np.zeros((height, width), bool)
    paint(mask, [Polygon(tuple(rings))], [1])
    return mask


def slow_fill(rings, width, height):
    """For each pixel's centre, how many edges lie to its left in its row; in fractions, so that nothing is rounded."""
    rings = [[(Fraction(x), Fraction(y)) for x, y in ring.tolist()] for ring in rings]
    mask = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            x, y, crossed = column + Fraction(1, 2), row + Fraction(1, 2), 0
            for ring in rings:
                for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
                    if min(y0, y1) <= y < max(y0, y1):
                        crossed += x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x
            mask[row, column] = crossed % 2
    return mask


points = st.lists(st.tuples(st.integers(-8, 40), st.integers(-8, 36)), min_size=3, max_size=7)


@settings(deadline=None)
@given(st.lists(points, min_size=1, max_size=3))
@example([[(0, 0), (25, 36), (19, 0)]])  # a centre on an edge whose slope has no exact binary form
def test_painting_is_point_in_polygon_of_every_pixel(rings):
    rings = [np.array(ring) / 4 for ring in rings]  # quarters: some centres lie on edges
    assert (painted(rings, 9, 8) == slow_fill(rings, 9, 8)).all()
    mask = np.zeros((8, 9), np.uint8)
    paint(mask, [Polygon((ring,)) for ring in rings], [5, 6, 7][: len(rings)])
    expected = np.zeros((8, 9), np.uint8)
    for value, ring in zip((5, 6, 7), rings, strict=False):
        expected[slow_fill([ring], 9, 8)] = value
    assert (mask == expected).all()


def test_closed_forms():
    assert painted([rectangle(1, 2, 4, 5)], 9, 8).sum() == 9
    ring_with_hole = Polygon((rectangle(0, 0, 8, 8), rectangle(2, 2, 6, 6)))
    assert painted(ring_with_hole.rings, 8, 8).sum() == 64 - 16 == ring_with_hole.area
    circle = ellipse(50, 50, 30, 30)
    assert painted([circle], 100, 100).sum() == pytest.approx(np.pi * 900, rel=0.005)
    assert signed_area(circle) == pytest.approx(np.pi * 900, rel=0.002)
    assert turned(np.array([[2.0, 0.0]]), 90, (0, 0)) == pytest.approx(np.array([[0.0, 2.0]]))  # clockwise, y is down


@pytest.mark.nightly
def test_a_polygon_that_crosses_every_row_many_times_takes_little_memory():
    zigzag = np.stack([np.linspace(0, 200, 8000), np.tile([0.0, 2000.0], 4000)], axis=1)
    tracemalloc.start()
    painted([zigzag], 200, 2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 2**20  # all crossings at once would take 8,000 x 2,000 x 40 bytes


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_pictures_are_set_where_not_black_or_not_transparent():
    grey = np.array([[0, 7], [255, 0]], np.uint8)
    clear = np.stack([grey * 0 + 9, grey * 0, grey * 0, grey], axis=-1)
    for content in (png(grey), png(clear)):
        top, left, inside = Picture(content, left=3, top=1).window(9, 9)
        assert (top, left, inside.tolist()) == (1, 3, [[False, True], [True, False]])
    packed = Picture(zlib.compress(png(grey > 0)), packed=True)
    assert packed.window(2, 2).inside.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Polygon((np.array([[1.0, 1], [2, 2]]),)), "has 2 points; three are needed"),
        (Polygon((np.array([[1.0, 1], [99, 2], [3, 3]]),)), r"point \(99, 2\) lies outside the image of 9 x 8"),
        (Polygon((np.array([[1.0, 1], [np.nan, 2], [3, 3]]),)), r"point \(nan, 2\) lies outside"),
        (Polygon((np.array([[1.0, 1], [np.inf, 2], [3, 3]]),)), "lies outside"),
        (Runs(np.array([70, 2]), (8, 9)), "made for 8 x 9 pixels and the photo has 9 x 8"),
        (Picture(png(np.ones((3, 3), np.uint8)), left=7), "leaves the image of 9 x 8"),
        (Picture(png(np.ones((3, 3), np.uint8)), top=-1), "leaves the image"),
        (Picture(zlib.compress(bytes(10**7)), packed=True), "more than .* bytes"),
    ],
)
def test_what_cannot_be_drawn_says_why(shape, message):
    with pytest.raises(ValueError, match=message):
        check_polygon(shape, 9, 8) if isinstance(shape, Polygon) else shape.window(9, 8)


def test_a_picture_that_claims_to_be_huge_takes_no_memory():
    header = b"IHDR" + struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    big = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    big += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    tracemalloc.start()
    with pytest.raises(ValueError, match="leaves the image"):
        Picture(big).window(9, 8)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_runs_take_the_columns_that_they_cover():
    """A photo of thousands of small objects takes time for those, and not for the whole photo each."""
    window = Runs("5 2 9 1").window(1000, 4)
    assert (window.top, window.left, window.inside.tolist()) == (
        *(0, 1),
        [[True, True], [True, False], [False, False], [False, False]],
    )
