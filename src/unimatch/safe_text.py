"""Makes texts from files harmless for terminals and spreadsheets."""

import csv
import io
import logging
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, change colours, change the direction of writing, or cannot be encoded."""

FORMULA = ("=", "+", "-", "@", "\t")
"""How a cell begins that spreadsheets may run as a formula."""


def printable(text: str) -> str:
    r"""Returns a text with its control characters escaped; line breaks and tabs stay.

    >>> printable("red: \x1b[31m\nnext line")
    'red: \\x1b[31m\nnext line'
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(value: object) -> str:
    r"""Returns a value as one line of text, with control characters, line breaks and tabs escaped.

    >>> one_line("a\nb")
    'a\\nb'
    """
    return printable(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def to_type(*arguments: object) -> str:
    """Returns a command as one line to copy into a terminal, quoted for the shell of this system.

    >>> to_type("python", "-m", "unimatch.check", "dataset.root=my photos")
    "python -m unimatch.check 'dataset.root=my photos'"
    """
    texts = [str(argument) for argument in arguments]
    return one_line(subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Returns rows as CSV, with an apostrophe before texts that a spreadsheet might run as a formula.

    >>> csv_text([["=1+1", -1]]).strip()
    "'=1+1,-1"
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([to_cell(value) for value in row] for row in rows)
    return text.getvalue()


def to_cell(value: object) -> object:
    """Returns a value as :func:`csv_text` writes it."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "\\r")  # Python's writer does not quote it, and its reader refuses it
    return f"'{text}" if is_formula(text) else text


def from_cell(cell: str) -> str:
    """Returns the text that :func:`csv_text` wrote into a cell.

    >>> from_cell("'=1+1")
    '=1+1'
    """
    return cell[1:] if cell.startswith("'") and is_formula(cell[1:]) else cell


def is_formula(cell: str) -> bool:
    """Tells whether a cell's text begins like a formula, after any apostrophes."""
    return cell.lstrip("'").startswith(FORMULA)


def wrongly_separated(line: str) -> str:
    """Says, for a message, how a list separates paths, if a line seems to do it in another way; empty if not.

    >>> wrongly_separated("a.jpg,a.png"), wrongly_separated("a.jpg")
    ('; write a blank between paths, or a tab where names hold blanks, and no commas, quotes or backslashes', '')
    """
    if "\t" in line or (len(line.split()) <= 2 and not any(mark in line for mark in ",;\"'\\")):
        return ""
    return "; write a blank between paths, or a tab where names hold blanks, and no commas, quotes or backslashes"


def plain_record(record: logging.LogRecord) -> bool:
    """Escapes control characters in what is logged; a filter for the package's log that drops nothing."""
    record.msg, record.args = printable(record.getMessage()), None
    return True


logging.getLogger("unimatch").addFilter(plain_record)
