"""Cuts a mask into connected regions, which label tools can show and correct one by one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unimatch.images.arrays import MaskArray
from unimatch.labelling.outlines import outline
from unimatch.labelling.shapes import Ring


@dataclass(frozen=True, slots=True)
class Piece:
    """One connected region of one class."""

    label: str
    top: int
    left: int
    inside: NDArray[np.bool_]
    """(H, W) of its bounding box, whose upper left pixel is (``top``, ``left``)."""

    def rings(self, tolerance: float) -> list[Ring]:
        """Returns its outline and those of its holes, in the image's coordinates.

        See :func:`unimatch.labelling.outlines.outline`.
        """
        return [ring + np.array([self.left, self.top]) for ring in outline(self.inside, tolerance)]

    def whole(self, width: int, height: int) -> NDArray[np.bool_]:
        """Returns the region in an image of this size, (height, width)."""
        result = np.zeros((height, width), bool)
        rows, columns = self.inside.shape
        result[self.top : self.top + rows, self.left : self.left + columns] = self.inside
        return result


def pieces(
    mask: MaskArray, names: dict[int, str], check_count: Callable[[int], object] = lambda count: None
) -> Iterator[Piece]:
    """Yields the regions of a mask, connected by the sides of pixels, larger ones first.

    Args:
        mask: (H, W) ids.
        names: the classes to look for, by their ids.
        check_count: called for each class with the number of regions up to it, before memory is spent on them; it may
            raise an error to end the search.
    """
    numbers = np.zeros(
        mask.shape, np.int32
    )  # of the region of each pixel, from 1: no region needs an array before its turn
    found: list[tuple[int, int, int, tuple[int, int, int, int]]] = []
    for label in np.unique(mask).tolist():
        if label in names:
            inside = mask == label
            check_count(len(found) + cv2.connectedComponents(inside.view(np.uint8), connectivity=4)[0] - 1)
            _, regions, facts, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=4)
            np.add(regions, len(found), out=numbers, where=inside)
            for left, top, width, height, area in facts[1:].tolist():
                found.append((-area, len(found) + 1, label, (top, left, height, width)))
    for _, number, label, (top, left, height, width) in sorted(found):
        yield Piece(names[label], top, left, numbers[top : top + height, left : left + width] == number)
