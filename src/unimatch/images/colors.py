"""Makes colours that can be told apart when they lie half transparent over a photograph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

BLACK: Color = (0, 0, 0)
"""The colour of backgrounds, in data sets and in :func:`unimatch.data.catalog.distinct_colors`."""
MIN_DISTANCE = 42.0
"""The least distance of two colours in CIELAB: about twenty just noticeable differences."""
ENOUGH_DISTANCE = 70.0
"""More distance than this counts no more."""
CHANGE_COST = 0.15
"""How much distance from other colours a unit of distance from the class's own colour costs."""
LIGHTNESS = (34.0, 92.0)
"""The least and the greatest lightness in CIELAB: darker colours hide the photograph, lighter ones look like fog."""
GRID = (0, 36, 73, 109, 146, 182, 219, 255)
"""Values of the channels of the colours that may replace others."""


def told_apart(palette: Sequence[Sequence[int]]) -> list[Color]:
    """Returns a palette in which no two colours look alike.

    A colour is kept if it is neither too dark nor too light, nor too near a colour that was kept before it. Otherwise
    it is replaced by one that is far from all others and not too far from it. Black, the background, is kept.

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
    # The distances of the given colours and of those of the grid from the nearest colour found so far.
    own_distance, grid_distance = np.full(len(own), np.inf), np.full(len(grid), np.inf)

    def keep(index: int, color: NDArray[np.uint8], place: NDArray[np.float64]) -> None:
        found[index] = color
        np.minimum(own_distance, np.linalg.norm(own - place, axis=1), out=own_distance)
        np.minimum(grid_distance, np.linalg.norm(places - place, axis=1), out=grid_distance)

    for i, color in enumerate(given):  # the colours that are kept come first: people know them
        black = not color.any() and not any(not given[j].any() for j in found)
        if black or (LIGHTNESS[0] <= own[i, 0] <= LIGHTNESS[1] and own_distance[i] >= MIN_DISTANCE):
            keep(i, color, own[i])
    for i in range(len(given)):
        if i not in found:
            change = np.linalg.norm(places - own[i], axis=1)
            best = int((np.minimum(grid_distance, ENOUGH_DISTANCE) - CHANGE_COST * change).argmax())
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
