"""Finds faults of masks, of each one and of all together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.data.catalog import DatasetInfo
from unimatch.data.check.findings import Part
from unimatch.data.sources.mask_values import count_ids
from unimatch.data.sources.masks import UNKNOWN, IndexMasks, MaskReader
from unimatch.images.arrays import StoredMask
from unimatch.images.file_kinds import open_image
from unimatch.types import IGNORE_INDEX
from unimatch.wording import counted

LINES = 24
"""About how many rows, and columns, of a mask are searched for smooth edges."""

MIN_BETWEEN = 8
"""The least number of ids between their neighbours in a mask that counts as smoothly resized."""


def faults_of_mask(
    where: Path, mask: StoredMask, stored: dict[int, int], classes: dict[int, int], reader: MaskReader
) -> Iterator[tuple[str, str]]:
    """Yields the faults of one mask file, as kinds and texts.

    Args:
        where: the file.
        mask: its content.
        stored: the pixels of each id in it.
        classes: the pixels of each class that these ids are read as.
        reader: the reader of masks.
    """
    if isinstance(reader, IndexMasks):
        if UNKNOWN in classes:
            yield "ids out of range", f"{where}: {reader.out_of_range(stored, lossy=mask.lossy)}"
        if mask.palette and (misplaced := reader.misplaced(mask)):
            yield "palette order", f"{where}: {misplaced}"
        if reader.info.ids is None and len(stored) > 2 and not mask.lossy and (number := between(mask.values)):
            yield "ids between", f"{where}: {counted(number, 'pixel')} in some lines; resize masks to the nearest pixel"
        meanings = reader.info.ids or {}
        both = {1, IGNORE_INDEX} <= stored.keys() and meanings.get(1) == meanings.get(IGNORE_INDEX) is not None
        if both and not mask.lossy:
            yield (
                "1 and 255",
                f"{where}: {counted(stored[IGNORE_INDEX], 'pixel')} of 255 and {stored[1]} of 1 are one class; if 255 "
                "is no class, save another value there and set dataset.unknown_values=ignore",
            )
    if set(classes) == {IGNORE_INDEX}:
        yield "mask all ignored", f"{where}: every pixel is ignored"
    if mask.lossy:
        yield "lossy mask", f"{where}: compression changes values; save masks as PNG, from what they were drawn in"
    if mask.transparent is not None:
        number = int(mask.transparent.sum())
        yield (
            "transparent",
            f"{where}: {counted(number, 'pixel')}; for their colours to count, save it without transparency",
        )
    if reader.info.unknown_values != "error" and (number := reader.unknown(mask)):
        outcome = "of no class" if reader.info.unknown_values == "ignore" else "taken for the nearest class"
        yield "unknown values", f"{where}: {counted(number, 'pixel')} of unknown ids or colours {outcome}"


def between(ids: NDArray[np.integer]) -> int:
    """Counts single pixels in some lines whose id lies between those of their neighbours; 0 if few edges are like that.

    Ids are mere names, so that 1 is as likely as 2 to lie next to 3. Only in masks that were resized smoothly do edges
    from 1 to 3 pass through 2.

    >>> between(np.repeat([[0, 0, 2, 2, 4, 4]], 9, axis=0)), between(np.repeat([[0, 0, 1, 2, 3, 4]], 9, axis=0))
    (0, 27)
    """
    # Some rows and columns tell as much as all.
    samples = [np.ascontiguousarray(lines[:: max(1, len(lines) // LINES)]) for lines in (ids, ids.T)]
    passing = 0
    for lines in samples:
        up, down = lines[:, :-1] < lines[:, 1:], lines[:, :-1] > lines[:, 1:]
        passing += int(np.count_nonzero((up[:, :-1] & up[:, 1:]) | (down[:, :-1] & down[:, 1:])))
    if passing < MIN_BETWEEN:
        return 0
    jumps = 0
    for lines in samples:
        left, middle = lines[:, :-2], lines[:, 1:-1]
        jumps += int(np.count_nonzero(np.maximum(left, middle) - np.minimum(left, middle) > 1))
    return passing if passing > jumps else 0


def classes_not_shown(part: Part, info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Yields the classes that no mask of a part shows."""
    absent = [name for name, number in zip(info.classes, part.showing.tolist(), strict=False) if not number]
    if part.masks and len(absent) == info.num_classes:
        yield "all ignored", f"none of the {part.masks} masks shows a class"
    elif part.masks and len(absent) == info.num_classes - 1 and part.name == "labelled":
        only = next(name for name in info.classes if name not in absent)
        yield (
            "one class",
            f"{only} alone, in {part.masks} of them; are the masks right, and the settings that read them?",
        )
    elif part.masks:
        kind = "class never labelled" if part.name == "labelled" else "class not validated"
        yield from ((kind, name) for name in absent)


def black_and_white(
    masks: Sequence[tuple[str, frozenset[int]]], everything: Sequence[frozenset[int]], info: DatasetInfo
) -> Iterator[tuple[str, str]]:
    """Yields masks of two classes that store the second one as 255, which is ignored.

    If some mask holds both 1 and 255, 255 really means ignored.

    Args:
        masks: the file of each mask, and the ids in it.
        everything: the ids in each mask of the data set.
        info: the data set.
    """
    plain = info.ids is None and not info.reduce_zero_label and not info.ignore_ids - {IGNORE_INDEX}
    if info.num_classes != 2 or not plain or any({1, IGNORE_INDEX} <= ids for ids in everything):
        return
    ones = "1: 1, " if any(1 in ids for ids in everything) else ""
    for name, ids in masks:
        if ids == {0, IGNORE_INDEX}:
            yield (
                "only 0 and 255",
                f"{name}: 255 is ignored; save {info.classes[1]} as 1, or set 'dataset.ids={{0: 0, {ones}255: 1}}'",
            )


