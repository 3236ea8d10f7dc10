import errno
import io
import logging
import os
import sys
import time
from types import SimpleNamespace

import pytest

from unimatch import startup
from unimatch.terminal import print_any_name, progress_bar, text_table


@pytest.mark.parametrize("left", [(), (0,), (0, 2), (1,)])
def test_cells_of_a_column_are_equally_wide(left):
    rows = [["a", "bbbb", ""], ["cc", "d", "eee"], ["", "ff", "g"]]
    widths = (2, 4, 3)
    for line, row in zip(text_table(rows, left=left, gap="|"), rows, strict=True):
        for i, (shown, cell) in enumerate(zip(line.split("|"), row, strict=True)):
            spaces = " " * (widths[i] - len(cell))
            assert shown == (cell + spaces if i in left else spaces + cell)


def test_a_bar_goes_on_when_the_clock_is_set_back(capsys, monkeypatch):
    clock = iter(range(10**6, 0, -3600))
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    with progress_bar(4, "files", "file", seconds=0) as bar:
        for i in range(1, 5):
            bar.update()
            assert f"{i}/4" in capsys.readouterr().err
    assert bar.format_dict["elapsed"] >= 0


def test_a_bar_counts_what_is_done_and_is_silent_where_it_is_told_to_be(capsys):
    with progress_bar(8, "files", "file", done=2) as bar:
        for _ in range(6):
            bar.update()
    shown = capsys.readouterr().err
    assert "files" in shown
    assert "8/8" in shown
    with progress_bar(8, "files", "file", disable=True) as bar:
        bar.update()
    assert capsys.readouterr().err == ""


def test_work_that_is_soon_done_has_no_line_in_a_file_and_long_work_has(capsys):
    for seconds, lines in ((60.0, 0), (0.02, 3)):
        with progress_bar(3, "files", "file", seconds=seconds, late=True) as bar:
            for _ in range(3):
                time.sleep(0.03)
                bar.update()
        shown = capsys.readouterr().err
        assert [f"{i}/3" in shown for i in (1, 2, 3)] == [i <= lines for i in (1, 2, 3)]
        assert "0/3" not in shown


@pytest.mark.parametrize("fault", [errno.EPIPE, errno.ENOSPC])
def test_a_bar_that_nobody_reads_ends_no_work(monkeypatch, fault):
    def fail(*arguments):
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=fail, flush=fail, isatty=lambda: False))
    with progress_bar(2, "files", "file", seconds=0) as bar:
        bar.update()
        bar.set_postfix_str("half")
        bar.update()
    assert bar.n == 2


def test_a_service_without_stderr_has_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(2, "files", "file", seconds=0) as bar:
        bar.set_postfix_str("half")
        bar.update()


def test_a_stream_that_a_command_has_wrapped_shows_any_name_too(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, "utf-8"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    startup.open_streams()
    print_any_name()
    sys.stdout.write("n\udce4me\n")
    sys.stdout.flush()
    assert content.getvalue() == b"n\\udce4me\n"


def test_a_log_that_is_closed_is_left_alone(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    stream.close()
    print_any_name()
