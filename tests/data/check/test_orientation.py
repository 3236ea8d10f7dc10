"""EXIF orientations, read from the header alone, and what they do to an image beside its mask."""

import numpy as np
import pytest
from PIL import Image

from helpers.cases import turned
from unimatch.data.check import orientation as module
from unimatch.data.check.orientation import orientation, size_mismatch, turned_alone

PHOTO = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path):
    """Writes a photo with an orientation, and returns its path."""

    def write(value, suffix=".jpg"):
        turned(value)(PHOTO, tmp_path / f"{value}{suffix}")
        return tmp_path / f"{value}{suffix}"

    return write


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_the_orientation_of_every_kind_is_read(photo, suffix):
    assert [orientation(photo(value, suffix)) for value in range(1, 9)] == [*range(1, 9)]


COMMENT = b"\xff\xfe\xff\xf0" + b"\xff\xda" * 0x7FF7  # which looks like the beginning of the pixels, all of it


@pytest.mark.parametrize("before", [COMMENT, b"\xff" + COMMENT, b"\xff\xe1\x00\x06http"])
def test_other_segments_and_fill_bytes_may_stand_before_exif(photo, before):
    content = (path := photo(6)).read_bytes()
    path.write_bytes(content[:2] + before + content[2:])
    assert orientation(path) == 6


def test_files_that_say_nothing_are_upright(tmp_path, monkeypatch):
    Image.fromarray(PHOTO).save(tmp_path / "plain.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff Exif")
    assert orientation(tmp_path / "plain.png") == orientation(tmp_path / "broken.jpg") == 1
    assert orientation(tmp_path / "gone.jpg") == 1
    Image.fromarray(PHOTO).save(tmp_path / "plain.jpg")
    monkeypatch.setattr(module, "open_image", lambda path: pytest.fail("a JPEG without EXIF was opened"))
    assert orientation(tmp_path / "plain.jpg") == 1


@pytest.mark.parametrize(
    ("image", "mask", "size", "noted"),
    [
        (1, 1, (6, 8), False),
        (3, 3, (6, 8), False),
        (3, 1, (6, 8), True),
        (6, 6, (8, 6), False),
        (6, 1, (8, 6), False),  # had the mask been drawn on the image as stored, it would have another size
        (6, 1, (8, 8), True),
        (6, 8, (8, 6), True),  # both lie on their side: the size says nothing
    ],
)
def test_what_is_turned_alone_is_noted_unless_the_size_shows_that_it_is_right(photo, image, mask, size, noted):
    found = [*turned_alone([photo(image)], mask, size)]
    assert [kind for kind, _ in found] == ["turned alone"] * noted
    assert all(f"EXIF orientation is {image} and its mask's {mask}" in text for _, text in found)


def test_sizes_that_do_not_fit_are_explained_by_what_turned_them(photo):
    plain = "m.png: the mask is 8 x 6 pixels and its image {}; they must be equal"
    assert size_mismatch("m.png", (6, 8), (5, 8), [photo(6)]) == plain.format("8 x 5")
    text = size_mismatch("m.png", (6, 8), (8, 6), [photo(1), photo(6)])
    assert text.startswith(plain.format("6 x 8"))
    assert "turned by its EXIF orientation 6; dataset.exif=stored leaves it" in text
    assert "would fit if one were turned" in size_mismatch("m.png", (6, 8), (8, 6), [photo(3)])