def sorted_palettes(colors: Mapping[tuple[int, bytes], str]) -> Iterator[tuple[str, str]]:
    """Finds palettes that were sorted file by file, so that the ids mean nothing.

    That is so if several colours, or one at an id with another colour elsewhere, have different ids in different masks.

    Args:
        colors: for each id and its colour in some mask, the file of that mask.
    """
    ids_of = defaultdict[bytes, set[int]](set)
    colors_at = defaultdict[int, set[bytes]](set)
    for number, color in colors:
        ids_of[color].add(number)
        colors_at[number].add(color)
    moved = [color for color, numbers in ids_of.items() if color and len(numbers) > 1]
    if len(moved) > 1 or any(len(colors_at[number]) > 1 for color in moved for number in ids_of[color]):
        one, other, *_ = ((i, file) for (i, color), file in colors.items() if color == moved[0])
        yield (
            "palette order",
            f"the colour {tuple(moved[0])} is id {one[0]} in {one[1]} and id {other[0]} in {other[1]}: these ids are "
            "only positions in each file's own palette; read the colours: dataset.colors",
        )


def encoding_faults(stored: set[int], info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Tells by the ids in all masks together whether masks are stored in another way than the settings say."""
    last = info.num_classes
    named = stored - info.ignore_ids - {IGNORE_INDEX}
    if info.ids is not None or not named or max(named) > last:
        return  # the user maps the ids, or they have other faults
    if info.reduce_zero_label:
        if 0 in named and last not in named and IGNORE_INDEX in stored:
            yield (
                "reduced twice?",
                f"the masks hold 255, 0 and never {last}: if their classes are 0-{last - 1} already, "
                "dataset.reduce_zero_label must be false",
            )
    elif stored == {0, IGNORE_INDEX}:
        if info.num_classes > 2:  # of two classes, it is a fault of each mask
            yield "only 0 and 255", f"no mask holds any other id, and there are {info.num_classes} classes"
    elif last in named and 0 not in named:
        yield (
            "shifted by one",
            f"the masks hold ids up to {last} and never 0, but the classes are 0-{last - 1}: subtract 1, or set "
            "dataset.reduce_zero_label=true",
        )
    elif last in named:
        yield (
            "id 0 is void",
            f"the masks hold ids 0-{last}, but the classes are 0-{last - 1}: where 0 is void and classes start at 1, "
            "set dataset.reduce_zero_label=true, or prepare the masks (python -m unimatch.prepare)",
        )
    elif 0 not in named and 0 not in info.ignore_ids:
        yield "numbered from 1?", f"no mask shows id 0 ({info.classes[0]}): do the classes start at 1?"


def faults_together(parts: Sequence[Part], info: DatasetInfo) -> Iterator[tuple[str, str, str]]:
    """Yields the faults of the labelled and validation masks together, as (part, kind, text)."""
    everything = [ids for part in parts for _, ids in part.ids]
    for part in parts:
        for kind, text in classes_not_shown(part, info):
            yield part.name, kind, text
        if len(part.ids) > 1 and all(len(ids) == 1 for _, ids in part.ids) and len({ids for _, ids in part.ids}) > 1:
            yield part.name, "one value", f"{len(part.ids)} masks"
        for kind, text in black_and_white(part.ids, everything, info):
            yield part.name, kind, text
    for kind, text in sorted_palettes({key: file for part in parts for key, file in part.palette.items()}):
        yield "all masks", kind, text
    for kind, text in encoding_faults({i for ids in everything for i in ids}, info):
        yield "all masks", kind, text


def kind_of_error(path: Path | None, what: str) -> str:
    """Returns the kind of the fault that makes a mask unusable; ``what`` is ``mask`` or ``colour mask``."""
    if path is None:
        return "unreadable"
    try:
        with open_image(path) as mask:
            mask.load()
            if what == "colour mask":
                return "ids out of range"
            return "colours" if len(mask.getbands()) > 1 else "unreadable"
    except Exception:  # a damaged file can raise nearly anything in Pillow's decoders
        return "unreadable"


def counts_of(mask: NDArray[np.integer]) -> dict[int, int] | None:
    """Returns the pixels of each value, by value; None if there are too many values (:func:`count_ids`).

    >>> counts_of(np.array([[7, 7, 0], [0, 7, 255]], np.uint8))
    {0: 2, 7: 3, 255: 1}
    """
    if mask.dtype == np.uint8:
        # Pillow counts bytes twice as fast as NumPy, and even faster in four separate bands.
        pixels = mask.reshape(-1)
        whole = pixels.size // 4 * 4
        bands = Image.fromarray(pixels[:whole].reshape(1, -1, 4)).histogram() if whole else [0] * 1024
        rest = np.bincount(pixels[whole:], minlength=256).tolist()
        numbers = map(sum, zip(*(bands[i : i + 256] for i in range(0, 1024, 256)), rest, strict=True))
        return {value: number for value, number in enumerate(numbers) if number}
    return count_ids(mask)
