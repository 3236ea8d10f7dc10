import errno
import os
import signal
import time

import pytest

from helpers.runs import make_run
from unimatch import compare
from unimatch.report.__main__ import main


def test_the_command_names_what_is_no_run(tmp_path, capsys):
    run = make_run(tmp_path / "run", examples=False)
    assert main([str(run)]) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    assert main([str(tmp_path)]) == 2
    assert "not been evaluated yet" in capsys.readouterr().err
    (run / "summary.json").write_text("[1]")
    assert main([str(run)]) == 2
    assert str(run) in capsys.readouterr().err


def test_a_damaged_run_is_named_and_the_others_get_their_page(tmp_path, capsys):
    places = [make_run(tmp_path / str(seed), examples=False) for seed in range(3)]
    (places[0] / "summary.json").write_text("{")
    assert main([*map(str, places)]) == 2
    assert [(place / "report.html").exists() for place in places] == [False, True, True]
    assert capsys.readouterr().err.startswith(f"unimatch: {places[0]}: ")


def test_what_a_killed_report_has_left_is_removed_unless_training_runs_there(tmp_path):
    run = make_run(tmp_path / "run", examples=False)
    half = run / ".unimatch-0123456789abcdef.tmp"
    half.write_text("<html>")
    (run / ".lock").touch()
    assert main([str(run)]) == 0
    assert half.is_file()
    (run / ".lock").unlink()
    assert main([str(run)]) == 0
    assert not half.exists()


@pytest.mark.parametrize(("name", "status"), [("ENOSPC", 74), ("EDQUOT", 74), ("EACCES", 2)])
def test_a_full_disk_has_its_status_for_pages_too(name, status, tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run", examples=False)

    def refuse(*arguments, **more):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    monkeypatch.setattr("unimatch.disk.replace_file", refuse)
    assert main([str(run)]) == status
    assert compare.main([str(run), "--html", str(tmp_path / "page.html")]) == status
    assert capsys.readouterr().err.count("unimatch: ") == 2


def test_a_report_that_is_killed_leaves_the_old_page_or_the_new_one(tmp_path):
    run = make_run(tmp_path / "run", examples=False)
    assert main([str(run)]) == 0
    page = (run / "report.html").read_bytes()
    begun = time.monotonic()
    assert main([str(run)]) == 0
    span = time.monotonic() - begun
    killed = 0
    for share in (0.2, 0.4, 0.6, 0.8, 0.9, 1.0):
        if not (child := os.fork()):
            main([str(run)])
            os._exit(0)
        time.sleep(share * span)
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert (run / "report.html").read_bytes() == page
    assert killed
    assert main([str(run)]) == 0
    assert [*run.glob(".unimatch-*")] == []
