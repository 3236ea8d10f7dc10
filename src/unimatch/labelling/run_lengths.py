"""Reads and writes run-length encodings: COCO's text, Label Studio's bits, Kaggle's pairs of starts and lengths.

Run lengths are arrays of how many pixels are 0, then how many are 1, then 0 again, and so on.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

LENGTH_WIDTHS = (3, 4, 8, 16)
"""Bits for the length of a run; Label Studio's encoder chooses one of these for each run."""


def counts_of(flat: NDArray[np.bool_]) -> Counts:
    """Returns the run lengths of a row of pixels.

    >>> counts_of(np.array([1, 1, 0, 1], bool)).tolist()
    [0, 2, 1, 1]
    """
    changes = np.flatnonzero(np.diff(flat.view(np.uint8))) + 1
    counts = np.diff(np.concatenate(([0], changes, [flat.size])))
    return np.concatenate(([0], counts)) if flat.size and flat[0] else counts


def pixels_of(counts: Counts, total: int) -> NDArray[np.bool_]:
    """Returns the row of pixels with these run lengths.

    Raises:
        ValueError: a length is negative, or they do not add up to the total.

    >>> pixels_of(np.array([0, 2, 1, 1]), 4).astype(int).tolist()
    [1, 1, 0, 1]
    """
    check_total(counts, total)
    return np.repeat(np.arange(counts.size) % 2 == 1, counts)


def check_total(counts: Counts, total: int) -> None:
    """Checks that run lengths are those of an image of ``total`` pixels.

    Raises:
        ValueError: a length is negative, or they do not add up to the total.
    """
    if (counts.size and (counts.min() < 0 or counts.max() > total)) or counts.sum() != total:
        raise ValueError(f"its run lengths give {counts.sum()} pixels and the image has {total}")


def columns_of(counts: Counts, width: int, height: int) -> tuple[int, NDArray[np.bool_]]:
    """Returns the columns between the first and the last set pixel of run lengths that go down an image's columns.

    An object takes time for the columns it covers only: an image may have thousands of small ones.

    Returns:
        The number of the first column, and (height, columns) pixels.

    Raises:
        ValueError: as :func:`pixels_of`.

    >>> columns_of(np.array([5, 2, 2]), 3, 3)[0]
    1
    """
    check_total(counts, width * height)
    full = np.flatnonzero(counts[1::2])
    if not full.size:
        return 0, np.zeros((height, 0), bool)
    first, last = 2 * int(full[0]) + 1, 2 * int(full[-1]) + 1
    start, stop = int(counts[:first].sum()), int(counts[: last + 1].sum())
    left, right = start // height, -(-stop // height)
    inner = np.concatenate(([start - left * height], counts[first : last + 1], [right * height - stop]))
    return left, pixels_of(inner, (right - left) * height).reshape(-1, height).T


