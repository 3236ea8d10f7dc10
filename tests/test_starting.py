import sys
import threading
import time

from unimatch import starting


def test_a_slow_start_is_told_until_it_is_over(monkeypatch, capsys):
    monkeypatch.setattr(starting, "FIRST", 0.01)
    monkeypatch.setattr(starting, "NEXT", 0.01)
    monkeypatch.setattr(starting, "_begun", threading.Event())
    starting.watch()
    until = time.monotonic() + 10
    while not (said := capsys.readouterr().err) and time.monotonic() < until:
        time.sleep(0.01)
    starting.done()
    assert said.startswith("unimatch: loading PyTorch and other libraries, 0 s so far\n")


def test_of_several_processes_the_first_one_speaks(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(threading.Thread, "start", lambda _: 1 / 0)
    starting.watch()


def test_a_process_without_streams_gets_some(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    starting.open_streams()
    assert sys.stdout.write("forgotten") == sys.stderr.write("forgotten") == 9
    for stream in (sys.stdout, sys.stderr):
        stream.close()
