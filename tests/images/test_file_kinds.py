import re
import struct

import numpy as np
import pytest
from PIL import Image

from unimatch.errors import DataError
from unimatch.images.arrays import read_colors, read_ids, read_image, read_mask
from unimatch.images.file_kinds import FORMATS, why_unreadable
from unimatch.labelling.export_files import open_picture


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is a HEIC photo, as phones take them); convert it"),
        (b"\0\0\0\x14ftypqt  ", "it is a video); take its frames"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a pointer of Git LFS); `git lfs pull`"),
        (
            b"\n<!doctype html><title>404</title>",
            "it is a web page, as a failed download leaves it); download it",
        ),
        (b"\0" * 3000, "it holds zeros alone, as a copy that was cut short leaves it); copy it again"),
        (b"%PDF-1.7", "it is a PDF); convert it"),
    ],
)
def test_what_lies_in_the_place_of_an_image_is_called_by_its_name(tmp_path, content, told):
    path = tmp_path / "IMG_1.jpg"
    path.write_bytes(content)
    for read in (read_image, read_mask, lambda path: open_picture(path.read_bytes(), str(path))):
        with pytest.raises(DataError, match=re.escape(told)):
            read(path)


def test_what_nobody_knows_is_compared_with_what_is_read():
    why, remedy = why_unreadable(b"of no kind")
    assert why == f"none of {', '.join(FORMATS)}"
    assert remedy == "repair or remove it"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("largest", [1, 255, 65535])
def test_a_tiff_whose_palette_goes_to_255_has_its_colours(tmp_path, order, largest):
    """The file is written by hand: tags, palette, four pixels."""
    levels = np.zeros((3, 256), int)
    levels[:, :4] = [[0, largest, 0, largest], [0, 0, largest, largest], [largest, 0, 0, 0]]
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 3), (273, 4, 1, 2000)]
    tags += [(277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 4), (320, 3, 768, 200)]
    content = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags))
    for tag, kind, count, value in tags:
        content += struct.pack(order + ("HHIH2x" if (kind, count) == (3, 1) else "HHII"), tag, kind, count, value)
    content = content.ljust(200, b"\0") + struct.pack(order + "768H", *levels.ravel())
    file = tmp_path / "palette.tif"
    file.write_bytes(content.ljust(2000, b"\0") + b"\0\1\2\3")
    assert read_mask(file).tolist() == [[0, 1], [2, 3]]
    level = largest if largest < 256 else 255
    assert read_image(file).tolist() == [[[0, 0, level], [level, 0, 0]], [[0, level, 0], [level, level, 0]]]
    assert read_ids(file).palette[:6] == bytes([0, 0, level, level, 0, 0])
    assert (read_colors(file).values == read_image(file)).all()


def spoiled(path, content, share):
    """Writes a file whose last bytes have become zeros, as a copy does that has its length before its content."""
    kept = int(len(content) * share)
    path.write_bytes(content[:kept] + bytes(len(content) - kept))


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_a_png_whose_end_became_zeros_is_refused(tmp_path, share):
    """Pillow decodes the zeros: the lower rows of the mask would be class 0."""
    path = tmp_path / "mask.png"
    ids = (np.arange(200)[:, None] // 9 + np.arange(300) // 7) % 4 + 1
    Image.fromarray(ids.astype(np.uint8)).save(path)
    assert read_ids(path).values.min() == 1
    spoiled(path, path.read_bytes(), share)
    for read in (read_image, read_ids, read_colors):
        with pytest.raises(DataError, match=r"mask\.png: is damaged, as a checksum in it says; .*copy it again"):
            read(path)


def test_a_png_with_a_hole_is_refused_and_one_without_its_end_is_read(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((90, 90), 3, np.uint8)).save(path, compress_level=0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-12])
    assert (read_mask(path) == 3).all()
    path.write_bytes(whole[:4000] + bytes(500) + whole[4500:])
    with pytest.raises(DataError, match=r"a\.png: is damaged"):
        read_mask(path)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_end_became_zeros_is_refused(tmp_path, progressive):
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (18, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95, progressive=progressive)
    whole, pixels = path.read_bytes(), read_image(path)
    path.write_bytes(whole + bytes(99))
    assert (read_image(path) == pixels).all(), "zeros behind the end do no harm"
    spoiled(path, whole, 0.7)
    with pytest.raises(DataError, match=r"a\.jpg: ends in zeros before its pixels do, as a copy .*; copy it again"):
        read_image(path)
