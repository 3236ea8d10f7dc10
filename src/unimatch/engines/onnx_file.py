"""Checks an ONNX file before onnxruntime reads it: a small file can stand for endless work.

The file is a Protocol Buffers message: a sequence of fields, each with a number and a length.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

MOST_NODES = 30_000
"""The most operations that a graph may have: the largest that unimatch writes has half as many. Opening a graph takes
time that grows with their square."""

GRAPH, FUNCTIONS = 7, 25
"""Field numbers of a model's graph and functions."""
NODES = 1
"""Field number of a graph's operations."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Kinds of fields, by the three lowest bits of their key."""


def check_file(path: Path) -> None:
    """Refuses a file with too many operations, or with functions, a few of which can call each other 10 ** 9 times.

    Raises:
        ValueError: with the reason, or because it is not an ONNX file.
        OSError: the file cannot be read.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    nodes = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for number, (start, stop) in fields(content, 0, len(content)):
            if number == FUNCTIONS:
                raise ValueError("it holds functions, which unimatch writes none of")
            if number == GRAPH:
                nodes += sum(inner == NODES for inner, _ in fields(content, start, stop))
    if nodes > MOST_NODES:
        raise ValueError(f"{nodes:,} operations, and at most {MOST_NODES:,} may be")


def fields(content: bytes | mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, tuple[int, int]]]:
    r"""Yields each field of the message at ``content[start:stop]``: its number, and where its value begins and ends.

    Raises:
        ValueError: it is not such a message.

    >>> list(fields(b"\x08\x96\x01\x12\x02ab", 0, 7))
    [(1, (1, 3)), (2, (5, 7))]
    """
    while start < stop:
        key, start = varint(content, start, stop)
        kind = key & 7
        if kind == VARINT:
            _, end = varint(content, start, stop)
        elif kind == BYTES:
            length, start = varint(content, start, stop)
            end = start + length
        elif kind in (FIXED32, FIXED64):
            end = start + (4 if kind == FIXED32 else 8)
        else:
            raise ValueError(f"it is no ONNX (a field of kind {kind})")
        if end > stop:
            raise ValueError("it is cut short, or no ONNX")
        yield key >> 3, (start, end)
        start = end


def varint(content: bytes | mmap.mmap, start: int, stop: int) -> tuple[int, int]:
    """Reads a number at ``start``, seven bits a byte, the lowest first; returns it and where it ends."""
    value = 0
    for place in range(start, min(stop, start + 10)):
        value |= (content[place] & 127) << 7 * (place - start)
        if content[place] < 128:
            return value, place + 1
    raise ValueError("it is cut short, or no ONNX")
