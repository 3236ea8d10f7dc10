import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unimatch.labelling.outlines import LEAST_IOU, edges, outline
from unimatch.labelling.regions import pieces
from unimatch.labelling.shapes import Polygon, paint, signed_area

masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)


def drawn(rings, shape):
    mask = np.zeros(shape, bool)
    paint(mask, [Polygon(tuple(rings))], [1])
    return mask


@settings(deadline=None)
@given(masks)
def test_outlines_without_tolerance_give_every_mask_again(mask):
    again = np.full_like(mask, 9)
    for piece in pieces(mask, {0: "0", 1: "1", 2: "2"}):
        again[drawn(piece.rings(0), mask.shape)] = int(piece.label)
    assert (again == mask).all()


def test_rings_in_rings_take_little_memory():
    """The window around each holds all those inside it: together many times the mask."""
    side = 400
    across = np.minimum(np.arange(side), np.arange(side)[::-1])
    mask = (np.minimum(across[:, None], across) % 2).astype(np.uint8)
    tracemalloc.start()
    areas = [int(piece.inside.sum()) for piece in pieces(mask, {0: "0", 1: "1"})]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert areas == [4 * (side - 2 * i - 1) for i in range(side // 2)]
    assert peak < 20 * mask.size


@settings(deadline=None)
@given(masks)
def test_pieces_are_connected_and_cover_their_classes(mask):
    found = list(pieces(mask, {1: "one"}))
    assert sum(piece.inside.sum() for piece in found) == (mask == 1).sum()
    assert all(cv2.connectedComponents(piece.inside.astype(np.uint8), connectivity=4)[0] == 2 for piece in found)
    sizes = [piece.inside.sum() for piece in found]
    assert sizes == sorted(sizes, reverse=True)
    whole = sum((piece.whole(mask.shape[1], mask.shape[0]) for piece in found), np.zeros(mask.shape, int))
    assert (whole == (mask == 1)).all()


def test_edges_of_closed_forms():
    (square,) = edges(np.ones((3, 4), bool))
    assert {tuple(corner) for corner in square} == {(0, 0), (4, 0), (4, 3), (0, 3)}
    frame = np.ones((5, 5), bool)
    frame[2, 2] = False
    assert sorted(abs(signed_area(ring)) for ring in edges(frame)) == [1, 25]
    diagonal = np.eye(2, dtype=bool)
    assert len(edges(diagonal)) == len(edges(diagonal[::-1])) == 2  # they touch at a corner only


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_a_tolerance_takes_points_away_but_keeps_the_region_and_its_holes(tolerance):
    y, x = np.mgrid[:80, :100]
    region = ((x - 50) / 45) ** 2 + ((y - 40) / 35) ** 2 < 1
    region &= ((x - 60) / 15) ** 2 + ((y - 40) / 10) ** 2 > 1
    exact, rings = outline(region, 0), outline(region, tolerance)
    assert len(exact) == len(rings) == 2
    assert sum(map(len, rings)) < sum(map(len, exact)) / 1.5
    mask = drawn(rings, region.shape)
    assert (mask & region).sum() >= LEAST_IOU * (mask | region).sum()
    assert not mask[40, 60]


def test_a_thin_region_keeps_its_shape_where_the_tolerance_is_too_much():
    region = np.eye(60, dtype=bool) | np.eye(60, k=1, dtype=bool)
    mask = drawn(outline(region, 5.0), region.shape)
    assert (mask & region).sum() >= LEAST_IOU * (mask | region).sum()
