"""Puts the classes that a file names into the order of their ids, and reads their colours."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from unimatch.data.catalog import Color
from unimatch.errors import DataError

IGNORED = "__ignore__"
"""LabelMe's name for ignored pixels; it is no class."""


class Classes(NamedTuple):
    """Class names in the order of their ids, and their colours, if the file gives any."""

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None = None


class Entry(NamedTuple):
    """One class as it is written in a file."""

    line: int
    """The number of its line, from 1; in a JSON or YAML file its position in the list."""
    name: Any
    number: Any = None
    """Its id, if the file gives one."""
    color: Any = None


def in_order(path: Path, entries: Iterable[Entry]) -> Classes:
    """Returns classes in the order of their ids, which must run from 0 up, with their colours."""
    entries = [entry for entry in entries if entry.name != IGNORED and entry.number not in (255, "255")]
    if any(entry.number is not None for entry in entries):
        for entry in entries:
            if not is_number(entry.number):
                raise DataError(f"{path}, line {entry.line}: {entry.name!r} has no id, or one that is no number")
        entries = sorted(entries, key=lambda entry: int(entry.number))
        for number, entry in enumerate(entries):
            if int(entry.number) != number:
                raise DataError(
                    f"{path}, line {entry.line}: {entry.name!r} has the number {int(entry.number)}, and {number} is "
                    "next; ids run from 0 up, each once. Write the names alone, in the order of their ids (where masks "
                    "store others: dataset.reduce_zero_label, dataset.ids), names that begin with numbers in JSON"
                )
    names = tuple(entry.name for entry in entries)
    colored = [entry for entry in entries if entry.color is not None]
    if not colored:
        return Classes(names)
    if len(colored) < len(entries):
        line = next(entry.line for entry in entries if entry.color is None)
        raise DataError(f"{path}, line {line}: some lines give a colour, 'R G B name', and some do not")
    return Classes(names, tuple(color_of(path, entry) for entry in entries))


def color_of(path: Path, entry: Entry) -> Color:
    """Reads a colour: a list of three numbers, or text such as ``128,64,128`` or ``#804080``."""
    parts = entry.color
    if isinstance(parts, str):
        match = re.fullmatch(r"#?([0-9a-fA-F]{6})", parts)
        parts = list(bytes.fromhex(match[1])) if match else [int(n) for n in re.findall(r"\d+", parts)]
    if not is_color(parts) or max(map(int, parts)) > 255:
        shown = parts if is_color(parts) else "something else"
        found = entry.color if isinstance(entry.color, str) else shown
        raise DataError(f"{path}, line {entry.line}: a colour is three numbers from 0 to 255; found {found}")
    red, green, blue = map(int, parts)
    return red, green, blue


def is_number(value: Any) -> bool:
    """Tells whether a value is a whole number from 0 up, or a string of one."""
    return (type(value) is int and value >= 0) or (
        isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) is not None
    )


def is_color(value: Any) -> bool:
    """Tells whether a value is a list of three whole numbers from 0 up."""
    return isinstance(value, list) and len(value) == 3 and all(map(is_number, value))
