"""Combines the predictions of several models: the mean of their probabilities, and how many models agree with it.

``B`` images, ``C`` classes; each model's probabilities of a block of the image are (B, C, rows, columns).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unimatch.engines.base import Engine
from unimatch.engines.test_time import Inference
from unimatch.images.arrays import MaskArray


def blocks_of_each(
    engines: Sequence[Engine[Any]], inference: Inference, images: NDArray[np.uint8]
) -> Iterator[tuple[int, int, list[Any]]]:
    """Yields the blocks of :meth:`Inference.blocks`: the first row and column, and the probabilities of each model."""
    for found in zip(*(inference.blocks(engine, images) for engine in engines), strict=True):
        yield found[0][0], found[0][1], [block for _, _, block in found]


def mean_of(engines: Sequence[Engine[Any]], blocks: Sequence[Any]) -> Any:
    """Returns the mean of the models' probabilities, as an array of the first engine's kind."""
    first, *others = engines
    total = blocks[0]
    for engine, block in zip(others, blocks[1:], strict=True):
        total = total + (block if type(engine) is type(first) else first.array(engine.numpy(block)))
    return total / len(engines) if others else total


def count_votes(engines: Sequence[Engine[Any]], blocks: Sequence[Any], labels: MaskArray) -> MaskArray:
    """Counts for each pixel (B, rows, columns) the models whose most probable class is the one in ``labels``."""
    votes = np.zeros(labels.shape, np.uint8)
    for engine, block in zip(engines, blocks, strict=True):
        votes += engine.labels(block) == labels
    return votes
