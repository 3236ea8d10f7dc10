"""Turns what mask files store into class ids."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import DatasetInfo
from unimatch.errors import ConfigError, DataError
from unimatch.images import MaskArray, read_color_mask, read_mask
from unimatch.types import IGNORE_INDEX

LARGEST_ID = 65535
"""The largest value that can stand for a class: that of a 16-bit mask."""

UNKNOWN = -1
"""In the tables below: no class and not ignored."""


def mask_reader(info: DatasetInfo) -> Callable[[Path], MaskArray]:
    """Makes a function that reads a mask as (H, W) uint8 class ids, 255 where there is none.

    It raises :class:`DataError` where a mask stores what is neither a class nor ignored: such an id would end the
    training, or worse, not end it.

    Args:
        info: the classes, and how masks store them. Without classes every id below 255 is one.

    Raises:
        ConfigError: settings that contradict each other.
    """
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
            if not all(0 <= value <= LARGEST_ID for value in values):
                raise ConfigError(f"{key}: stored ids lie between 0 and {LARGEST_ID}, found {sorted(values)}")
        if info.ids is not None and not set(info.ids.values()) <= {*range(self.count), IGNORE_INDEX}:
            raise ConfigError(f"ids: class ids lie between 0 and {self.count - 1}, found {dict(info.ids)}")
        self.table = np.full(LARGEST_ID + 1, UNKNOWN, np.int16)  # stored id -> class id
        if info.ids is None:
            self.table[: self.first] = IGNORE_INDEX
            self.table[self.first : self.first + self.count] = np.arange(self.count)
        self.table[[IGNORE_INDEX, *info.ignore_ids]] = IGNORE_INDEX
        for stored, class_id in (info.ids or {}).items():
            self.table[stored] = class_id

    def __call__(self, path: Path) -> MaskArray:
        """Reads a mask as (H, W) uint8 class ids."""
        stored = read_mask(path)
        if stored.dtype == np.uint8:
            ids = self.table[stored]
        else:
            possible = (stored >= 0) & (stored <= LARGEST_ID)
            ids = np.where(possible, self.table[stored * possible], UNKNOWN)
        if (ids == UNKNOWN).any():
            raise DataError(f"{path}: {self._describe(stored[ids == UNKNOWN])}")
        return ids.astype(np.uint8)

    def _describe(self, stored: NDArray[np.integer]) -> str:
        unknown, counts = np.unique(stored, return_counts=True)
        known = f"the {self.count} classes {self.first}-{self.count - 1 + self.first}"
        remedy = f"correct the mask, name more classes, or mark such pixels {IGNORE_INDEX}"
        if self.info.ids is not None:
            known = self.meanings()
            remedy = "correct the mask, or in segmentation name them in dataset.ids"
        elif unknown.tolist() == [self.count] and not self.first:
            remedy += " (does the mask count classes from 1? dataset.reduce_zero_label=true)"
        return f"{listing([f'id {value}' for value in unknown], counts)} outside {known}; {remedy}"

    def meanings(self) -> str:
        """Lists what the stored values of ``info.ids`` mean, such as ``0 (unchanged), 255 (changed)``."""
        names = {**dict(enumerate(self.info.classes)), IGNORE_INDEX: "no class"}
        return ", ".join(f"{stored} ({names[i]})" for stored, i in sorted((self.info.ids or {}).items()))


class ColorMasks:
    """Reads masks whose colours are those of the classes."""

    def __init__(self, info: DatasetInfo) -> None:
        colors = [*info.palette, *info.ignore_colors]
        self.codes, order = np.unique(pack(np.array(colors)), return_index=True)
        if len(self.codes) < len(colors):
            raise ConfigError("colors: each class, and each of ignore_colors, needs its own colour")
        ids = [*range(info.num_classes), *[IGNORE_INDEX] * len(info.ignore_colors)]
        self.ids = np.array(ids, np.uint8)[order]

    def __call__(self, path: Path) -> MaskArray:
        """Reads a mask as (H, W) uint8 class ids."""
        stored = pack(read_color_mask(path))
        slots = np.searchsorted(self.codes, stored).clip(max=len(self.codes) - 1)
        wrong = self.codes[slots] != stored
        if wrong.any():
            unknown, counts = np.unique(stored[wrong], return_counts=True)
            names = [f"colour {(code >> 16, code >> 8 & 255, code & 255)}" for code in unknown.tolist()]
            raise DataError(
                f"{path}: {listing(names, counts)} of no class; correct the mask or the colours, or name such a "
                "colour in dataset.ignore_colors"
            )
        return self.ids[slots]


def listing(names: list[str], counts: NDArray[np.integer]) -> str:
    """Lists the first few names, each with its number of pixels.

    >>> listing(["id 7", "id 9"], np.array([12, 1]))
    'id 7 (12 pixels), id 9 (1 pixels)'
    """
    parts = [f"{name} ({count} pixels)" for name, count in zip(names, counts, strict=True)]
    return ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")


def pack(colors: NDArray[np.integer]) -> NDArray[np.integer]:
    """Turns (..., 3) RGB into (...) numbers.

    >>> [hex(code) for code in pack(np.array([[1, 2, 3]]))]
    ['0x10203']
    """
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue
