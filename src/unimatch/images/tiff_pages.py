"""Follows the chain of a TIFF's pages before a library does that would follow an endless one for ever."""

import struct
from typing import BinaryIO

MOST_PAGES = 4096
"""The most pages that are read, smaller copies included; images with a page for each band have a few hundred."""

SUB_IFDS = 330
"""The tag SubIFDs, which lists smaller copies of a page."""


def count_pages(file: BinaryIO) -> int:
    """Counts the pages of a TIFF, and the copies that they name.

    Args:
        file: the TIFF, at any position, which changes.

    Raises:
        ValueError: pages lead back to one another, or are more than :data:`MOST_PAGES`.
    """
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    is_big = read_number(file, order + "H") == 43
    if is_big:  # BigTIFF
        file.seek(8)
        count_form, entry_form, offset_form = order + "Q", order + "HHQ8x", order + "Q"
    else:
        count_form, entry_form, offset_form = order + "H", order + "HHI4x", order + "I"
    entry_size = struct.calcsize(entry_form)
    seen, copies, offset = set[int](), 0, read_number(file, offset_form)
    while offset:
        if offset in seen:
            raise ValueError("its pages lead back to one another")
        seen.add(offset)
        file.seek(offset)
        entries = read_number(file, count_form)
        table = file.read(min(entries, 2**16) * entry_size)
        whole = table[: len(table) // entry_size * entry_size]
        copies += sum(count for tag, _, count in struct.iter_unpack(entry_form, whole) if tag == SUB_IFDS)
        if len(seen) + copies > MOST_PAGES:
            raise ValueError(f"it has more than {MOST_PAGES} pages")
        offset = read_number(file, offset_form)
    return len(seen) + copies


def read_number(file: BinaryIO, form: str) -> int:
    """Reads a number in a format of :mod:`struct`; 0, which ends the chain, where the file is cut short."""
    content = file.read(struct.calcsize(form))
    return int(struct.unpack(form, content)[0]) if len(content) == struct.calcsize(form) else 0
