"""Traces the outlines of a region and of its holes as polygons, with as few points as a tolerance allows."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unimatch.labelling.shapes import Polygon, Ring, paint, signed_area

LEAST_IOU = 0.995
"""The least intersection over union of a region and its polygon; the tolerance is lowered until it is reached."""


def outline(region: NDArray[np.bool_], tolerance: float) -> list[Ring]:
    """Returns the outline of a connected region and those of its holes.

    Args:
        region: (H, W); the pixels are connected by their sides.
        tolerance: how far lines may be from the region's edge, in pixels; 0 to follow every step of the edge.

    Returns:
        Rings, the outer one first. Painted (:func:`unimatch.labelling.shapes.paint`), they cover the region: exactly
        with tolerance 0, otherwise with an intersection over union of at least :data:`LEAST_IOU`.
    """
    exact = [cut_corners(ring) for ring in edges(region)]
    exact.sort(key=lambda ring: -abs(signed_area(ring)))
    while tolerance > 0.1:
        rings = [simplified(ring, tolerance) for ring in exact]
        rings = rings[:1] + [ring for ring in rings[1:] if len(ring) > 2]
        if len(rings[0]) > 2:
            drawn = np.zeros_like(region)
            paint(drawn, [Polygon(tuple(rings))], [1])
            if np.count_nonzero(drawn & region) >= LEAST_IOU * np.count_nonzero(drawn | region):
                return rings
        tolerance /= 2
    return exact


def simplified(ring: Ring, tolerance: float) -> Ring:
    """Returns some of a ring's points: all others lie within ``tolerance`` pixels of the lines between these."""
    return cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, closed=True)[:, 0].astype(np.float64)


def cut_corners(ring: Ring) -> Ring:
    """Returns a ring of right angles with each corner cut off half a pixel before and after it.

    No pixel's centre is cut off, and the steps of a slanted edge become nearly straight.
    """
    ahead = np.sign(np.roll(ring, -1, axis=0) - ring) / 2
    points = np.stack([ring - np.roll(ahead, 1, axis=0), ring + ahead], axis=1).reshape(-1, 2)
    return points[(points != np.roll(points, 1, axis=0)).any(axis=1)]


def edges(region: NDArray[np.bool_]) -> list[Ring]:
    """Returns the closed lines between the pixels of a region and all others, by their corners.

    A point of the grid between pixels is a corner if an odd number of the four pixels around it is set; if two
    opposite ones are, it is two corners, one for each. In every row of the grid, corners are joined in pairs by
    horizontal lines, in every column by vertical ones: following both in turn leads around.
    """
    padded = np.pad(region, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = upper_left ^ upper_right ^ lower_left ^ lower_right
    falling = ~odd & (upper_left == lower_right) & (upper_left != upper_right)
    y, x = np.nonzero(odd | falling)
    twice = falling[y, x]
    y, x = np.repeat(y, 1 + twice), np.repeat(x, 1 + twice)
    second = np.zeros(y.size, bool)
    second[1:] = (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    # Of two corners at one point the first ends the line from the left, and goes on upwards if that pixel is set.
    upwards = second ^ upper_left[y, x]
    across = partners(np.arange(y.size))
    down = partners(np.lexsort((~upwards, y, x)))
    rings, left = [], [True] * y.size
    for start in range(y.size):
        path, at = [], start
        while left[at]:
            left[at] = False
            path.append(at)
            at = across[at] if len(path) % 2 else down[at]
        if path:
            rings.append(np.stack([x[path], y[path]], axis=1).astype(np.float64))
    return rings


def partners(order: NDArray[np.int64]) -> list[int]:
    """Pairs the first number with the second, the third with the fourth and so on; returns each number's partner."""
    result = np.empty_like(order)
    result[order[::2]], result[order[1::2]] = order[1::2], order[::2]
    return [int(partner) for partner in result]
