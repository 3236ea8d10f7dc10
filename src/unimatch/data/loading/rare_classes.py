"""Counts the classes of labelled images, and draws labelled images by their rare classes.

Source: DAFormer (Hoyer et al., arXiv 2111.14887), section 3.3, rare class sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unimatch.data.parallel import sample_map
from unimatch.data.sources.base import Source
from unimatch.errors import DataError


@dataclass(frozen=True)
class ClassCounts:
    """How often labelled images show each class, without ignored pixels."""

    pixels: NDArray[np.int64]
    """(C,) pixels of each class; its images, if an image has one class."""
    images: Sequence[NDArray[np.int64]]
    """For each class, the ascending indices of the images that show it."""


def count_classes(source: Source, num_classes: int) -> ClassCounts:
    """Reads the labels of all images and counts their classes."""

    def read(index: int) -> NDArray[np.int64]:
        mask = source.mask(index)
        if mask is None:
            raise DataError(f"{source.name(index)}: has no mask, but is in the labelled list")
        ids = np.asarray(mask, np.int64).ravel()
        return np.bincount(ids[(ids >= 0) & (ids < num_classes)], minlength=num_classes)

    pixels, images = np.zeros(num_classes, np.int64), [list[int]() for _ in range(num_classes)]
    with sample_map(source) as run:
        for index, counts in enumerate(run(read, range(len(source)))):
            pixels += counts
            for class_id in np.flatnonzero(counts):
                images[class_id].append(index)
    return ClassCounts(pixels, [np.array(indices, np.int64) for indices in images])


class RareClasses:
    """Draws a class, rare ones more often, and a labelled image that shows it.

    ``P(c) = exp((1 - f_c) / T) / sum_k exp((1 - f_k) / T)``, with ``f_c`` the class's share of the labelled pixels,
    over the classes that labelled images show. All images that show the class are equally likely.

    Args:
        counts: of the labelled images.
        temperature: ``T``; the smaller, the more often rare classes are drawn. DAFormer uses 0.01.
        crops: the most crops of the image that are drawn until one shows the class; else the last one is taken.

    Raises:
        DataError: the labelled images show no class.
    """

    def __init__(self, counts: ClassCounts, temperature: float, crops: int) -> None:
        if not counts.pixels.any():
            raise DataError("the labelled images show no class: all their pixels are ignored")
        self.images, self.crops = counts.images, crops
        shown = np.flatnonzero(counts.pixels)
        frequency = counts.pixels[shown] / counts.pixels.sum()
        self.probability = np.zeros(len(counts.pixels))
        # The largest exponent is subtracted, so that none overflows.
        self.probability[shown] = np.exp((frequency.min() - frequency) / temperature)
        self.probability /= self.probability.sum()

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Returns a class and the index of an image that shows it."""
        class_id = int(rng.choice(len(self.probability), p=self.probability))
        return class_id, int(rng.choice(self.images[class_id]))
