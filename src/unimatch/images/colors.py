"""Colours that can be told apart when they lie half transparent over a photograph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

BLACK: Color = (0, 0, 0)
"""The colour of backgrounds, in data sets and in :func:`unimatch.data.catalog.distinct_colors`."""
APART = 42.0
"""How far apart two colours are at least, in CIELAB: about twenty differences that can just be seen."""
ENOUGH = 70.0
"""From here on, more distance is worth nothing."""
LOYALTY = 0.15
"""How much distance to other colours one unit of distance to a class's own colour is worth."""
LIGHTNESS = (34.0, 92.0)
"""Of colours, in CIELAB: darker ones hide the photograph, lighter ones look like fog."""
GRID = (0, 36, 73, 109, 146, 182, 219, 255)
"""The channels of colours that take the place of others."""


def told_apart(palette: Sequence[Sequence[int]]) -> list[Color]:
    """Returns a palette in which no two colours look alike.

    A colour stays if it is neither too dark, nor too light, nor too near one that stays before it; else one that is far
    from all others and not too far from it takes its place. Black stays: it is the background.

    >>> told_apart([(0, 0, 0), (255, 0, 0), (250, 5, 5)])[:2]
    [(0, 0, 0), (255, 0, 0)]
    """
    given = np.array([[min(max(int(c), 0), 255) for c in color] for color in palette], np.uint8).reshape(-1, 3)
    if not len(given):
        return []
    own = lab(given)
    grid = np.stack(np.meshgrid(GRID, GRID, GRID, indexing="ij"), -1).reshape(-1, 3).astype(np.uint8)
    places = lab(grid)
    fit = (places[:, 0] >= LIGHTNESS[0]) & (places[:, 0] <= LIGHTNESS[1])
    grid, places = grid[fit], places[fit]
    found: dict[int, NDArray[np.uint8]] = {}
    # How far the given colours and those of the grid are from the nearest of those found.
    own_far, grid_far = np.full(len(own), np.inf), np.full(len(grid), np.inf)

    def keep(index: int, color: NDArray[np.uint8], place: NDArray[np.float64]) -> None:
        found[index] = color
        np.minimum(own_far, np.linalg.norm(own - place, axis=1), out=own_far)
        np.minimum(grid_far, np.linalg.norm(places - place, axis=1), out=grid_far)

    for i, color in enumerate(given):  # those that stay first: they are the colours people know
        black = not color.any() and not any(not given[j].any() for j in found)
        if black or (LIGHTNESS[0] <= own[i, 0] <= LIGHTNESS[1] and own_far[i] >= APART):
            keep(i, color, own[i])
    for i in range(len(given)):
        if i not in found:
            change = np.linalg.norm(places - own[i], axis=1)
            best = int((np.minimum(grid_far, ENOUGH) - LOYALTY * change).argmax())
            keep(i, grid[best], places[best])
    return [(int(red), int(green), int(blue)) for red, green, blue in (found[i] for i in range(len(given)))]


def lab(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns colours (N, 3) in CIELAB, in which equal distances look about equal; the white point is D65.

    >>> lab(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8)).round().tolist()
    [[0.0, 0.0, 0.0], [100.0, 0.0, 0.0], [53.0, 80.0, 67.0]]
    """
    value = colors / 255
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ (to_xyz / to_xyz.sum(1, keepdims=True)).T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    result = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
    return result + 0.0  # no -0
