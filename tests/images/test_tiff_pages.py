"""Chains of a TIFF's pages that have no end."""

import io
import struct
import time

import numpy as np
import pytest

from unimatch import DataError
from unimatch.images.rasters import pixel_count, read_stored
from unimatch.images.tiff_pages import MOST_PAGES, count_pages

tifffile = pytest.importorskip("tifffile")
PAGE = np.arange(12, dtype=np.uint16).reshape(3, 4)


def written(pages=1, copies=0, **options):
    """A TIFF of some pages, the first with smaller copies of it."""
    content = io.BytesIO()
    with tifffile.TiffWriter(content, **options) as writer:
        for page in range(pages):
            writer.write(PAGE, subifds=copies if page == 0 else 0, metadata=None, contiguous=False)
            for _ in range(copies if page == 0 else 0):
                writer.write(PAGE[::2, ::2], subfiletype=1, metadata=None)
    return bytearray(content.getvalue())


def leading_to(content, page, to):
    """The same TIFF, its pages' chain going on from ``page`` at ``to``; classic, little-endian."""
    offsets, place = [], 4
    while offset := struct.unpack_from("<I", content, place)[0]:
        offsets.append(offset)
        place = offset + 2 + 12 * struct.unpack_from("<H", content, offset)[0]
    at = offsets[page] + 2 + 12 * struct.unpack_from("<H", content, offsets[page])[0]
    struct.pack_into("<I", content, at, offsets[to])
    return content


@pytest.mark.parametrize("pages", [1, 2, 7])
@pytest.mark.parametrize("copies", [0, 3])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_pages_and_copies_are_counted(pages, copies, bigtiff, byteorder):
    content = written(pages, copies, bigtiff=bigtiff, byteorder=byteorder)
    assert count_pages(io.BytesIO(content)) == pages + copies


@pytest.mark.parametrize(("pages", "last", "to"), [(1, 0, 0), (2, 1, 0), (3, 2, 1), (150, 149, 120)])
def test_pages_that_lead_back_to_one_another_are_refused_at_once(tmp_path, pages, last, to):
    path = tmp_path / "a.tif"
    path.write_bytes(leading_to(written(pages), last, to))
    started = time.monotonic()
    with pytest.raises(DataError, match=r"a\.tif: cannot be read as TIFF \(its pages lead back to one another\)"):
        read_stored(path)
    assert time.monotonic() - started < 10  # and not for ever


def test_more_pages_than_any_image_has_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    monkeypatch.setattr("unimatch.images.tiff_pages.MOST_PAGES", 5)
    for pages, copies in ((6, 0), (1, 5)):
        path.write_bytes(written(pages, copies))
        with pytest.raises(DataError, match="it has more than 5 pages"):
            read_stored(path)
    path.write_bytes(written(2, 3))
    assert read_stored(path).shape == (3, 4, 2)


def test_a_table_that_names_billions_of_copies_is_refused():
    content = written(1, 2)
    place = content.index(struct.pack("<HHI", 330, 13, 2))
    struct.pack_into("<I", content, place + 4, 2**31)
    with pytest.raises(ValueError, match=f"more than {MOST_PAGES} pages"):
        count_pages(io.BytesIO(content))


@pytest.mark.parametrize("kept", range(0, 40, 3))
def test_a_file_that_ends_early_ends_the_count(kept):
    assert count_pages(io.BytesIO(written(3)[:kept])) <= 3


def test_a_size_that_is_no_number_is_no_size(tmp_path):
    path = tmp_path / "a.tif"
    tags = [(0, 1, 3), (256, 2, 4), (257, 3, 3)]  # the width as text
    entries = b"".join(struct.pack("<HHI4s", tag, kind, 1, struct.pack("<I", value)) for tag, kind, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    assert pixel_count(path) == 0
