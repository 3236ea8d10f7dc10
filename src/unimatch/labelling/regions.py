"""The connected regions of a mask, each a piece that a label tool can show and correct."""

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
    """(H, W) of the smallest window around it."""

    def rings(self, tolerance: float) -> list[Ring]:
        """Returns its outline and those of its holes, in the image (:func:`unimatch.labelling.outlines.outline`)."""
        return [ring + np.array([self.left, self.top]) for ring in outline(self.inside, tolerance)]

    def whole(self, width: int, height: int) -> NDArray[np.bool_]:
        """Returns the region in an image of this size, (height, width)."""
        result = np.zeros((height, width), bool)
        rows, columns = self.inside.shape
        result[self.top : self.top + rows, self.left : self.left + columns] = self.inside
        return result


def pieces(
    mask: MaskArray, names: dict[int, str], told: Callable[[int], object] = lambda count: None
) -> Iterator[Piece]:
    """Returns the regions of a mask, connected by the sides of pixels, larger ones first.

    Args:
        mask: (H, W) ids.
        names: the classes to look for, by their ids.
        told: is called with the number of regions so far after each class, before
            memory is spent on each; it may raise an error to end the search.
    """
    numbers = np.zeros(mask.shape, np.int32)  # of all regions, from 1: no region needs a picture before its turn
    found: list[tuple[int, int, int, tuple[int, int, int, int]]] = []
    for label in np.unique(mask).tolist():
        if label in names:
            inside = mask == label
            told(len(found) + cv2.connectedComponents(inside.view(np.uint8), connectivity=4)[0] - 1)
            _, regions, facts, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=4)
            np.add(regions, len(found), out=numbers, where=inside)
            for left, top, width, height, area in facts[1:].tolist():
                found.append((-area, len(found) + 1, label, (top, left, height, width)))
    for _, number, label, (top, left, height, width) in sorted(found):
        yield Piece(names[label], top, left, numbers[top : top + height, left : left + width] == number)
