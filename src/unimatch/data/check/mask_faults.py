"""Finds what is wrong with masks, one by one and together."""

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

LINES = 24
"""Rows and columns of a mask that are looked at for smooth edges."""

MIN_BETWEEN = 8
"""Pixels that must lie between others before a mask is held to be resized smoothly."""


def faults_of_mask(
    where: Path, mask: StoredMask, stored: dict[int, int], classes: dict[int, int], reader: MaskReader
) -> Iterator[tuple[str, str]]:
    """Finds what is wrong with one mask file.

    Args:
        where: the file.
        mask: what it holds.
        stored: the pixels of each id in it.
        classes: the pixels of each class that these are read as.
        reader: what reads it.
    """
    if isinstance(reader, IndexMasks):
        if UNKNOWN in classes:
            yield "ids out of range", f"{where}: {reader.out_of_range(stored, lossy=mask.lossy)}"
        if mask.palette and (misplaced := reader.misplaced(mask)):
            yield "palette order", f"{where}: {misplaced}"
        if reader.info.ids is None and len(stored) > 2 and not mask.lossy and (number := between(mask.values)):
            yield "ids between", f"{where}: {number} pixels in some lines; resize masks to the nearest pixel"
    if set(classes) == {IGNORE_INDEX}:
        yield "mask all ignored", f"{where}: every pixel is ignored"
    if mask.lossy:
        yield "lossy mask", f"{where}: compression changes values; save masks as PNG, from what they were drawn in"
    if mask.transparent is not None:
        number = int(mask.transparent.sum())
        yield (
            "transparent",
            f"{where}: {number} pixels; for their colours to count, save it without transparency",
        )
    if reader.info.unknown_values != "error" and (number := reader.unknown(mask)):
        outcome = "are no class" if reader.info.unknown_values == "ignore" else "are of the nearest class"
        yield "unknown values", f"{where}: {number} pixels of unknown ids or colours {outcome}"


def between(ids: NDArray[np.integer]) -> int:
    """Counts single pixels whose id lies between those beside them in some lines, if most edges look so; else 0.

    Ids are names: next to a 3, a 1 is as likely as a 2. Only where masks were resized smoothly do edges from 1 to 3
    pass through 2.

    >>> between(np.repeat([[0, 0, 2, 2, 4, 4]], 9, axis=0)), between(np.repeat([[0, 0, 1, 2, 3, 4]], 9, axis=0))
    (0, 27)
    """
    # Some rows and columns tell as much as all.
    lines = [np.ascontiguousarray(all_lines[:: max(1, len(all_lines) // LINES)]) for all_lines in (ids, ids.T)]
    passing = 0
    for line in lines:
        up, down = line[:, :-1] < line[:, 1:], line[:, :-1] > line[:, 1:]
        passing += int(np.count_nonzero((up[:, :-1] & up[:, 1:]) | (down[:, :-1] & down[:, 1:])))
    if passing < MIN_BETWEEN:
        return 0
    jumps = 0
    for line in lines:
        left, middle = line[:, :-2], line[:, 1:-1]
        jumps += int(np.count_nonzero(np.maximum(left, middle) - np.minimum(left, middle) > 1))
    return passing if passing > jumps else 0


def classes_not_shown(part: Part, info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Finds classes that no mask of a part shows."""
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
    """Finds masks of two classes that store the second one as 255, which is ignored.

    Where some mask holds 1 and 255, 255 means what it should.

    Args:
        masks: the name of each mask and the ids in it.
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
    """Finds palettes that were sorted file by file: several colours stand at one id here and at another id there.

    Or one does, at an id that has another colour elsewhere.

    Args:
        colors: each id with its colour, as they stand together in some mask, and the file of that mask.
    """
    ids: dict[bytes, set[int]] = {}
    at: dict[int, set[bytes]] = {}
    for number, color in colors:
        ids.setdefault(color, set()).add(number)
        at.setdefault(number, set()).add(color)
    moved = [color for color, numbers in ids.items() if color and len(numbers) > 1]
    if len(moved) > 1 or any(len(at[number]) > 1 for color in moved for number in ids[color]):
        one, other, *_ = ((i, file) for (i, color), file in colors.items() if color == moved[0])
        yield (
            "palette order",
            f"the colour {tuple(moved[0])} is id {one[0]} in {one[1]} and id {other[0]} in {other[1]}: these ids are "
            "only places in each file's own palette; read the colours: dataset.colors",
        )


def encoding_faults(stored: set[int], info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Judges by the ids in all masks together whether they are stored in another way than the settings say."""
    last = info.num_classes
    named = stored - info.ignore_ids - {IGNORE_INDEX}
    if info.ids is not None or not named or max(named) > last:
        return  # the ids are the user's own affair, or of another kind altogether
    if info.reduce_zero_label:
        if 0 in named and last not in named and IGNORE_INDEX in stored:
            yield (
                "reduced twice?",
                f"the masks hold 255, 0 and never {last}: if their classes are 0-{last - 1} already, "
                "dataset.reduce_zero_label must be false",
            )
    elif stored == {0, IGNORE_INDEX}:
        if info.num_classes > 2:  # else it is said of each mask
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
    """Finds what the masks of the labelled and the validation images have wrong together: (part, kind, text)."""
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
    """Returns the kind of fault that made a ``mask`` or ``colour mask`` (``what``) unusable."""
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
    """Counts the pixels of each value; None where there are too many, as :func:`count_ids` does.

    >>> counts_of(np.array([[7, 7, 0], [0, 7, 255]], np.uint8))
    {0: 2, 7: 3, 255: 1}
    """
    if mask.dtype == np.uint8:
        # Pillow counts bytes in half the time of NumPy, and faster still as four bands, each by itself.
        pixels = mask.reshape(-1)
        whole = pixels.size // 4 * 4
        bands = Image.fromarray(pixels[:whole].reshape(1, -1, 4)).histogram() if whole else [0] * 1024
        rest = np.bincount(pixels[whole:], minlength=256).tolist()
        numbers = map(sum, zip(*(bands[i : i + 256] for i in range(0, 1024, 256)), rest, strict=True))
        return {value: number for value, number in enumerate(numbers) if number}
    return count_ids(mask)
