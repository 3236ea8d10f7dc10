import errno
import os

import numpy as np
import pytest
from PIL import Image

from unimatch import DataError, disk
from unimatch.images import read_image, read_mask


@pytest.fixture
def image(tmp_path):
    Image.fromarray(np.full((4, 5, 3), 7, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


class Failing:
    """A file system that fails some times, then works."""

    def __init__(self, monkeypatch, times, error):
        self.times, self.error, self.tries, self.slept = times, error, 0, []
        opened = disk.Path.open
        failing = self

        def open_or_fail(path, *arguments, **options):
            failing.tries += 1
            if failing.tries <= failing.times:
                raise OSError(failing.error, os.strerror(failing.error))
            return opened(path, *arguments, **options)

        monkeypatch.setattr(disk.Path, "open", open_or_fail)
        monkeypatch.setattr(disk.time, "sleep", self.slept.append)


@pytest.mark.parametrize("times", [1, 3])
def test_a_failure_that_passes_is_tried_again_with_longer_waits(times, image, monkeypatch, caplog):
    failing = Failing(monkeypatch, times, errno.EIO)
    assert (read_image(image) == 7).all()
    assert failing.tries == times + 1
    assert failing.slept == list(disk.WAITS[:times])
    assert "a.png: Input/output error; trying again in 0.2 s" in caplog.text


def test_a_failure_that_stays_is_an_error_of_the_data_after_a_limit(image, monkeypatch):
    failing = Failing(monkeypatch, 99, errno.ESTALE)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image.*[Ss]tale"):
        read_image(image)
    assert failing.tries == len(disk.WAITS) + 1


@pytest.mark.parametrize("error", [errno.ENOENT, errno.EACCES])
def test_what_will_not_pass_is_not_tried_again(error, image, monkeypatch):
    failing = Failing(monkeypatch, 99, error)
    with pytest.raises(DataError, match=r"a\.png"):
        read_mask(image)
    assert (failing.tries, failing.slept) == (1, [])


def test_a_file_that_no_image_has_the_size_of_is_not_read_whole(image, monkeypatch):
    monkeypatch.setattr(disk, "LIMIT", 50)
    with pytest.raises(DataError, match="larger than"):
        read_image(image)


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch, sync):
    synced = []
    monkeypatch.setattr(disk.os, "fsync", synced.append)
    path = tmp_path / "file"
    path.write_text("before")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        disk.replace_file(path, fail, sync=sync)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    disk.replace_file(path, lambda file: file.write(b"after"), sync=sync)
    assert path.read_text() == "after"
    assert len(synced) == 2 * sync  # the file and its folder


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    disk.write_output(tmp_path / "new" / "a.txt", "é")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é".encode()
    with pytest.raises(DataError, match=r"a\.txt/b: cannot be written"):
        disk.write_output(tmp_path / "new" / "a.txt" / "b", "x")
