"""Reads plain values from untrusted files, and checks their number and size before anything is made of them."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from unimatch.errors import DataError, UnimatchError

MAX_DEPTH = 64
"""How deeply lists and dictionaries may be nested."""
MAX_VALUES = 4 * 10**6
"""How many values there may be; a shared one counts once for every place it appears in."""
LONGEST_NAME = 300
"""How many characters of an entry's full name are kept, from its end."""


def parse_json(text: str) -> Any:
    """Parses a JSON text.

    Raises:
        ValueError: it is no JSON, or has more than :data:`MAX_DEPTH` levels or :data:`MAX_VALUES` values.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    count(content)
    return content


def count(value: Any, left: int = MAX_DEPTH, known: dict[int, int] | None = None) -> int:
    """Counts the values in nested lists and dictionaries.

    A list that appears in many places, in lists that do so too, may stand for more values than any memory holds.

    Args:
        value: the lists and dictionaries.
        left: how many levels are still allowed.
        known: the counts of lists and dictionaries seen so far, by their :func:`id`.

    Raises:
        ValueError: there are more than :data:`MAX_VALUES`, or they are nested deeper than ``left``.
    """
    known = {} if known is None else known
    if not isinstance(value, (dict, list, tuple)):
        return 1
    if id(value) not in known:
        if not left:
            raise ValueError("nested too deeply")
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(count(one, left - 1, known) for one in inner)
        if known[id(value)] > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
    return known[id(value)]


def whole_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Reads a CSV file: its columns, and its complete rows, which have a cell for each column and a line break.

    Raises:
        ValueError: it is no CSV.
    """
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    try:
        complete = text[: text.rfind("\n") + 1]
        columns, *rows = list(csv.reader(StringIO(complete, newline=""))) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path.name}: {error}") from error
    return columns, [dict(zip(columns, row, strict=True)) for row in rows if len(row) == len(columns)]


@contextmanager
def written_by_others(where: object) -> Iterator[None]:
    """Turns any error that the content of an untrusted file causes into a DataError."""
    try:
        yield
    except (UnimatchError, OSError):
        raise
    except Exception as error:  # such as that of a list in the place of an object
        why = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise DataError(f"{where}: holds what unimatch does not write there ({why})") from error


def below(name: str, key: object) -> str:
    """Returns the full name of an entry in an object, or its end if it is long.

    Otherwise a long name around many entries would need more memory than there is.

    >>> below("method", "tau"), below("", "seed")
    ('method.tau', 'seed')
    """
    end = str(key)[-LONGEST_NAME:]
    return f"{name}.{end}"[-LONGEST_NAME:] if name else end


def numbers_in(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yields all numbers in nested lists and dictionaries, each with the full name of its entry.

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
    """Refuses numbers in nested lists and dictionaries that are below ``least`` or above ``largest``.

    Raises:
        ValueError: naming the first such number.
    """
    for entry, number in numbers_in(value, name):
        if not least <= number <= largest:  # also NaN
            shown = f"{number}" if abs(number) < 1e30 or number != number else "beyond 10^30"
            between = f"at most {largest:,}" if math.isinf(least) else f"from {least:,} to {largest:,}"
            raise ValueError(f"{entry} is {shown}, and must be {between}")
