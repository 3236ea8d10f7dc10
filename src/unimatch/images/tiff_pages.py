"""Follows the chain of a TIFF's pages before a library does, which would not notice that it has no end."""

import struct
from typing import BinaryIO

MOST_PAGES = 4096
"""Pages that are read, smaller copies of them included: bands in pages are a few hundred."""

COPIES = 330
"""The tag that names smaller copies of a page."""


def count_pages(file: BinaryIO) -> int:
    """Counts the pages of a TIFF, and the copies that they name.

    Args:
        file: the TIFF, from its beginning; is left anywhere.

    Raises:
        ValueError: pages lead back to one another, or are more than :data:`MOST_PAGES`.
    """
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    big = unpack(file, order + "H") == 43
    if big:
        file.seek(8)
    number, entry = (order + "Q", 20) if big else (order + "I", 12)
    seen, copies, offset = set[int](), 0, unpack(file, number)
    while offset:
        if offset in seen:
            raise ValueError("its pages lead back to one another")
        seen.add(offset)
        file.seek(offset)
        entries = unpack(file, order + ("Q" if big else "H"))
        table = file.read(min(entries, 2**16) * entry)
        for tag, _, count in struct.iter_unpack(
            order + ("HHQ8x" if big else "HHI4x"), table[: len(table) // entry * entry]
        ):
            copies += count if tag == COPIES else 0
        if len(seen) + copies > MOST_PAGES:
            raise ValueError(f"it has more than {MOST_PAGES} pages")
        offset = unpack(file, number)
    return len(seen) + copies


def unpack(file: BinaryIO, form: str) -> int:
    """Reads a number; 0, with which a chain ends, where the file ends before."""
    content = file.read(struct.calcsize(form))
    return int(struct.unpack(form, content)[0]) if len(content) == struct.calcsize(form) else 0
