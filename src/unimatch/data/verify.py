"""The cheap check of a data set before the long work starts: everything that would fail or mislead later."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from unimatch.data.sources import FileSource, SegmentationData, Source
from unimatch.errors import DataError
from unimatch.types import IGNORE_INDEX

SAMPLE_LIMIT = 1000
"""Images read per part; larger parts are sampled evenly, and the full check is left to the user."""


def verify(data: SegmentationData, *, needs_unlabeled: bool) -> None:
    """Read labelled, validation and unlabelled images (at most :data:`SAMPLE_LIMIT` of each) and refuse bad ones.

    Args:
        data: the data set.
        needs_unlabeled: whether the method trains on unlabelled images.

    Raises:
        DataError: naming the file, what is wrong with it and what to do; all faults of a part are counted.
    """
    if needs_unlabeled and len(data.unlabeled) == 0:
        raise DataError(
            "the unlabelled pool is empty: every training image is labelled. Set dataset.labeled=N, add images "
            "without masks (dataset=folder: in unlabeled/), or set dataset.unlabeled=train to use the training "
            "images themselves as unlabelled ones"
        )
    for part, source in (("labelled", data.labeled), ("validation", data.val)):
        if len(source) == 0:
            raise DataError(f"there are no {part} images")
        refuse(
            part,
            chain.from_iterable(faults_of_pair(source, i, data.info.num_classes) for i in spread(source)),
        )
    if needs_unlabeled:
        refuse(
            "unlabelled",
            chain.from_iterable(faults_of_image(data.unlabeled, i) for i in spread(data.unlabeled)),
        )


def spread(source: Source) -> list[int]:
    """At most :data:`SAMPLE_LIMIT` indices, evenly spread; none for data made in memory."""
    if not isinstance(source, FileSource):
        return []
    count = min(len(source), SAMPLE_LIMIT)
    return [i * len(source) // count for i in range(count)]


def refuse(part: str, faults_found: Iterator[str]) -> None:
    """Raise the first faults, if any, with the number of the others."""
    found = list(faults_found)
    if found:
        more = f"\n(and {len(found) - 5} more like these)" if len(found) > 5 else ""
        faults = "1 fault" if len(found) == 1 else f"{len(found)} faults"
        raise DataError(f"{faults} in the {part} images:\n" + "\n".join(found[:5]) + more)


def faults_of_image(source: Source, index: int) -> Iterator[str]:
    """What is wrong with one image."""
    try:
        source.image(index)
    except DataError as error:
        yield str(error)


def faults_of_pair(source: Source, index: int, num_classes: int) -> Iterator[str]:
    """What is wrong with one image and its mask."""
    try:
        image, mask = source.image(index), source.mask(index)
    except DataError as error:
        yield str(error)
        return
    name = source.name(index)
    if mask is None:
        yield f"{name}: has no mask"
        return
    if isinstance(source, FileSource):
        name = str(source.pairs[index].mask)
    if mask.shape != image.shape[:2]:
        height, width = image.shape[:2]
        yield (
            f"{name}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels and its image {width} x {height}; "
            "they must be equal"
        )
    counts = np.bincount(mask.ravel(), minlength=256)
    wrong = [i for i in range(num_classes, 256) if counts[i] and i != IGNORE_INDEX]
    if wrong:
        listed = ", ".join(f"id {i} ({counts[i]} pixels)" for i in wrong[:5])
        yield (
            f"{name}: {listed} outside the {num_classes} classes 0-{num_classes - 1}; correct the mask, name more "
            f"classes, or mark such pixels {IGNORE_INDEX}"
        )
