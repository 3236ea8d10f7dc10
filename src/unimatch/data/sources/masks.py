"""Reads masks from files as class ids."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import DatasetInfo, UnknownValues, distinct_colors
from unimatch.data.sources.mask_values import SHOWN, TOO_MANY, count_ids, listing, pack, unpack
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import Exif, MaskArray, StoredMask, read_colors, read_ids, strips
from unimatch.types import IGNORE_INDEX

SMALLEST_ID, LARGEST_ID = -32768, 65535
"""The range of ids that can have a meaning: those of signed and of unsigned 16-bit masks."""

TABLE_LENGTH = LARGEST_ID - SMALLEST_ID + 1
"""Length of a table of ids, in which negative ids count from the end."""

LOSSY_REMEDY = "the file's lossy compression has changed values; save masks as PNG, from what they were drawn in"
NEAREST_REMEDY = ", or read the nearest class: dataset.unknown_values=nearest"

INDICES_ALONE = ": these ids are only positions in the file's own palette"

UNKNOWN = -1
"""The class id, in the tables below, of what is neither a class nor ignored."""


def mask_reader(info: DatasetInfo) -> "MaskReader":
    """Returns a callable that reads a mask file as (H, W) uint8 class ids, 255 for ignored pixels.

    It raises :class:`DataError` if a mask stores a value that is neither a class nor ignored: such an id would end the
    training or, worse, spoil it unnoticed.

    Args:
        info: the classes, and how masks store them. If there are no classes, every id below 255 is one.

    Raises:
        ConfigError: settings contradict each other.
    """
    for key, value, kind in (("exif", info.exif, Exif), ("unknown_values", info.unknown_values, UnknownValues)):
        if value not in get_args(kind):
            raise ConfigError(f"{key}={value}: must be one of {', '.join(get_args(kind))}")
    return ColorMasks(info) if info.color_masks else IndexMasks(info)


class IndexMasks:
    """Reads masks whose values are ids."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self.count = info.num_classes or IGNORE_INDEX
        self.first = int(info.reduce_zero_label)
        if info.ids is not None and info.reduce_zero_label:
            raise ConfigError("ids and reduce_zero_label both say what ids mean: give one")
        for key, values in (("ids", info.ids or ()), ("ignore_ids", info.ignore_ids)):
            if not all(isinstance(value, int) for value in values):
                raise ConfigError(f"{key}: stored ids are whole numbers, found {list(values)}")
            if not all(SMALLEST_ID <= value <= LARGEST_ID for value in values):
                raise ConfigError(
                    f"{key}: stored ids lie between {SMALLEST_ID} and {LARGEST_ID}, found {sorted(values)}"
                )
        if info.ids is not None and not set(info.ids.values()) <= {*range(self.count), IGNORE_INDEX}:
            raise ConfigError(f"ids: class ids lie between 0 and {self.count - 1}, found {dict(info.ids)}")
        meanings = {} if info.ids is not None else {self.first + i: i for i in range(self.count)}
        meanings |= dict.fromkeys([*range(self.first), IGNORE_INDEX, *info.ignore_ids], IGNORE_INDEX)
        meanings |= info.ids or {}
        self.table = np.full(TABLE_LENGTH, UNKNOWN, np.int16)  # stored id -> class id
        self.table[[stored % TABLE_LENGTH for stored in meanings]] = list(meanings.values())
        # If several ids mean one class, only the largest may attract others: see :meth:`meaning`.
        largest = {meanings[stored]: stored for stored in sorted(meanings)}
        kept = [stored for stored, meaning in meanings.items() if meaning == IGNORE_INDEX or largest[meaning] == stored]
        self.nearest = self.table[nearest_of(kept)] if info.unknown_values == "nearest" else self.table
        has_colors = info.palette != distinct_colors(info.num_classes)  # which are only a substitute
        self.class_colors = {bytes(color): i for i, color in enumerate(info.palette)} if has_colors else {}

    def read(self, path: Path) -> StoredMask:
        """Reads the ids that a file stores."""
        return read_ids(path, exif=self.info.exif)

    def __call__(self, path: Path) -> MaskArray:
        """Reads a mask as (H, W) uint8 class ids."""
        return self.classes(path, self.read(path))

    def classes(self, path: Path, mask: StoredMask) -> MaskArray:
        """Returns the (H, W) uint8 class ids of a mask that was read.

        Raises:
            DataError: it stores unknown ids, or by its palette its ids are not those of the classes.
        """
        if mask.palette and (misplaced := self.misplaced(mask)):
            raise DataError(f"{path}: {misplaced}")
        ids = self.meaning(mask.values)
        wrong = ids == UNKNOWN if mask.transparent is None else (ids == UNKNOWN) & ~mask.transparent
        if wrong.any():
            shown = mask.values if mask.transparent is None else mask.values[~mask.transparent]
            raise DataError(f"{path}: {self.out_of_range(count_ids(shown), lossy=mask.lossy)}")
        result = ids.astype(np.uint8)
        if mask.transparent is not None:
            result[mask.transparent] = IGNORE_INDEX
        return result

    def meaning(self, stored: NDArray[np.integer]) -> NDArray[np.int16]:
        """Returns the class ids of the ids that one mask stores, in an array of the same shape.

        Unknown ids are :data:`UNKNOWN`, ignored or rounded, as the settings say. If a mask has unknown ids, rounding
        applies to known ids too: where 255 and 1 mean the same class, a 1 beside unknown ids is noise near 0.
        """
        ids = self._look_up(self.table, stored)
        if self.info.unknown_values == "error" or not (ids == UNKNOWN).any():
            return ids
        if self.info.unknown_values == "nearest":
            return self._look_up(self.nearest, stored)
        return np.where(ids == UNKNOWN, np.int16(IGNORE_INDEX), ids)

    def unknown(self, mask: StoredMask) -> int:
        """Counts the pixels of a mask whose id is neither a class nor ignored."""
        wrong = self._look_up(self.table, mask.values) == UNKNOWN
        return int((wrong if mask.transparent is None else wrong & ~mask.transparent).sum())

    def _look_up(self, table: NDArray[np.int16], stored: NDArray[np.integer]) -> NDArray[np.int16]:
        if stored.dtype == np.uint8:
            return table[stored]
        meanings, flat = np.empty(stored.size, np.int16), stored.reshape(-1)
        for piece in strips(stored.size, 1):
            possible = (flat[piece] >= SMALLEST_ID) & (flat[piece] <= LARGEST_ID)
            # Negative ids index the table from its end.
            meanings[piece] = np.where(possible, table[flat[piece] * possible], np.int16(UNKNOWN))
        return meanings.reshape(stored.shape)

    def misplaced(self, mask: StoredMask) -> str | None:
        """Says that a mask's palette gives one of its ids the colour of another class; None if it does not.

        Programs that optimise image files sort the palette of each file anew. In the palette of a grey mask the greys
        are the ids.
        """
        colors = [mask.palette[i : i + 3] for i in range(0, len(mask.palette), 3)]
        classes = range(self.info.num_classes)
        greys = [color[0] for color in colors if color[0] == color[1] == color[2]]
        if len(greys) == len(colors) and any(greys) and all(self.table[grey] in classes for grey in greys):
            for i, grey in enumerate(greys):
                if self.table[grey] != self.table[i] and (mask.values == i).any():
                    return f"its palette gives id {i} the grey of id {grey}{INDICES_ALONE}; save the mask in grey"
        for i, color in enumerate(colors):
            meaning, other = self.table[i], self.class_colors.get(color)
            if other is None or other == meaning or meaning == IGNORE_INDEX or colors.count(color) > 1:
                continue
            if (mask.values == i).any():
                name = self.info.classes[meaning] if meaning != UNKNOWN else "no class"
                remedy = (
                    "read the colours: dataset.colors=palette" if self.info.ids is None else "save the mask in grey"
                )
                return (
                    f"its palette gives id {i} ({name}) the colour {tuple(color)} of {self.info.classes[other]}"
                    f"{INDICES_ALONE}; {remedy}"
                )
        return None

    def out_of_range(self, stored: Mapping[int, int] | None, *, lossy: bool) -> str:
        """Says which ids of a mask are unknown, and what to do.

        Args:
            stored: the pixels of each id in the mask; None if there are too many ids.
            lossy: whether the file's compression may have changed ids.
        """
        if stored is None:
            return TOO_MANY
        meanings = self.meaning(np.array([*stored])).tolist()
        unknown = sorted(i for i, meaning in zip(stored, meanings, strict=True) if meaning == UNKNOWN)
        known = f"the {self.count} classes {self.first}-{self.count - 1 + self.first}"
        if self.info.ids is not None:
            known = self.meanings()
        shown = listing([f"id {i}" for i in unknown[:SHOWN]], [stored[i] for i in unknown[:SHOWN]], len(unknown))
        return f"{shown} outside {known}; {self._remedy(stored, unknown, lossy=lossy)}"

    def _remedy(self, stored: Mapping[int, int], unknown: list[int], *, lossy: bool) -> str:
        """Says what to do about the unknown ids, ascending, among those that a mask stores."""
        has_ids = self.info.ids is not None
        if lossy:
            return LOSSY_REMEDY + (NEAREST_REMEDY if has_ids else "")
        if has_ids:
            blurred = "; for blurred edges, and white of 16 bits, set dataset.unknown_values=nearest"
            may_be_blurred = len(unknown) > 1 or unknown == [LARGEST_ID]
            return "correct the mask, or in segmentation name them in dataset.ids" + (blurred if may_be_blurred else "")
        remedy = f"correct the mask, name more classes, or mark such pixels {IGNORE_INDEX}"
        if self.first == 0 and unknown == [self.count]:
            return f"{remedy} (does the mask count classes from 1? dataset.reduce_zero_label=true)"
        if self.first == 0 and len(stored) == self.count and min(stored) == 0 and max(stored) <= LARGEST_ID:
            ids = {i: place for place, i in enumerate(sorted(stored))}
            all_classes = "these are all classes in their order"
            meant = f"{unknown[0]} is {self.info.classes[1]}" if self.count == 2 else all_classes
            return f"correct the mask, or if {meant}, set 'dataset.ids={ids}'"
        if SMALLEST_ID <= unknown[0] < 0 or unknown == [LARGEST_ID]:
            return f"{remedy} (a value for no data? name it in dataset.ignore_ids)"
        return remedy

    def meanings(self) -> str:
        """Lists the ids of ``info.ids`` with their classes, such as ``0 (unchanged), 255 (changed)``."""
        names = {**dict(enumerate(self.info.classes)), IGNORE_INDEX: "no class"}
        return ", ".join(f"{stored} ({names[i]})" for stored, i in sorted((self.info.ids or {}).items()))


