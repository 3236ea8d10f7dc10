"""Reads class names, and their colours where there are any, from a file."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unimatch.data.catalog import Color
from unimatch.errors import DataError

COLORED = re.compile(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\S.*)")
"""A line ``R G B name``."""


class Classes(NamedTuple):
    """Class names in the order of their ids, and the colour of each or None."""

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None = None


def find_classes(root: Path) -> Path:
    """Finds the file of class names below a root."""
    for name in ("classes.txt", "classes.json"):
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root}: no classes.txt; write one class name a line, in the order of the ids")


def read_classes(classes: str | Path | Sequence[str]) -> Classes:
    """Reads class names from a sequence or a file.

    A text file has one class a line, ``name`` or ``R G B name``; a JSON file a list of names, or an object of names
    and colours ``[R, G, B]``.

    Raises:
        DataError: the file is missing or malformed, or a name is repeated.
    """
    if isinstance(classes, (str, Path)):
        path = Path(classes).expanduser()
        where, found = str(path), parse(path)
    else:
        where, found = "classes", Classes(tuple(classes))
    if not all(isinstance(name, str) for name in found.names):
        raise DataError(f"{where}: expected a list of class names")
    names = tuple(name.strip() for name in found.names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{where}: at least two class names, all different, are needed; found {list(names)}")
    if len(names) > 255:
        raise DataError(f"{where}: at most 255 classes fit an 8-bit mask; found {len(names)}")
    if found.colors and max(map(max, found.colors)) > 255:
        raise DataError(f"{where}: a colour is three numbers from 0 to 255; found {list(found.colors)}")
    return Classes(names, found.colors)


def parse(path: Path) -> Classes:
    """Reads the names and colours of a file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content: Any = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: the class names cannot be read ({error})") from error
    if isinstance(content, dict) and all(is_color(value) for value in content.values()):
        return Classes(tuple(content), tuple((color[0], color[1], color[2]) for color in content.values()))
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of class names, or an object of names and colours")
    if path.suffix == ".json":
        return Classes(tuple(content))
    lines = [line.strip() for line in content if line.strip()]
    colored = [match for line in lines if (match := COLORED.fullmatch(line))]
    if not colored:
        return Classes(tuple(lines))
    if len(colored) < len(lines):
        raise DataError(f"{path}: some lines give a colour, 'R G B name', and some do not")
    return Classes(
        tuple(match[4] for match in colored), tuple((int(match[1]), int(match[2]), int(match[3])) for match in colored)
    )


def is_color(value: Any) -> bool:
    """Tells whether this is a list of three whole numbers from 0 up."""
    return isinstance(value, list) and len(value) == 3 and all(type(number) is int and number >= 0 for number in value)
