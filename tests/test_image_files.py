import re

import pytest

from unimatch.errors import DataError
from unimatch.image_files import FORMATS, not_read
from unimatch.images import read_image, read_mask
from unimatch.labelling.source import open_picture


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
    why, remedy = not_read(b"of no kind")
    assert why == f"none of {', '.join(FORMATS)}"
    assert remedy == "repair or remove it"
