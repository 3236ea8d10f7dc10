"""Reads one image with its label, and finds what is wrong with the two."""

from pathlib import Path
from typing import Any, NamedTuple

from unimatch.data.check.contents import fingerprint
from unimatch.data.check.mask_faults import counts_of, faults_of_mask, kind_of_error
from unimatch.data.check.pair_faults import date_faults, differ_in_size
from unimatch.data.sources.base import FileSource, Source
from unimatch.data.sources.masks import IndexMasks
from unimatch.errors import DataError
from unimatch.images import read_mask


class Reading(NamedTuple):
    """What is kept of one image and its label."""

    image_faults: tuple[tuple[str, str], ...]
    """Kind, and the file with what is wrong."""
    mask_faults: tuple[tuple[str, str], ...]
    shape: tuple[int, int] | None
    """Height and width of the image."""
    fingerprint: bytes | None
    stored: dict[int, int] | None
    """Pixels of each id that the mask's file holds, or the one class with 1; None where there is neither."""


def read(context: tuple[Source, IndexMasks | None], index: int) -> Reading:
    """Reads one image and its label; what is wrong with them is part of the result.

    Args:
        context: where they come from, and how masks store classes, None where there are none or they are in colours.
        index: which.
    """
    source, ids = context
    image_faults, faults = list[tuple[str, str]](), list[tuple[str, str]]()
    image, stored = None, None
    try:
        image = source.image(index)
        image_faults += date_faults(source.name(index), image)
    except DataError as error:
        image_faults.append((kind_of_image_error(source, index), str(error)))
    shape = None if image is None else (image.shape[-3], image.shape[-2])
    name = source.pairs.mask(index) if isinstance(source, FileSource) else None
    where = None if name is None else Path(name)
    try:
        mask = label_of(source, index, ids)
    except DataError as error:
        faults.append((kind_of_error(where, "mask" if ids is not None else "colour mask"), str(error)))
    else:
        if mask is not None and mask.ndim == 0:
            stored = {int(mask): 1}
        elif mask is not None:
            stored = counts_of(mask)
            faults += faults_of_mask(where or Path(source.name(index)), mask.shape, shape, stored, ids)
    print_of_image = None if image is None else fingerprint(image)
    return Reading(tuple(image_faults), tuple(faults), shape, print_of_image, stored)


def label_of(source: Source, index: int, ids: IndexMasks | None) -> Any:
    """Reads the mask as its file stores it, or as classes where that is in colours; or the class of the image."""
    if ids is None or not isinstance(source, FileSource):
        return source.mask(index)
    path = source.mask_path(index)
    return None if path is None else read_mask(path)


def kind_of_image_error(source: Source, index: int) -> str:
    """Returns the kind of fault that made an image, or a pair of them, unusable."""
    if not isinstance(source, FileSource):
        return "unreadable"
    paths = source.image_paths(index)
    if not all(path.is_file() for path in paths):
        return "missing"
    return "dates differ in size" if differ_in_size(paths, source.info.bands) else "unreadable"
