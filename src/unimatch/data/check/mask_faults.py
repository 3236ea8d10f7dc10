"""Finds what is wrong with masks, one by one and together."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.data.catalog import DatasetInfo
from unimatch.data.check.findings import Part
from unimatch.data.sources.masks import UNKNOWN, IndexMasks
from unimatch.images import open_image
from unimatch.types import IGNORE_INDEX

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp"})


def class_of(stored: int, ids: IndexMasks | None) -> int:
    """Returns the class id that a stored one is read as, 255 for an ignored one, -1 for none."""
    if ids is None:
        return stored
    return int(ids.table[stored]) if 0 <= stored < len(ids.table) else UNKNOWN


def faults_of_mask(
    where: Path,
    size: tuple[int, ...],
    image_size: tuple[int, int] | None,
    stored: dict[int, int],
    ids: IndexMasks | None,
) -> Iterator[tuple[str, str]]:
    """Finds what is wrong with one mask file; ``stored`` are the pixels of each id, sizes are (height, width)."""
    if image_size is not None and size != image_size:
        sizes = [f"{width} x {height}" for height, width in (size, image_size)]
        yield "size mismatch", f"{where}: the mask is {sizes[0]} pixels and its image {sizes[1]}"
    wrong = [i for i in stored if class_of(i, ids) == UNKNOWN]
    if wrong and ids is not None:
        listed = ", ".join(f"id {i} ({stored[i]} pixels)" for i in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        known = ids.meanings() if ids.info.ids is not None else f"{ids.first}-{ids.first + ids.count - 1}"
        yield "ids out of range", f"{where}: {listed}; the classes are {known}"
    if all(class_of(i, ids) == IGNORE_INDEX for i in stored):
        yield "mask all ignored", f"{where}: every pixel is ignored"
    if where.suffix.lower() in LOSSY_SUFFIXES:
        yield "lossy mask", f"{where}: compression changes ids; save masks as PNG"


def classes_not_shown(part: Part, info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Finds classes that no mask of a part shows."""
    absent = [name for name, number in zip(info.classes, part.showing.tolist(), strict=False) if not number]
    if part.masks and len(absent) == info.num_classes:
        yield "all ignored", f"none of the {part.masks} masks shows a class"
    elif part.masks:
        kind = "class never labelled" if part.name == "labelled" else "class not validated"
        yield from ((kind, name) for name in absent)


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
        yield "only 0 and 255", "no mask holds any other id: save the class as 1, or set dataset.ids={0: 0, 255: 1}"
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


def kind_of_error(path: Path | None, what: str) -> str:
    """Returns the kind of fault that made a ``mask`` or ``colour mask`` (``what``) unusable."""
    if path is None:
        return "unreadable"
    if not path.is_file():
        return "missing"
    try:
        with open_image(path) as mask:
            mask.load()
            if what == "colour mask":
                return "ids out of range"
            return "colours" if len(mask.getbands()) > 1 else "unreadable"
    except Exception:  # a damaged file can raise nearly anything in Pillow's decoders
        return "unreadable"


def counts_of(mask: NDArray[np.integer]) -> dict[int, int]:
    """Counts the pixels of each value.

    >>> counts_of(np.array([[7, 7, 0], [0, 7, 255]], np.uint8))
    {0: 2, 7: 3, 255: 1}
    """
    if mask.dtype == np.uint8:  # Pillow counts bytes in half the time of NumPy
        return {value: number for value, number in enumerate(Image.fromarray(mask).histogram()) if number}
    values, counts = np.unique(mask, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
