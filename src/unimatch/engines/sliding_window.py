"""Predicts in overlapping windows, block by block, so that memory does not grow with an image's height.

The windows are placed as in the published evaluation: every ``stride`` pixels from the top left corner; the last of
each row and column is moved back to end with the image. The published code sums their probabilities; here they are
averaged.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from unimatch.engines.base import Array, Engine


def sliding_blocks(
    engine: Engine[Array],
    images: Array | NDArray[np.uint8],
    predict: Callable[[Array | NDArray[np.uint8]], Array],
    *,
    window: int,
    stride: int,
) -> Iterator[tuple[int, int, Array]]:
    """Averages class probabilities over all windows that cover a pixel.

    Yields each block as soon as no later window can change it. The window of a smaller image is the whole image.

    Args:
        engine: whose arrays are used.
        images: (B, 3, H, W).
        predict: (B, 3, h, w) -> (B, C, h, w) probabilities, for h and w up to ``window``; they are overwritten.
        window: side of the windows, pixels.
        stride: pixels from one window to the next, 1 to ``window``.

    Yields:
        The block's first row and column, and its (B, C, rows, columns) probabilities. The blocks cover the image once.
        Between blocks, sums are held only for the rows that two rows of windows share: ``B * C * rows * W`` numbers,
        with ``window - stride`` rows, or more for the last row of windows, but always fewer than ``window``.
    """
    height, width = images.shape[-2:]
    tops: list[int] = window_starts(height, window, stride)
    lefts: list[int] = window_starts(width, window, stride)
    count_rows, count_columns = coverage(height, window, tops), coverage(width, window, lefts)
    ends = [min(top + window, height) for top in tops]
    overlap = max((end - following for end, following in zip(ends, tops[1:], strict=False)), default=0)
    below = engine.zeros(images.shape[0], engine.num_classes, overlap, width)  # sums for the next row of windows
    kept = 0  # how many rows of `below` hold sums
    for top, bottom, following in zip(tops, ends, [*tops[1:], height], strict=True):
        done = following - top  # rows that no later row of windows covers
        beside: Array | None = None  # sums for the next window of this row
        for left, next_left in zip(lefts, [*lefts[1:], width], strict=True):
            right = min(left + window, width)
            total = predict(images[..., top:bottom, left:right])
            if beside is not None:
                total[..., : beside.shape[-1]] += beside
            columns = next_left - left  # columns that no later window of this row covers
            beside, total = total[..., columns:], total[..., :columns]
            total[..., :kept, :] += below[..., :kept, left:next_left]
            below[..., : bottom - following, left:next_left] = total[..., done:, :]
            block = total[..., :done, :]
            block /= engine.array(np.outer(count_rows[top:following], count_columns[left:next_left]))
            yield top, left, block
        kept = bottom - following


def coverage(side: int, window: int, starts: list[int]) -> NDArray[np.float32]:
    """Returns how many windows cover each pixel along one side."""
    count = np.zeros(side, np.float32)
    for start in starts:
        count[start : start + window] += 1
    return count


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Returns where windows begin along one side: every ``stride`` pixels, the last moved back to end with the image.

    An image that is no longer than the window has one window: the whole image.

    >>> window_starts(2048, 798, 532), window_starts(500, 798, 532)
    ([0, 532, 1064, 1250], [0])
    """
    last = max(side - window, 0)
    return [*range(0, last, stride), last]
