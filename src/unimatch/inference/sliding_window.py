"""Prediction in overlapping windows, band by band, so that memory does not grow with an image's height.

The windows lie as in the published evaluation: every ``stride`` pixels from the top left corner, the last of each row
and column moved back to end with the image; what they say of a pixel is summed (here: averaged).
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from unimatch.grid import window_starts
from unimatch.inference.engine import Array, Engine


def sliding_bands(
    engine: Engine, images: Array, predict: Callable[[Array], Array], *, window: int, stride: int
) -> Iterator[tuple[int, Array]]:
    """Mean class probabilities over the windows that hold a pixel, in bands from top to bottom.

    Windows of images that are smaller than the window are as small as the image.

    Args:
        engine: makes the arrays.
        images: (B, 3, H, W).
        predict: (B, 3, h, w) -> (B, C, h, w) probabilities, for h and w up to ``window``.
        window: side of the windows, pixels.
        stride: pixels from one window to the next, 1 to ``window``.

    Yields:
        The band's first row, and its (B, C, rows, W) probabilities. They are overwritten when the next band is asked
        for: ``B * C * window * W`` numbers are held in all.
    """
    height, width = images.shape[-2:]
    tops, lefts = window_starts(height, window, stride), window_starts(width, window, stride)
    count_rows, count_columns = coverage(height, window, tops), coverage(width, window, lefts)
    total = engine.zeros(images.shape[0], engine.num_classes, min(window, height), width)
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        bottom = min(top + window, height)
        for left in lefts:
            right = min(left + window, width)
            total[..., : bottom - top, left:right] += predict(images[..., top:bottom, left:right])
        done = following - top  # rows that no further window holds
        band = total[..., :done, :]
        band /= engine.array(np.outer(count_rows[top:following], count_columns))
        yield top, band
        kept = bottom - following
        for row in range(0, kept, done):  # moved up in steps that do not overlap what they are copied from
            end = min(row + done, kept)
            total[..., row:end, :] = total[..., row + done : end + done, :]
        total[..., kept:, :] = 0


def coverage(side: int, window: int, starts: list[int]) -> NDArray[np.float32]:
    """How many windows hold each pixel along one side."""
    count = np.zeros(side, np.float32)
    for start in starts:
        count[start : start + window] += 1
    return count