class ColorMasks:
    """Reads masks that store the colours of the classes."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        colors = [*info.palette, *info.ignore_colors]
        self.codes, order = np.unique(pack(np.array(colors)), return_index=True)
        if len(self.codes) < len(colors):
            raise ConfigError("colors: each class, and each of ignore_colors, needs its own colour")
        ids = [*range(info.num_classes), *[IGNORE_INDEX] * len(info.ignore_colors)]
        self.ids = np.array(ids, np.uint8)[order]

    def read(self, path: Path) -> StoredMask:
        """Reads the colours that a file stores."""
        return read_colors(path, exif=self.info.exif)

    def __call__(self, path: Path) -> MaskArray:
        """Reads a mask as (H, W) uint8 class ids."""
        return self.classes(path, self.read(path))

    def classes(self, path: Path, mask: StoredMask) -> MaskArray:
        """Returns the (H, W) uint8 class ids of a mask that was read.

        Raises:
            DataError: it has unknown colours, or holds class ids.
        """
        stored, slots, wrong = self._find(mask)
        result = self.ids[slots]
        if wrong.any():
            shown = mask.values if mask.transparent is None else mask.values[~mask.transparent]
            # A mask of white alone holds no ids.
            if self._holds_ids(shown) and (mask.values[wrong] < self.info.num_classes).any():
                raise DataError(f"{path}: holds class ids where colours are read; save it in the classes' colours")
            if self.info.unknown_values == "error":
                raise DataError(f"{path}: {self._describe(stored[wrong], lossy=mask.lossy)}")
            result[wrong] = IGNORE_INDEX
            if self.info.unknown_values == "nearest":
                result[wrong] = self._nearest(stored[wrong])
        if mask.transparent is not None:
            result[mask.transparent] = IGNORE_INDEX
        return result

    def unknown(self, mask: StoredMask) -> int:
        """Counts the pixels of a mask whose colour is neither that of a class nor ignored."""
        return int(self._find(mask)[2].sum())

    def _find(self, mask: StoredMask) -> tuple[NDArray[np.integer], NDArray[np.intp], NDArray[np.bool_]]:
        """Returns each pixel's packed colour, its index among the known ones, and whether it is unknown."""
        stored = pack(mask.values)
        slots = np.searchsorted(self.codes, stored).clip(max=len(self.codes) - 1)
        wrong = self.codes[slots] != stored
        return stored, slots, wrong if mask.transparent is None else wrong & ~mask.transparent

    def _holds_ids(self, colors: NDArray[np.integer]) -> bool:
        """Tells whether the colours (..., 3) of a mask are all class ids written as greys, or white for 255."""
        ids = colors[..., :1]
        return bool(((ids < self.info.num_classes) | (ids == IGNORE_INDEX)).all() and (colors == ids).all())

    def _nearest(self, stored: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Returns the class ids of the known colours that are nearest in RGB; of equally near ones the first."""
        unknown, places = np.unique(stored, return_inverse=True)
        colors, best, slots = unpack(unknown), np.full(len(unknown), np.inf), np.zeros(len(unknown), np.intp)
        for slot, known in enumerate(unpack(self.codes)):  # in a loop to save memory: a photo has millions of colours
            distance = ((colors - known) ** 2).sum(-1)
            slots[distance < best] = slot
            best = np.minimum(best, distance)
        return self.ids[slots][places]

    def _describe(self, stored: NDArray[np.integer], *, lossy: bool) -> str:
        """Says which packed colours are unknown, the most frequent first, and what to do."""
        unknown, counts = np.unique(stored, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        remedy = (
            "correct the mask or the colours, name such a colour in dataset.ignore_colors, or where such colours are "
            "blurred edges, set dataset.unknown_values to ignore or nearest"
        )
        names = [f"colour {tuple(color)}" for color in unpack(unknown[order[:SHOWN]]).tolist()]
        shown = listing(names, counts[order[:SHOWN]].tolist(), len(order))
        return f"{shown} of no class; {LOSSY_REMEDY + NEAREST_REMEDY if lossy else remedy}"


MaskReader = IndexMasks | ColorMasks


def nearest_of(known: list[int]) -> NDArray[np.int64]:
    """Returns (:data:`TABLE_LENGTH`,), for every id the nearest of the known ids; negative ids stand for themselves.

    >>> nearest_of([0, 10])[[4, 5, 6, 65535]].tolist()
    [0, 0, 10, 10]
    """
    nearest = np.arange(TABLE_LENGTH)
    not_negative = np.array([i for i in sorted(known) if i >= 0])
    middles = (not_negative[1:] + not_negative[:-1]) / 2
    nearest[: LARGEST_ID + 1] = not_negative[np.searchsorted(middles, nearest[: LARGEST_ID + 1])]
    return nearest
