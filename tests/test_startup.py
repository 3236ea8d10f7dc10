import gc
import io
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from unimatch import startup


def test_a_slow_start_is_told_until_it_is_over(monkeypatch, capsys):
    monkeypatch.setattr(startup, "FIRST", 0.01)
    monkeypatch.setattr(startup, "NEXT", 0.01)
    monkeypatch.setattr(startup, "_started", threading.Event())
    startup.watch()
    until = time.monotonic() + 10
    while not (said := capsys.readouterr().err) and time.monotonic() < until:
        time.sleep(0.01)
    startup.done()
    assert said.startswith("unimatch: loading PyTorch and other libraries, 0 s so far\n")


@pytest.mark.parametrize("name", ["LOCAL_RANK", "RANK", "SLURM_PROCID"])
def test_of_several_processes_the_first_one_speaks(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(threading.Thread, "start", lambda _: 1 / 0)
    startup.watch()
    startup.done()


def test_no_garbage_is_collected_while_a_command_imports(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    monkeypatch.setattr(startup, "_started", threading.Event())
    before = gc.get_freeze_count()
    made = [[i] for i in range(10_000)]
    startup.watch()
    assert not gc.isenabled()
    startup.watch()  # `unimatch run` and `python -m unimatch.run` both begin
    startup.done()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)
    gc.unfreeze()
    startup.done()
    assert gc.get_freeze_count() == 0  # what a command makes itself is looked at


def test_who_has_turned_collection_off_keeps_it_off(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    monkeypatch.setattr(startup, "_started", threading.Event())
    gc.disable()
    try:
        startup.watch()
        startup.done()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_process_without_streams_gets_some(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    startup.open_streams()
    assert sys.stdout.write("forgotten") == sys.stderr.write("forgotten") == 9
    for stream in (sys.stdout, sys.stderr):
        stream.close()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 10**6), (65_536, 10**6)),
        ((1024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
        ((10**6, 10**6), None),
        ((64, 64), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_a_command_may_open_as_many_files_as_the_system_lets_it(limits, expected, monkeypatch):
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, wanted: given.append(wanted))
    startup.allow_open_files()
    assert given == ([] if expected is None else [expected])


def test_a_system_that_refuses_more_open_files_ends_no_command(monkeypatch):
    def refuse(kind, wanted):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    startup.allow_open_files()


def a_pipe_that_nobody_reads():
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", buffering=1)


def test_what_is_written_to_a_reader_that_has_left_is_forgotten():
    stream = startup.PipeSafeStream(a_pipe_that_nobody_reads())
    assert stream.write("a line\n") == 7
    stream.flush()
    print("more", file=stream, flush=True)
    assert not stream.isatty()
    stream.close()  # what was left has a place to go


def test_a_stream_that_is_no_file_may_lose_its_reader_too():
    class Notebook(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    stream = startup.PipeSafeStream(Notebook())
    assert stream.write("a line") == 6


def test_a_full_disk_is_not_forgotten():
    with Path("/dev/full").open("w") as full:
        stream = startup.PipeSafeStream(full)
        with pytest.raises(OSError, match="No space left"):
            print("a line", file=stream, flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # for what is left in the buffer


def test_streams_are_wrapped_once(monkeypatch):
    kept = io.StringIO()
    monkeypatch.setattr(sys, "stdout", kept)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    startup.open_streams()
    startup.open_streams()
    assert sys.stdout.stream is kept
    sys.stdout.write("a line\n")
    assert kept.getvalue() == "a line\n"


@pytest.mark.parametrize("words", [["compare", "--help"], ["run", "--cfg", "job"]])
def test_a_command_whose_reader_leaves_ends_as_if_it_had_stayed(words):
    """As ``python -m unimatch.NAME | true`` does."""
    with a_pipe_that_nobody_reads() as nobody:
        command = [sys.executable, "-m", f"unimatch.{words[0]}", *words[1:]]
        ended = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    said = [line for line in ended.stderr.splitlines() if "loading PyTorch" not in line]
    assert (ended.returncode, said) == (0, [])
