"""Holds out some labelled images, on which pseudo labels are measured while the others are trained on."""

from dataclasses import replace
from typing import Literal

from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.subset import subset_of
from unimatch.data.splits.lists import choose_labeled
from unimatch.errors import ConfigError

HeldOut = int | Literal["auto"] | None
"""How many labelled images are held out: a number, ``auto`` for :func:`automatic_count`, or None for none."""


def automatic_count(labeled: int) -> int:
    """Returns how many labelled images ``auto`` holds out: 8, or 5% if that is more, but at most a quarter.

    >>> [automatic_count(labeled) for labeled in (3, 4, 12, 32, 160, 1000)]
    [0, 1, 3, 8, 8, 50]
    """
    return min(labeled // 4, max(8, round(0.05 * labeled)))


def hold_out_labels(data: SegmentationData, held_out: HeldOut, seed: int) -> SegmentationData:
    """Moves some labelled images to ``held_out``; which ones depends only on their number and the seed.

    They are not added to the unlabelled images.

    Raises:
        ConfigError: ``data`` is no data set, ``held_out`` is invalid, or there are too few labelled images.
    """
    if not isinstance(data, SegmentationData):
        raise ConfigError(
            f"data: must be a data set, such as unimatch.data.digits() or SegmentationData.from_datasets(...), and is "
            f"a {type(data).__name__}"
        )
    if held_out is None:
        return data
    total = len(data.labeled)
    if isinstance(held_out, str) and held_out == "auto":
        count = automatic_count(total)
        if count == 0:
            raise ConfigError(
                f"held_out=auto: at most a quarter of the labelled images is held out, and there are {total}; label "
                "at least 4, or leave held_out=null"
            )
    else:
        if type(held_out) is not int:
            raise ConfigError(f"held_out={held_out}: must be a number of labelled images, auto, or null")
        count = held_out
        if not 1 <= count < total:
            raise ConfigError(
                f"held_out={count}: of {total} labelled images at least one must be held out and one be left to train "
                "on; auto holds out up to a quarter"
            )
    chosen, others = choose_labeled(total, count, seed)
    return replace(data, labeled=subset_of(data.labeled, others), held_out=subset_of(data.labeled, chosen))
