"""Parses the files of class names that people and label tools write."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from unimatch.data.sets.class_entries import Classes, Entry, in_order, is_color, is_number
from unimatch.errors import DataError, in_one_line
from unimatch.read_file import read_text, why_no_text

LARGEST = 2**16
"""The most characters of a file of class names: YAML may take a second for every 10,000."""

LARGEST_JSON = 2**22
"""The most characters of a JSON file, which is parsed fast, and into which tools write more than names."""

LONGEST_LINE = 1000
"""The most characters of a line: matching :data:`FORMS` may take quadratic time."""

COLUMNS = {
    "id": (
        *("id", "index", "value", "pixel value", "pixel_value", "class id", "class_id", "classid", "label_id"),
        "number",
    ),
    "name": (
        *("name", "class", "classes", "class name", "class_name", "classname", "label", "labels", "label_name"),
        *("names", "title"),
    ),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
    "color": ("color", "colour", "rgb", "hex", "color_rgb", "class_color"),
}
"""The names of columns in the first line of a table, in lower case."""
COLUMN_OF = {word: column for column, words in COLUMNS.items() for word in words}

COLOR_NUMBERS = r"(?:(?:rgb)?[(\[]\s*)?(\d+)[\s,;]+(\d+)[\s,;]+(\d+)(?:\s*[)\]])?"
HEX_COLOR = r"#([0-9a-fA-F]{6})\b"
COLOR_REMEDY = "write colours as 'R G B name' in whole numbers or '#RRGGBB name', and names that look so in JSON"
FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<id>\d+)[\s,;:=]+{COLOR_NUMBERS}[\s,;:]+(?P<name>\S.*)",  # the number, the colour, the name
        rf"(?P<id>\d+)[\s,;:=]+(?P<name>\S.*?)[\s,;:]+{COLOR_NUMBERS}",
        rf"{COLOR_NUMBERS}[\s,;:]+(?P<name>\S.*)",
        rf"(?P<name>\S.*?)[\s,;:]+{COLOR_NUMBERS}",
        rf"{HEX_COLOR}[\s,;:]+(?P<name>\S.*)",
        rf"(?P<name>\S.*?)[\s,;:]+{HEX_COLOR}",
        r"(?P<id>\d+)\s*(?:[,;:=)|]|\.(?!\d)|[-=]>|-(?=\s)|\s)\s*(?P<name>\S.*)",
        r"(?P<name>\S.*?)\s*[,;:=\t]\s*(?P<id>\d+)",
        r"(?P<name>\S.*)",
    )
)
"""Forms of the lines of a text file: a file has the first form that matches all of its lines."""

COMMENT = re.compile(r"(?<=\S)\s+(?:#|//)\s.*")
"""A comment after a name."""

COMMENT_LINE = re.compile(r"#(?!(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})[\s,;:])|//")
"""The start of a comment in a file with colours ``#RRGGBB``, where ``#888 grey`` is a colour of another form."""
COMMENT_LINE_WITHOUT_COLORS = re.compile(r"#(?!(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{8})\b)|//")
"""The start of a comment in other files, where ``#add more here`` is one."""

NO_NAME = re.compile(
    r"""(?:[=>|,;:]|-\s).*|.*[,;:=|{]|[-=_*#]{2,}|[\[{]\s*["'].*|\w+\s*[:=]\s*[\[{].*|255\W+\w.*|.*\t.*"""
)
"""A text that is no name but comes from a line in none of these forms, such as a piece of JSON or of a table."""

OTHER_COLOR = re.compile(
    r"#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{8})[\s,;:]+\S.*|.*\S[\s,;:]+#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{8})"
    r"|(?:.*[\s,;:])?0x[0-9a-fA-F]{6,8}\b.*|(?:.*[^\w.])?\d+(?:\.\d+)?(?:[\s,;]+\d+(?:\.\d+)?){2}\b.*"
)
"""A line with a colour in none of these forms: with 3, 4 or 8 hexadecimal digits, or with fractions."""


