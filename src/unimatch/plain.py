"""Plain values out of files that anybody may have written: counted and bounded before anything is made of them."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from unimatch.errors import DataError, UnimatchError

DEEPEST = 64
"""How many lists and dictionaries may lie in one another."""
MOST = 4 * 10**6
"""How many values there may be, those that are shared counted wherever they stand."""
LONGEST_NAME = 300
"""How many characters of an entry's full name are kept, its end."""


def parse_json(text: str) -> Any:
    """Returns what a JSON text holds.

    Raises:
        ValueError: it is no JSON, or of more than :data:`DEEPEST` levels.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    count(content)
    return content


def count(value: Any, left: int = DEEPEST, known: dict[int, int] | None = None) -> int:
    """Returns how many values nested lists and dictionaries hold.

    One list that stands in many places, and so on, may mean more values than any memory holds.

    Raises:
        ValueError: they are more than :data:`MOST`, or of more than :data:`DEEPEST` levels.
    """
    known = {} if known is None else known
    if not isinstance(value, (dict, list, tuple)):
        return 1
    if id(value) not in known:
        if not left:
            raise ValueError("nested too deeply")
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(count(one, left - 1, known) for one in inner)
        if known[id(value)] > MOST:
            raise ValueError(f"more than {MOST:,} values")
    return known[id(value)]


def whole_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Reads a CSV file: the columns, and the rows that are whole, with a cell for each and the end of their line.

    Raises:
        ValueError: it is no CSV.
    """
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    try:
        columns, *rows = [*csv.reader(StringIO(text[: text.rfind("\n") + 1], newline=""))] or [[]]
    except csv.Error as error:
        raise ValueError(f"{path.name}: {error}") from error
    return columns, [dict(zip(columns, row, strict=True)) for row in rows if len(row) == len(columns)]


@contextmanager
def written_by_others(where: object) -> Iterator[None]:
    """Turns whatever is wrong with the content of files that anybody may have written into a DataError."""
    try:
        yield
    except (UnimatchError, OSError):
        raise
    except Exception as error:  # such as a list where an object is meant, in any place
        why = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise DataError(f"{where}: holds what unimatch does not write there ({why})") from error


def below(name: str, key: object) -> str:
    """Returns what an entry is called whose object has a name; of a long one the end.

    Otherwise a file with a long name around many entries would mean more text than any memory holds.

    >>> below("method", "tau"), below("", "seed")
    ('method.tau', 'seed')
    """
    end = str(key)[-LONGEST_NAME:]
    return f"{name}.{end}"[-LONGEST_NAME:] if name else end


def numbers_in(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yields all numbers in nested lists and dictionaries, with the names of their entries.

    >>> list(numbers_in({"depth": 2, "img_size": [3, 4.5], "x": "a"}, "options"))
    [('options.depth', 2), ('options.img_size', 3), ('options.img_size', 4.5)]
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_in(inner, below(name, key))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from numbers_in(inner, name)
    elif isinstance(value, (int, float)):
        yield name, value


def bound(value: Any, name: str, largest: float, least: float = -math.inf) -> None:
    """Refuses numbers in nested lists and dictionaries that are not between two others.

    Raises:
        ValueError: with the first such number and its name.
    """
    for entry, number in numbers_in(value, name):
        if not least <= number <= largest:  # also what is no number
            shown = f"{number}" if abs(number) < 1e30 or number != number else "beyond 10^30"
            between = f"at most {largest:,}" if math.isinf(least) else f"from {least:,} to {largest:,}"
            raise ValueError(f"{entry} is {shown}, and must be {between}")
