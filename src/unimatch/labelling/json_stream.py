"""Reads a long JSON file element by element, so that it is never in memory as a whole."""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.export_files import opened

PIECE = 2**22
"""Bytes read at once."""

LARGEST_ELEMENT = 2**28
"""The most characters that one element may have."""

SEPARATORS = re.compile(r"[\s,:]*")


def elements(member: Member) -> Iterator[tuple[str, Any]]:
    """Yields the elements of the lists in a JSON object as (key, element), and its other values as (key, value).

    A list at the top has the key ``""``.

    Raises:
        DataError: the file is cut short, no JSON, or has an element that is too long.
    """
    with opened(member) as file:
        reader = Reader(file, member.where)
        if reader.take("["):
            yield from reader.list_elements("")
        elif reader.take("{"):
            while not reader.take("}"):
                key = reader.value()
                if reader.take("["):
                    yield from reader.list_elements(key)
                else:
                    yield key, reader.value()
        else:
            reader.fail("begins with neither { nor [")


class Reader:
    """Reads a JSON file through a window on its text.

    Args:
        file: the file, opened in binary mode.
        where: its name in messages.
    """

    def __init__(self, file: Any, where: str) -> None:
        self.file, self.where = file, where
        self.text, self.place, self.ended = "", 0, False
        self.rest = b""
        self.decode = json.JSONDecoder().raw_decode
        self.more()
        self.text = self.text.removeprefix("\ufeff")

    def more(self) -> bool:
        """Drops the text before the current position and adds the next piece; tells whether there was one.

        A piece is at least as long as the text that is left, so that long elements take few steps.
        """
        piece = self.rest + self.file.read(max(PIECE, len(self.text) - self.place))
        self.ended = len(piece) == len(self.rest)
        try:
            text = piece.decode()
            self.rest = b""
        except UnicodeDecodeError as error:  # a character may be cut at the end of a piece
            if self.ended or error.start < len(piece) - 4:
                self.fail(f"is no UTF-8 text ({error})")
            text, self.rest = piece[: error.start].decode(), piece[error.start :]
        self.text, self.place = self.text[self.place :] + text, 0
        if len(self.text) > LARGEST_ELEMENT + PIECE:
            self.fail(f"has an element of more than {LARGEST_ELEMENT} characters")
        return not self.ended

    def take(self, mark: str) -> bool:
        """Skips separators, and the mark if it comes next; tells whether it did."""
        while True:
            found = SEPARATORS.match(self.text, self.place)
            self.place = found.end() if found else self.place
            if self.place < len(self.text):
                break
            if not self.more():
                self.fail("is cut short")
        if self.text[self.place] != mark:
            return False
        self.place += 1
        return True

    def value(self) -> Any:
        """Reads the value that comes next."""
        while True:
            try:
                value, end = self.decode(self.text, self.place)
            except (ValueError, RecursionError) as error:  # a number of too many digits is a ValueError
                if not self.more():
                    self.fail(f"is cut short or no JSON ({error})")
            else:
                length, known = end - self.place, end + 2 < len(self.text)
                if known or not self.more():  # a number may go on in the next piece, as "1" in "1e-5"
                    self.place += length
                    return value

    def list_elements(self, key: str) -> Iterator[tuple[str, Any]]:
        """Yields the elements of a list whose opening bracket was read, with its key."""
        while not self.take("]"):
            yield key, self.value()

    def fail(self, what: str) -> NoReturn:
        """Raises an error with the file's name.

        Raises:
            DataError: always.
        """
        raise DataError(f"{self.where}: {what}; export it again")