def parse(path: Path) -> Classes:
    """Reads the names and colours in a file, whose extension tells its format.

    Raises:
        DataError: it cannot be read or is malformed.
    """
    kind = path.suffix.lower()
    try:
        text = read_text(path, LARGEST_JSON if kind == ".json" else LARGEST)
        if "\0" in text:
            raise DataError(f"{path}: the class names cannot be read ({why_no_text(text)})")
        if kind == ".json":
            return in_order(path, from_object(path, json.loads(text)))
        if kind in (".yaml", ".yml"):  # this loader makes only strings: others would read a class "no" as false
            return in_order(path, from_object(path, yaml.load(text, yaml.BaseLoader)))
    except DataError:
        raise
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or in_one_line(error)
        if isinstance(error, UnicodeDecodeError):
            why = f"{error}; save it as UTF-8"
        raise DataError(f"{path}: the class names cannot be read ({why})") from error
    lines = [(number, COMMENT.sub("", line).strip()) for number, line in enumerate(text.splitlines(), start=1)]
    header = next((line for _, line in lines if line), "")
    if long := next((number for number, line in lines if len(line) > LONGEST_LINE), None):
        raise DataError(f"{path}, line {long}: has more than {LONGEST_LINE} characters, and is no class's")
    comment = COMMENT_LINE if any(re.match(HEX_COLOR, line) for _, line in lines) else COMMENT_LINE_WITHOUT_COLORS
    lines = [(number, line) for number, line in lines if line.strip(",;") and not comment.match(line)]
    if header.replace(" ", "").startswith("#label:color_rgb"):  # CVAT's
        return in_order(path, [cvat_entry(path, number, line) for number, line in lines])
    if lines and re.match(r"<[!?a-zA-Z]", lines[0][1]):
        raise DataError(f"{path}, line {lines[0][0]}: {lines[0][1]!r} is HTML or XML, and no class name a line")
    lines = unwrapped(lines)
    table = from_table(path, lines)
    entries = from_lines(path, lines) if table is None else table
    if table is None:
        require_names(path, entries)
    return in_order(path, entries)


def require_names(path: Path, entries: Sequence[Entry]) -> None:
    """Checks that lines of a file without a heading are names and nothing else.

    Raises:
        DataError: they are not.
    """
    if odd := next((entry for entry in entries if NO_NAME.fullmatch(str(entry.name))), None):
        raise DataError(
            f"{path}, line {odd.line}: {odd.name!r} is no class name; write one name a line, in the order of the ids; "
            "if a class is called that, write the names as a JSON list"
        )
    if odd := next((entry for entry in entries if OTHER_COLOR.fullmatch(str(entry.name))), None):
        raise DataError(f"{path}, line {odd.line}: {odd.name!r} is no class name; {COLOR_REMEDY}")
    found = [re.findall(r"(?<!\w)\d{1,9}(?!\w)", str(entry.name)) for entry in entries]
    if found and all(len(numbers) == 1 for numbers in found):
        left = [int(numbers[0]) for numbers in found]
        if entries[0].color is not None and left != [*range(left[0], left[0] + len(left))]:
            raise DataError(f"{path}, line {entries[0].line}: is {entries[0].name!r} a name? {COLOR_REMEDY}")
        if entries[0].number is None and left != sorted(left) == [*range(len(left))]:
            raise DataError(
                f"{path}: the names have numbers in them, in another order than the lines: are these the ids? Write "
                "lines '0: name', or if classes are called that, write the names as a JSON list"
            )
    if path.suffix.lower() == ".csv" and (
        odd := next((entry for entry in entries if re.search("[,;\t]", str(entry.name))), None)
    ):
        raise DataError(f"{path}, line {odd.line}: expected a first line such as 'name,r,g,b'; found {odd.name!r}")


def unwrapped(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Removes what every line has around its text: the dash of a list, or quotes and a comma.

    >>> unwrapped([(1, "- sky"), (2, "- tree")]), unwrapped([(1, "'sky',"), (2, "'tree'")])
    ([(1, 'sky'), (2, 'tree')], [(1, 'sky'), (2, 'tree')])
    """
    for form in (r"[-*•]\s+(\S.*)", r"""(?:"([^"]+)"|'([^']+)'),?"""):
        matches = [re.fullmatch(form, line) for _, line in lines]
        if all(matches):
            lines = [
                (number, match[match.lastindex or 0])
                for (number, _), match in zip(lines, matches, strict=True)
                if match
            ]
    return lines


def cvat_entry(path: Path, number: int, line: str) -> Entry:
    """Reads a line ``label:color_rgb:parts:actions``; the label may hold colons."""
    match = re.fullmatch(r"(.+):(\d+,\d+,\d+)?:([^:]*):([^:]*)", line)
    if match is None:
        raise DataError(f"{path}, line {number}: expected label:color_rgb:parts:actions, found {line!r}")
    return Entry(number, match[1], None, match[2])


