"""Looks at what an ONNX file holds, before onnxruntime reads it: the parts that can mean more than they are.

The file is a Protocol Buffers message: fields, each of a number and a length, one after the other.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

MOST_NODES = 30_000
"""Operations of a graph at most: the largest that unimatch writes have half as many; time grows with the square."""

GRAPH, FUNCTIONS, NODES = 7, 25, 1
"""Numbers of fields: of the model the graph and the functions, of the graph the operations."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Kinds of fields."""


def check_file(path: Path) -> None:
    """Refuses a file that holds functions, which may call one another 10 ** 9 times, or too many operations.

    Raises:
        ValueError: with the reason; or it is no such message.
        OSError: it cannot be read.
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
    r"""Yields the fields of a message between two places: number, and where what it holds begins and ends.

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
    """Returns the number that is written at a place, seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for place in range(start, min(stop, start + 10)):
        value |= (content[place] & 127) << 7 * (place - start)
        if content[place] < 128:
            return value, place + 1
    raise ValueError("it is cut short, or no ONNX")
