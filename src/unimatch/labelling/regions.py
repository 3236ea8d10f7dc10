"""The connected regions of a mask, each a piece that a label tool can show and correct."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unimatch.images import MaskArray
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
        """Its outline and those of its holes, in the image (:func:`unimatch.labelling.outlines.outline`)."""
        return [ring + np.array([self.left, self.top]) for ring in outline(self.inside, tolerance)]

    def whole(self, width: int, height: int) -> NDArray[np.bool_]:
        """The region in an image of this size, (height, width)."""
        result = np.zeros((height, width), bool)
        rows, columns = self.inside.shape
        result[self.top : self.top + rows, self.left : self.left + columns] = self.inside
        return result


def pieces(mask: MaskArray, names: dict[int, str]) -> Iterator[Piece]:
    """The regions of a mask, connected by the sides of pixels, larger ones first.

    Args:
        mask: (H, W) ids.
        names: the classes to look for, by their ids.
    """
    found: list[tuple[int, int, Piece]] = []
    for number in np.unique(mask).tolist():
        if number in names:
            count, regions, facts, _ = cv2.connectedComponentsWithStats((mask == number).view(np.uint8), connectivity=4)
            for i in range(1, count):
                left, top, width, height, area = facts[i].tolist()
                inside = regions[top : top + height, left : left + width] == i
                found.append((-area, len(found), Piece(names[number], top, left, inside)))
    return (piece for _, _, piece in sorted(found))