def from_table(path: Path, lines: Sequence[tuple[int, str]]) -> list[Entry] | None:
    """Reads a table whose first line names its columns; returns None if it does not."""
    if not lines:
        return None
    delimiter = next((mark for mark in "\t;," if mark in lines[0][1]), None)
    rows = [
        next(csv.reader([line], delimiter=delimiter, skipinitialspace=True)) if delimiter else line.split()
        for _, line in lines
    ]
    columns = [COLUMN_OF.get(cell.strip().strip("#").strip().lower(), "") for cell in rows[0]]
    if "name" not in columns or not ((len(columns) > 1 and all(columns[:2])) or path.suffix.lower() == ".csv"):
        if len(columns) == 1 and columns[0] and len(lines) > 2:
            raise DataError(
                f"{path}, line {lines[0][0]}: {lines[0][1]!r} looks like a header; remove it, or if a class is called "
                "that, write the names as a JSON list"
            )
        return None
    entries = []
    for (number, line), row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(columns):
            raise DataError(
                f"{path}, line {number}: expected {len(columns)} columns as in line {lines[0][0]}: {line!r}"
            )
        cells = {column: cell.strip() for column, cell in zip(columns, row, strict=True) if column}
        color = cells.get("color") or (" ".join(cells[c] for c in "rgb") if {"r", "g", "b"} <= cells.keys() else None)
        entries.append(Entry(number, cells["name"], cells.get("id"), color))
    return entries


def from_lines(path: Path, lines: Sequence[tuple[int, str]]) -> list[Entry]:
    """Reads lines that all have one of :data:`FORMS`."""
    for form in FORMS:
        matches = [form.fullmatch(line) for _, line in lines]
        fitting = [match for match in matches if match]
        has_id, has_color = "id" in form.groupindex, form.groups > len(form.groupindex)
        if len(fitting) < len(lines):
            numbered = has_id and len(fitting) > 1 and [int(match["id"]) for match in fitting] == [*range(len(fitting))]
            if fitting and has_color != has_id and (has_color or numbered):
                number, line = lines[matches.index(None)]
                what = "colour, 'R G B name'," if has_color else "number"
                raise DataError(f"{path}, line {number}: some lines give a {what} and some do not: {line!r}")
            continue
        named = set(form.groupindex.values())
        return [
            Entry(
                number,
                match["name"],
                match["id"] if has_id else None,
                " ".join(text for place, text in enumerate(match.groups(), 1) if place not in named) or None,
            )
            for (number, _), match in zip(lines, fitting, strict=True)
        ]
    return []


def from_object(path: Path, content: Any) -> list[Entry]:
    """Reads the classes in the content of a JSON or YAML file."""
    wrong = DataError(
        f"{path}: expected a list of class names, or an object of names and colours, of ids and names, or of names and "
        "ids"
    )
    if isinstance(content, dict):
        keys = ("names", "classes", "categories", "labels", "id2label")
        group = next((key for key in keys if is_group(content, key)), None)
        if group is not None:
            entries = from_object(path, content[group])
            count = content.get("nc", len(entries))
            if not is_number(count) or int(count) != len(entries):
                raise DataError(f"{path}: nc does not say that there are {len(entries)} names; correct one of the two")
            return with_colors_of(path, entries, content)
        items = list(content.items())
        if all(is_color(value) for _, value in items):
            return [Entry(i, name, None, value) for i, (name, value) in enumerate(items, 1)]
        if all(is_number(key) and isinstance(value, str) for key, value in items):
            return [Entry(i, name, number) for i, (number, name) in enumerate(items, 1)]
        if all(is_number(value) for _, value in items):
            return [Entry(i, name, number) for i, (name, number) in enumerate(items, 1)]
        raise wrong
    if not isinstance(content, list):
        raise wrong
    if content and all(isinstance(item, dict) for item in content):
        entries = []
        for place, item in enumerate(content, start=1):
            cells = {COLUMN_OF.get(str(key).lower(), ""): value for key, value in item.items()}
            if not isinstance(cells.get("name"), str):
                raise DataError(f"{path}: entry {place} has no name")
            entries.append(Entry(place, cells["name"], cells.get("id"), cells.get("color")))
        return entries
    if not all(isinstance(item, str) for item in content):
        raise wrong
    return [Entry(place, name) for place, name in enumerate(content, start=1)]


def with_colors_of(path: Path, entries: list[Entry], content: dict[Any, Any]) -> list[Entry]:
    """Returns classes with the colours that an object lists beside them, in the order of their ids, if it does."""
    keys = ("colors", "colours", "palette", "color_map", "colormap")
    key = next((key for key in keys if content.get(key) is not None), None)
    if key is None or any(entry.color is not None for entry in entries):
        return entries
    colors = content[key]
    if not isinstance(colors, list) or len(colors) != len(entries):
        raise DataError(f"{path}: {key} must be a list of a colour [R, G, B] for each of the {len(entries)} names")
    if all(is_number(entry.number) for entry in entries):
        entries = sorted(entries, key=lambda entry: int(entry.number))
    return [entry._replace(color=color) for entry, color in zip(entries, colors, strict=True)]


def is_group(content: dict[Any, Any], key: str) -> bool:
    """Tells whether an object holds an object or a list under a key, and not a colour."""
    value = content.get(key)
    return isinstance(value, dict) or (isinstance(value, list) and not (is_color(value) and type(value[0]) is int))
