import errno
import logging

from unimatch import disk
from unimatch.loggers.log_file import LogFile


class Full:
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    flush = close = write


def record(message, *arguments):
    return logging.LogRecord("unimatch", logging.INFO, "file.py", 1, message, arguments, None)


def test_lines_that_a_full_disk_does_not_take_are_told_at_the_end_and_not_by_a_traceback_each(tmp_path, capsys):
    disk.unwritten.clear()
    handler = LogFile(tmp_path / "run.log")
    with handler.stream as stream:
        handler.stream = Full()
        handler.emit(record("lost"))
        handler.stream = stream
        handler.emit(record("there again"))
        assert list(disk.unwritten) == [tmp_path / "run.log"]
        assert "lacks lines: No space left" in disk.unwritten[tmp_path / "run.log"]
        assert capsys.readouterr().err == ""
        handler.emit(record("%d", "a fault of the program"))
        assert "a fault of the program" in capsys.readouterr().err
    assert (tmp_path / "run.log").read_text() == "there again\n"
    disk.unwritten.clear()
