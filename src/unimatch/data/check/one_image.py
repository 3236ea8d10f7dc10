"""Reads one image with its label, and finds faults of both."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unimatch.data.check.duplicates import fingerprint
from unimatch.data.check.findings import Label
from unimatch.data.check.geolocation import apart
from unimatch.data.check.mask_faults import counts_of, faults_of_mask, kind_of_error
from unimatch.data.check.near_copies import Thumbnail, thumbnail
from unimatch.data.check.orientation import size_mismatch, turned_alone
from unimatch.data.check.pair_faults import date_faults, differ_in_size
from unimatch.data.sources.base import FileSource, Source
from unimatch.data.sources.mask_values import TOO_MANY
from unimatch.data.sources.masks import IndexMasks, MaskReader
from unimatch.data.sources.predicted_masks import reader_of
from unimatch.errors import DataError
from unimatch.images.folders import spelled
from unimatch.types import IGNORE_INDEX


class Reading(NamedTuple):
    """What a check keeps of one image and its label."""

    image_faults: tuple[tuple[str, str], ...]
    """The kind of each fault, and a text that names the file and what is wrong."""
    label: Label
    shape: tuple[int, int] | None
    """Height and width of the image; None if it cannot be read."""
    fingerprint: bytes | None
    thumbnail: Thumbnail | None


def read(context: tuple[Source, MaskReader | None], index: int) -> Reading:
    """Reads one image and its label; errors become part of the result.

    Args:
        context: the source, and the reader of masks, or None if images have one class each.
        index: of the image.
    """
    source, _ = context
    image_faults, image = list[tuple[str, str]](), None
    try:
        image = source.image(index)
        image_faults += date_faults(source.name(index), image)
    except DataError as error:
        image_faults.append((kind_of_image_error(source, index), str(error)))
    shape = None if image is None else (image.shape[-3], image.shape[-2])
    label = read_label(context, index, shape)
    marks = (None, None) if image is None else (fingerprint(image), thumbnail(image))
    return Reading(tuple(image_faults), label, shape, *marks)


def read_label(
    context: tuple[Source, MaskReader | None], index: int, image_size: tuple[int, int] | None = None
) -> Label:
    """Reads only the label of an image; ``image_size`` is the image's height and width, if they are known."""
    source, reader = context
    if reader is None or not isinstance(source, FileSource):
        return label_of_source(source, index, image_size)
    path, faults = None, list[tuple[str, str]]()
    try:
        path = source.mask_path(index)
        if path is None:
            return Label()
        reader = reader_of(reader, path)
        mask = reader.read(path)
        pixels = mask.values if isinstance(reader, IndexMasks) else reader.classes(path, mask)
    except DataError as error:
        name = source.pairs.mask(index)
        where = None if name is None else Path(name)
        if where is not None and not where.is_file():
            return Label((("no mask", f"{source.name(index)}: no mask {where}{spelled(name or '')}"),))
        kind = kind_of_error(where, "mask" if isinstance(reader, IndexMasks) else "colour mask")
        return Label(((kind, str(error)),))
    faults += apart([*source.image_paths(index), path])
    size = (pixels.shape[0], pixels.shape[1])
    if image_size is not None and size != image_size:
        faults.append(("size mismatch", size_mismatch(str(path), size, image_size, source.image_paths(index))))
    elif source.info.exif == "turn":
        faults += turned_alone(source.image_paths(index), mask.orientation, size)
    clear = 0
    if isinstance(reader, IndexMasks) and mask.transparent is not None:
        pixels, clear = pixels[~mask.transparent][None], int(mask.transparent.sum())
    if (stored := counts_of(pixels)) is None:
        return Label((*faults, ("ids out of range", f"{path}: {TOO_MANY}")))
    classes = Counter(stored)
    if isinstance(reader, IndexMasks):
        meanings = reader.meaning(np.array([*stored], mask.values.dtype)).tolist()
        classes = Counter[int]()
        for meaning, number in zip([*meanings, IGNORE_INDEX], [*stored.values(), clear], strict=True):
            classes[meaning] += number
    faults += faults_of_mask(path, mask, stored, +classes, reader)
    drawn = str(path) if isinstance(reader, IndexMasks) and not mask.lossy else None
    colors = {i: mask.palette[3 * i : 3 * i + 3] for i in stored} if mask.palette else {}
    palette = {i: color for i, color in colors.items() if [*colors.values()].count(color) == 1}
    return Label(tuple(faults), stored, +classes, palette, drawn)


def label_of_source(source: Source, index: int, image_size: tuple[int, int] | None) -> Label:
    """Reads a label that is not stored in a mask file."""
    try:
        mask = source.mask(index)
    except DataError as error:
        return Label((("unreadable", str(error)),))
    if mask is None:
        return Label()
    if mask.ndim == 0:
        return Label((), {int(mask): 1}, {int(mask): 1})
    counts, size = counts_of(mask), (mask.shape[0], mask.shape[1])
    if counts is None:
        return Label((("ids out of range", f"{source.name(index)}: {TOO_MANY}"),))
    if image_size is None or size == image_size:
        return Label((), counts, counts)
    return Label((("size mismatch", size_mismatch(source.name(index), size, image_size, ())),), counts, counts)


def kind_of_image_error(source: Source, index: int) -> str:
    """Returns the kind of the fault that makes an image or a pair unusable."""
    if not isinstance(source, FileSource):
        return "unreadable"
    paths = source.image_paths(index)
    if not all(path.is_file() for path in paths):
        return "missing"
    return "dates differ in size" if differ_in_size(paths, source.info.bands, source.info.exif) else "unreadable"