def read_coco_text(text: str) -> Counts:
    """Reads run lengths from COCO's compressed form.

    Each character holds five bits of a number, the lowest first, and a sixth bit that says whether more follow; the
    last five are signed. From the fourth number on, the difference from the last but one is stored.

    Raises:
        ValueError: a character is not of this code, or the last number is cut short.

    >>> read_coco_text("52203").tolist()
    [5, 2, 2, 2, 5]
    """
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    if codes.size and (codes.min() < 0 or codes.max() > 63 or codes[-1] & 32):
        raise ValueError("its run lengths are no compressed COCO text")
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
    if (ends - starts).max(initial=0) > 8:
        raise ValueError("its run lengths hold a number of more than 45 bits")
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, ends - starts + 1))
    numbers = np.add.reduceat((codes & 31) << shifts, starts) if ends.size else codes
    numbers -= np.where(codes[ends] & 16, 32, 0) << shifts[ends]
    # Differences from the last but one are undone by two running sums; the first number stands alone.
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def read_brush(code: NDArray[np.uint8], pixels: int) -> NDArray[np.bool_]:
    """Reads Label Studio's brush strokes, in the order of the rows.

    The bits are: 32 for the number of values, 5 for their width less one, four times 4 for the possible widths of run
    lengths less one; then the runs. A run has 1 bit that says whether one value is repeated, 2 bits that choose the
    width of its length, the length less one, and the value or values. Values are red, green, blue and alpha of each
    pixel.

    Args:
        code: the bytes.
        pixels: how many pixels the image has.

    Raises:
        ValueError: the bits are cut short, or of another image.
    """
    bits = np.unpackbits(code)
    text = (bits + 48).tobytes()  # int() reads a number's bits from here

    def number(at: int, width: int) -> int:
        return int(text[at : at + width], 2)

    if bits.size < 53 or (total := number(0, 32)) != 4 * pixels or (width := number(32, 5) + 1) > 8:
        raise ValueError(f"its brush strokes are not those of an image of {pixels} pixels")
    sizes = [number(37 + 4 * i, 4) + 1 for i in range(4)]
    values, done, at = np.zeros(total, np.uint8), 0, 53
    while done < total:
        size = sizes[number(at + 1, 2)] if at + 3 <= bits.size else 0
        length = number(at + 3, size) + 1 if size else 0
        repeated = bits[at] if size else 0
        at += 3 + size
        end = at + width * (1 if repeated else length)
        if not length or end > bits.size or done + length > total:
            raise ValueError("its brush strokes are cut short")
        if repeated:
            values[done : done + length] = number(at, width)
        else:
            single = bits[at:end].reshape(length, width)
            values[done : done + length] = np.packbits(single, axis=1)[:, 0] >> (8 - width)
        done, at = done + length, end
    return values[3::4] > 0


def write_brush(flat: NDArray[np.bool_]) -> list[int]:
    """Encodes a row of pixels as Label Studio's brush strokes: all four channels of a set pixel are 255."""
    counts = 4 * counts_of(flat)
    values = np.arange(counts.size) % 2 * 255
    pieces = -(-counts // 2**16)  # a run's length has at most 16 bits
    lengths = np.full(pieces.sum(), 2**16)
    lengths[np.cumsum(pieces)[pieces > 0] - 1] = (counts - (pieces - 1) * 2**16)[pieces > 0]
    bits = np.concatenate(
        [
            to_bits(np.array([4 * flat.size]), 32),
            to_bits(np.array([7]), 5),
            to_bits(np.array(LENGTH_WIDTHS) - 1, 4),
            np.concatenate(
                [
                    np.ones((lengths.size, 3), np.uint8).reshape(-1, 3),  # repeated; the fourth width
                    to_bits(lengths - 1, 16).reshape(-1, 16),
                    to_bits(np.repeat(values, pieces), 8).reshape(-1, 8),
                ],
                axis=1,
            ).ravel(),
        ]
    )
    return np.packbits(bits).tolist()


def to_bits(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Returns the bits of the numbers one after the other, the highest bit of each first."""
    return ((numbers[:, None] >> np.arange(width - 1, -1, -1)) & 1).astype(np.uint8).ravel()


def read_pairs(text: str, total: int) -> Counts:
    """Reads run lengths from Kaggle's form, ``START LENGTH START LENGTH ...`` with starts from 1 up.

    Raises:
        ValueError: the text is malformed, or its runs overlap, are not ascending, or lead beyond the image.

    >>> read_pairs("1 2 4 1", 4).tolist()
    [0, 2, 1, 1, 0]
    """
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError("its run lengths are no numbers") from error
    if numbers.size % 2:
        raise ValueError("its run lengths are no pairs of a start and a length")
    starts, ends = numbers[::2] - 1, numbers[::2] - 1 + numbers[1::2]
    edges = np.concatenate(([0], np.stack([starts, ends], axis=1).ravel(), [total]))
    if edges.min() < 0 or edges.max() > total:
        raise ValueError(f"its runs lead beyond the {total} pixels of the image")
    counts = np.diff(edges)
    if (counts < 0).any():
        at = 2 * (int((counts < 0).argmax()) // 2)
        raise ValueError(
            f"its run {numbers[at]} {numbers[at + 1]} overlaps the one before it or lies before it; starts must count "
            "from the image's first pixel"
        )
    return counts
