"""Turns what mask files store into class ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import DatasetInfo, UnknownValues, distinct_colors
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import Exif, MaskArray, StoredMask, read_colors, read_ids, strips
from unimatch.types import IGNORE_INDEX

SMALLEST_ID, LARGEST_ID = -32768, 65535
"""The values that can stand for something: those of 16-bit masks, with a sign or without."""

TABLE = LARGEST_ID - SMALLEST_ID + 1
"""Length of a table of ids; the negative ones count from its end."""

LOSSY = "the file's lossy compression has changed values; save masks as PNG, from what they were drawn in"
NEAREST = ", or read the nearest class: dataset.unknown_values=nearest"

MOST_IDS = 4096
"""Different ids of a mask that are counted; more are no classes, whatever they are."""

TOO_MANY = (
    f"more than {MOST_IDS:,} different ids: is it a photo, a map of heights or of single objects? A mask stores the "
    "ids of classes"
)

ONLY_PLACES = ": these ids are only places in the file's own palette"

UNKNOWN = -1
"""In the tables below: no class and not ignored."""


def mask_reader(info: DatasetInfo) -> "MaskReader":
    """Makes a function that reads a mask as (H, W) uint8 class ids, 255 where there is none.

    It raises :class:`DataError` where a mask stores what is neither a class nor ignored: such an id would end the
    training, or worse, not end it.

    Args:
        info: the classes, and how masks store them. Without classes every id below 255 is one.

    Raises:
        ConfigError: settings that contradict each other.
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
            if not all(SMALLEST_ID <= value <= LARGEST_ID for value in values):
                raise ConfigError(
                    f"{key}: stored ids lie between {SMALLEST_ID} and {LARGEST_ID}, found {sorted(values)}"
                )
        if info.ids is not None and not set(info.ids.values()) <= {*range(self.count), IGNORE_INDEX}:
            raise ConfigError(f"ids: class ids lie between 0 and {self.count - 1}, found {dict(info.ids)}")
        meanings = {} if info.ids is not None else {self.first + i: i for i in range(self.count)}
        meanings |= dict.fromkeys([*range(self.first), IGNORE_INDEX, *info.ignore_ids], IGNORE_INDEX)
        meanings |= info.ids or {}
        self.table = np.full(TABLE, UNKNOWN, np.int16)  # stored id -> class id
        self.table[[stored % TABLE for stored in meanings]] = list(meanings.values())
        largest = {meanings[i]: i for i in sorted(meanings)}  # of each class
        sure = [i for i, meaning in meanings.items() if meaning == IGNORE_INDEX or largest[meaning] == i]
        self.nearest = self.table[nearest_of(sure)] if info.unknown_values == "nearest" else self.table
        chosen = info.palette != distinct_colors(info.num_classes)  # else nobody has chosen the colours
        self.class_colors = {bytes(color): i for i, color in enumerate(info.palette)} if chosen else {}

    def read(self, path: Path) -> StoredMask:
        """Reads the ids that a file stores."""
        return read_ids(path, exif=self.info.exif)

    def __call__(self, path: Path) -> MaskArray:
        """Reads a mask as (H, W) uint8 class ids."""
        return self.classes(path, self.read(path))

    def classes(self, path: Path, mask: StoredMask) -> MaskArray:
        """Returns the (H, W) uint8 class ids of a mask that was read.

        Raises:
            DataError: it stores what is no class, or its palette says that its ids are not those of the classes.
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
        """Returns the class ids of all ids that one mask stores, in an array of the same shape; -1 where there is none.

        What is :data:`UNKNOWN` by itself is ignored or rounded, where the settings say so. Rounding looks at all ids of
        a mask, known ones too: where 255 and 1 mean the same and there are others beside them, 1 is no class but noise.
        """
        ids = self._look_up(self.table, stored)
        if self.info.unknown_values == "error" or not (ids == UNKNOWN).any():
            return ids
        if self.info.unknown_values == "nearest":
            return self._look_up(self.nearest, stored)
        return np.where(ids == UNKNOWN, np.int16(IGNORE_INDEX), ids)

    def unknown(self, mask: StoredMask) -> int:
        """Counts the pixels of a mask that store no class and no ignored id."""
        wrong = self._look_up(self.table, mask.values) == UNKNOWN
        return int((wrong if mask.transparent is None else wrong & ~mask.transparent).sum())

    def _look_up(self, table: NDArray[np.int16], stored: NDArray[np.integer]) -> NDArray[np.int16]:
        if stored.dtype == np.uint8:
            return table[stored]
        meanings, flat = np.empty(stored.size, np.int16), stored.reshape(-1)
        for piece in strips(stored.size, 1):
            possible = (flat[piece] >= SMALLEST_ID) & (flat[piece] <= LARGEST_ID)
            # A negative index counts from the end.
            meanings[piece] = np.where(possible, table[flat[piece] * possible], np.int16(UNKNOWN))
        return meanings.reshape(stored.shape)

    def misplaced(self, mask: StoredMask) -> str | None:
        """Says where a palette gives an id in use the colour of another class; None where it does not.

        Programs that optimise masks sort the palette anew in each file. That of a grey one has the ids as its greys.
        """
        colors = [mask.palette[i : i + 3] for i in range(0, len(mask.palette), 3)]
        classes = range(self.info.num_classes)
        greys = [color[0] for color in colors if color[0] == color[1] == color[2]]
        if len(greys) == len(colors) and any(greys) and all(self.table[grey] in classes for grey in greys):
            moved = (
                i for i, grey in enumerate(greys) if self.table[grey] != self.table[i] and (mask.values == i).any()
            )
            if (place := next(moved, None)) is not None:
                return f"its palette gives id {place} the grey of id {greys[place]}{ONLY_PLACES}; save the mask in grey"
        others = {
            i: self.class_colors[color]
            for i, color in enumerate(colors)
            if color in self.class_colors and self.class_colors[color] != self.table[i] and colors.count(color) == 1
        }
        used = [i for i in others if self.table[i] != IGNORE_INDEX and (mask.values == i).any()] if others else []
        if not used:
            return None
        names = self.info.classes
        meant = names[self.table[used[0]]] if self.table[used[0]] != UNKNOWN else "no class"
        color, other = tuple(colors[used[0]]), names[others[used[0]]]
        remedy = "read the colours: dataset.colors=palette" if self.info.ids is None else "save the mask in grey"
        return f"its palette gives id {used[0]} ({meant}) the colour {color} of {other}{ONLY_PLACES}; {remedy}"

    def out_of_range(self, stored: Mapping[int, int] | None, *, lossy: bool) -> str:
        """Says which ids of a mask are no class, and what to do.

        Args:
            stored: the pixels of each id in the mask; None where they are too many.
            lossy: whether the file's compression may have changed them.
        """
        if stored is None:
            return TOO_MANY
        meanings = self.meaning(np.array([*stored])).tolist()
        unknown = sorted(i for i, meaning in zip(stored, meanings, strict=True) if meaning == UNKNOWN)
        known = f"the {self.count} classes {self.first}-{self.count - 1 + self.first}"
        remedy = f"correct the mask, name more classes, or mark such pixels {IGNORE_INDEX}"
        plain, first = self.info.ids is None and not self.first, unknown[0]
        if self.info.ids is not None:
            known = self.meanings()
            remedy = "correct the mask, or in segmentation name them in dataset.ids"
            blurred = "; for blurred edges, and white of 16 bits, set dataset.unknown_values=nearest"
            remedy += blurred if len(unknown) > 1 or unknown == [LARGEST_ID] else ""
        if lossy:
            remedy = LOSSY + (NEAREST if self.info.ids is not None else "")
        elif plain and unknown == [self.count]:
            remedy += " (does the mask count classes from 1? dataset.reduce_zero_label=true)"
        elif plain and len(stored) == self.count and min(stored) == 0 and max(stored) <= LARGEST_ID:
            ids = {i: place for place, i in enumerate(sorted(stored))}
            meant = f"{first} is {self.info.classes[1]}" if self.count == 2 else "these are all classes in their order"
            remedy = f"correct the mask, or if {meant}, set 'dataset.ids={ids}'"
        elif self.info.ids is None and (SMALLEST_ID <= first < 0 or unknown == [LARGEST_ID]):
            remedy += " (a value for no data? name it in dataset.ignore_ids)"
        shown = listing([f"id {i}" for i in unknown[:SHOWN]], [stored[i] for i in unknown[:SHOWN]], len(unknown))
        return f"{shown} outside {known}; {remedy}"

    def meanings(self) -> str:
        """Lists what the stored values of ``info.ids`` mean, such as ``0 (unchanged), 255 (changed)``."""
        names = {**dict(enumerate(self.info.classes)), IGNORE_INDEX: "no class"}
        return ", ".join(f"{stored} ({names[i]})" for stored, i in sorted((self.info.ids or {}).items()))


class ColorMasks:
    """Reads masks whose colours are those of the classes."""

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
            DataError: it has colours of no class.
        """
        stored, slots, wrong = self._find(mask)
        result = self.ids[slots]
        if wrong.any():
            shown = mask.values if mask.transparent is None else mask.values[~mask.transparent]
            if self._holds_ids(shown) and (mask.values[wrong] < self.info.num_classes).any():  # white alone is no id
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
        """Counts the pixels of a mask whose colour is that of no class and not ignored."""
        return int(self._find(mask)[2].sum())

    def _find(self, mask: StoredMask) -> tuple[NDArray[np.integer], NDArray[np.intp], NDArray[np.bool_]]:
        """Returns each pixel's colour as a number, its place among the known ones, and where it is none of them."""
        stored = pack(mask.values)
        slots = np.searchsorted(self.codes, stored).clip(max=len(self.codes) - 1)
        wrong = self.codes[slots] != stored
        return stored, slots, wrong if mask.transparent is None else wrong & ~mask.transparent

    def _holds_ids(self, colors: NDArray[np.integer]) -> bool:
        """Tells whether all colours (..., 3) of a mask are greys as dark as class ids are, or white, as 255 is."""
        ids = colors[..., :1]
        return bool(((ids < self.info.num_classes) | (ids == IGNORE_INDEX)).all() and (colors == ids).all())

    def _nearest(self, stored: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Returns the class ids of the known colours that are nearest in RGB; of two the first."""
        unknown, places = np.unique(stored, return_inverse=True)
        colors, best, slots = unpack(unknown), np.full(len(unknown), np.inf), np.zeros(len(unknown), np.intp)
        for slot, known in enumerate(unpack(self.codes)):  # one after the other: a photo has millions of colours
            distance = ((colors - known) ** 2).sum(-1)
            slots[distance < best] = slot
            best = np.minimum(best, distance)
        return self.ids[slots][places]

    def _describe(self, stored: NDArray[np.integer], *, lossy: bool) -> str:
        unknown, counts = np.unique(stored, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        remedy = "correct the mask or the colours, name such a colour in dataset.ignore_colors, or where such colours "
        remedy += "are blurred edges, set dataset.unknown_values to ignore or nearest"
        names = [f"colour {tuple(color)}" for color in unpack(unknown[order[:SHOWN]]).tolist()]
        shown = listing(names, counts[order[:SHOWN]].tolist(), len(order))
        return f"{shown} of no class; {LOSSY + NEAREST if lossy else remedy}"


MaskReader = IndexMasks | ColorMasks


def nearest_of(known: list[int]) -> NDArray[np.int64]:
    """Returns for every place of a table of ids the nearest of the known ids; itself, for those below 0.

    >>> nearest_of([0, 10])[[4, 5, 6, 65535]].tolist()
    [0, 0, 10, 10]
    """
    places = np.arange(TABLE)
    at_least_0 = np.array([i for i in sorted(known) if i >= 0])
    middles = (at_least_0[1:] + at_least_0[:-1]) / 2
    places[: LARGEST_ID + 1] = at_least_0[np.searchsorted(middles, places[: LARGEST_ID + 1])]
    return places


def count_ids(ids: NDArray[np.integer]) -> dict[int, int] | None:
    """Counts the pixels of each id; None where there are more than :data:`MOST_IDS` different ones.

    >>> count_ids(np.array([[7, 7, 0], [0, 7, 300]]))
    {0: 2, 7: 3, 300: 1}
    """
    found, flat = Counter[int](), ids.reshape(-1)
    for piece in strips(ids.size, 1):
        values, counts = np.unique(flat[piece], return_counts=True)
        if len(values) > MOST_IDS:
            return None
        found.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        if len(found) > MOST_IDS:
            return None
    return dict(sorted(found.items()))


SHOWN = 5
"""How many ids or colours a message names."""


def listing(names: Sequence[str], counts: Sequence[int], number: int | None = None) -> str:
    """Lists the first few names, each with its number of pixels, and how many others there are.

    Args:
        names: at least the first :data:`SHOWN`.
        counts: pixels of each.
        number: of names in all; None where these are all.

    >>> listing(["id 7", "id 9"], [12, 1])
    'id 7 (12 pixels), id 9 (1 pixels)'
    """
    parts = [f"{name} ({count} pixels)" for name, count in zip(names[:SHOWN], counts[:SHOWN], strict=True)]
    others = (len(names) if number is None else number) - len(parts)
    return ", ".join(parts) + (f" and {others} more" if others else "")


def pack(colors: NDArray[np.integer]) -> NDArray[np.integer]:
    """Turns (..., 3) RGB into (...) numbers.

    >>> [hex(code) for code in pack(np.array([[1, 2, 3]]))]
    ['0x10203']
    """
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def unpack(codes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Turns (N,) numbers into (N, 3) RGB.

    >>> unpack(np.array([0x10203])).tolist()
    [[1, 2, 3]]
    """
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
