import errno
import os

import numpy as np
import pytest
from PIL import Image

from unimatch import DataError, read_file
from unimatch.errors import ProcessError
from unimatch.images.arrays import read_image, read_mask
from unimatch.images.rasters import read_stored


@pytest.fixture
def image(tmp_path):
    Image.fromarray(np.full((4, 5, 3), 7, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


class Failing:
    """A file system that fails some times, then works."""

    def __init__(self, monkeypatch, times, error):
        self.times, self.error, self.tries, self.slept = times, error, 0, []
        opened = read_file.Path.open
        failing = self

        def open_or_fail(path, *arguments, **options):
            failing.tries += 1
            if failing.tries <= failing.times:
                raise OSError(failing.error, os.strerror(failing.error))
            return opened(path, *arguments, **options)

        monkeypatch.setattr(read_file.Path, "open", open_or_fail)
        monkeypatch.setattr(read_file.time, "sleep", self.slept.append)


@pytest.mark.parametrize("times", [1, 3])
def test_a_failure_that_passes_is_tried_again_with_longer_waits(times, image, monkeypatch, caplog):
    failing = Failing(monkeypatch, times, errno.EIO)
    assert (read_image(image) == 7).all()
    assert failing.tries == times + 1
    assert failing.slept == list(read_file.RETRY_WAITS[:times])
    assert "a.png: Input/output error; trying again in 0.2 s" in caplog.text


def test_a_failure_that_stays_is_an_error_of_the_data_after_a_limit(image, monkeypatch):
    failing = Failing(monkeypatch, 99, errno.ESTALE)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image.*[Ss]tale"):
        read_image(image)
    assert failing.tries == len(read_file.RETRY_WAITS) + 1


@pytest.mark.parametrize("error", [errno.ENOENT, errno.EACCES])
def test_what_will_not_pass_is_not_tried_again(error, image, monkeypatch):
    failing = Failing(monkeypatch, 99, error)
    with pytest.raises(DataError, match=r"a\.png"):
        read_mask(image)
    assert (failing.tries, failing.slept) == (1, [])


def test_a_file_that_no_image_has_the_size_of_is_not_read_whole(image, monkeypatch):
    monkeypatch.setattr(read_file, "LIMIT", 50)
    with pytest.raises(DataError, match="larger than"):
        read_image(image)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("read", [read_image, read_mask, read_stored])
def test_too_many_open_files_are_no_fault_of_the_image(error, read, image, monkeypatch):
    failing = Failing(monkeypatch, 99, error)
    with pytest.raises(ProcessError, match=r"a\.png: cannot be read, as more files are open.*ulimit -n"):
        read(image)
    assert (failing.tries, failing.slept) == (1, [])


def test_a_text_without_end_is_not_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntw\xf6")
    assert read_file.read_text(tmp_path / "a.txt", errors="surrogateescape") == "one\ntw\udcf6"
    with pytest.raises(UnicodeDecodeError):
        read_file.read_text(tmp_path / "a.txt")
    with pytest.raises(OSError, match="more than 5 characters"):
        read_file.read_text(tmp_path / "a.txt", 5, errors="replace")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="no regular file"):
            read_file.read_text(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_file.read_text(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("read", [read_image, read_mask, read_stored])
def test_a_pipe_among_images_is_refused_and_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: cannot be read.*no regular file"):
        read(tmp_path / "a.png")
