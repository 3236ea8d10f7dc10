import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unimatch.labelling.run_lengths import (
    columns_of,
    counts_of,
    pixels_of,
    read_brush,
    read_coco_text,
    read_pairs,
    write_brush,
)

pixels = st.lists(st.booleans(), min_size=1, max_size=60)


@given(pixels)
def test_run_lengths_give_their_pixels_again(row):
    flat = np.array(row)
    counts = counts_of(flat)
    assert pixels_of(counts, flat.size).tolist() == row
    slow, value, run = [], False, 0
    for pixel in row:
        if pixel != value:
            slow.append(run)
            value, run = pixel, 0
        run += 1
    assert counts.tolist() == [*slow, run]


def slow_coco_text(text):
    """As the format's authors decode it: one character after the other."""
    counts, at = [], 0
    while at < len(text):
        number = shift = 0
        more = True
        while more:
            code = ord(text[at]) - 48
            number |= (code & 31) << shift
            more = bool(code & 32)
            at, shift = at + 1, shift + 5
            if not more and code & 16:
                number |= -1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
    return counts


def coco_text(counts):
    text = ""
    for i, count in enumerate(counts):
        number = count - (counts[i - 2] if i > 2 else 0)
        more = True
        while more:
            code, number = number & 31, number >> 5
            more = number != (-1 if code & 16 else 0)
            text += chr((code | (32 if more else 0)) + 48)
    return text


@given(st.lists(st.integers(0, 2**24), max_size=12))
def test_compressed_coco_text_is_read_as_by_a_slow_loop(counts):
    text = coco_text(counts)
    assert slow_coco_text(text) == counts
    assert read_coco_text(text).tolist() == counts


@given(st.integers(1, 9), pixels)
def test_compressed_coco_text_is_that_of_pycocotools(height, row):
    rle = pytest.importorskip("pycocotools.mask")
    mask = np.asfortranarray(np.resize(np.array(row, np.uint8), (height, len(row))))
    text = rle.encode(mask)["counts"].decode()
    assert pixels_of(read_coco_text(text), mask.size).tolist() == mask.ravel(order="F").tolist()


@given(pixels)
def test_brush_strokes_give_their_pixels_again(row):
    code = np.array(write_brush(np.array(row)), np.uint8)
    assert read_brush(code, len(row)).tolist() == row


def test_long_brush_strokes_are_cut_into_runs_of_16_bits():
    flat = np.zeros(70_000, bool)
    flat[100:50_000] = True
    assert (read_brush(np.array(write_brush(flat), np.uint8), flat.size) == flat).all()


def test_brush_strokes_of_single_values_of_fewer_bits():
    """Written by hand: four pixels, of whose alphas the second and the last are set."""
    values = [1, 2, 3, 0, 0, 0, 0, 5, 0, 0, 0, 0, 9, 9, 9, 9]
    bits = f"{16:032b}{4 - 1:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "0" + "01" + f"{12 - 1:04b}" + "".join(f"{value:04b}" for value in values[:12])
    bits += "1" + "00" + f"{4 - 1:03b}" + f"{9:04b}"
    bits += "0" * (-len(bits) % 8)
    code = np.array([int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], np.uint8)
    assert read_brush(code, 4).tolist() == [False, True, False, True]


@given(pixels)
def test_pairs_of_starts_and_lengths(row):
    runs, i = [], 0
    while i < len(row):
        start = i
        while i < len(row) and row[i]:
            i += 1
        if i > start:
            runs += [start + 1, i - start]
        i += 1
    text = " ".join(map(str, runs))
    assert pixels_of(read_pairs(text, len(row)), len(row)).tolist() == row


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pixels_of(np.array([3, 2]), 4), "give 5 pixels and the image has 4"),
        (lambda: pixels_of(np.array([5, -1]), 4), "give 4 pixels"),
        (lambda: pixels_of(np.array([2**62, 2**62, 2**62, 2**62, 4]), 4), "the image has 4"),
        (lambda: read_coco_text("5~"), "no compressed COCO text"),
        (lambda: read_coco_text("5P"), "no compressed COCO text"),
        (lambda: read_coco_text("P" * 9 + "0"), "more than 45 bits"),
        (lambda: read_brush(np.array([0, 0], np.uint8), 1), "not those of an image of 1 pixels"),
        (lambda: read_brush(np.array(write_brush(np.ones(9, bool))[:-2], np.uint8), 9), "cut short"),
        (lambda: read_brush(np.array(write_brush(np.ones(9, bool)), np.uint8), 10), "not those of an image of 10"),
        (lambda: read_pairs("1 2 3", 9), "no pairs"),
        (lambda: read_pairs("1 x", 9), "no numbers"),
        (lambda: read_pairs("8 3", 9), "lead beyond the 9 pixels"),
        (lambda: read_pairs("1 5 3 2", 9), "its run 3 2 overlaps the one before it"),
        (lambda: read_pairs("5 1 1 2", 9), "its run 1 2 overlaps the one before it or lies before it"),
        (lambda: read_pairs("0 2", 9), "lead beyond"),
    ],
)
def test_broken_run_lengths_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_only_the_columns_that_have_set_pixels_are_made(share):
    rng = np.random.default_rng(3)
    for height, width in ((1, 7), (5, 1), (4, 6), (7, 9)):
        mask = np.zeros((height, width), bool)
        first, last = sorted(rng.integers(0, width + 1, 2))
        mask[:, first:last] = rng.random((height, last - first)) < share
        left, columns = columns_of(counts_of(mask.ravel(order="F")), width, height)
        whole = np.zeros_like(mask)
        whole[:, left : left + columns.shape[1]] = columns
        assert (whole == mask).all()
        used = np.flatnonzero(mask.any(axis=0))
        assert columns.shape[1] == (used[-1] - used[0] + 1 if used.size else 0)
    with pytest.raises(ValueError, match="give 5 pixels and the image has 4"):
        columns_of(np.array([3, 2]), 2, 2)
