import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from unimatch import disk
from unimatch.callbacks import EarlierRun
from unimatch.checkpoints.run_folder import alone_in, bytes_held, files_of_run, refuse_other_run, removed_if_empty
from unimatch.disk import temporary_name
from unimatch.errors import ConfigError


def make(run_dir, *names, finished=None):
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in names:
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).touch()
    if finished is not None:
        (run_dir / "summary.json").write_text(json.dumps({"finished": finished}))
    return run_dir


def test_another_run_is_not_replaced_unless_asked_for(tmp_path):
    finished = make(tmp_path / "a", "checkpoints/last.ckpt", finished=True)
    begun = make(tmp_path / "b", "checkpoints/previous.ckpt", finished=False)
    pruned = make(tmp_path / "c", finished=True)  # its checkpoints were removed
    for run_dir, named in ((finished, "a finished run"), (begun, "not finished"), (pruned, "a finished run")):
        for checkpoint in (None, tmp_path / "elsewhere" / "checkpoints" / "last.ckpt"):
            with pytest.raises(ConfigError, match=f"{named}: (resume=auto .*)?overwrite=true .* hydra.run.dir"):
                refuse_other_run(run_dir, checkpoint, overwrite=False)
            refuse_other_run(run_dir, checkpoint, overwrite=True)
        refuse_other_run(run_dir, run_dir / "checkpoints" / "best.ckpt", overwrite=False)  # its own


def test_a_directory_without_a_run_is_free(tmp_path):
    for run_dir in (
        tmp_path / "nowhere",
        make(tmp_path / "a", "run.log", "config.json", finished=False),  # ended before its first checkpoint
        make(tmp_path / "b", "summary.json"),
    ):
        refuse_other_run(run_dir, None, overwrite=False)


def test_what_a_run_has_left_is_removed_and_nothing_else(tmp_path):
    run_dir = make(
        tmp_path, "checkpoints/last.ckpt", "checkpoints/mine.ckpt", "report.html", "notes.txt",
        "tensorboard/events.out.tfevents.1.host", "tensorboard/notes.txt", finished=True,
    )  # fmt: skip
    earlier = EarlierRun(files_of_run(run_dir))
    earlier.on_train_batch_end(SimpleNamespace(global_step=0, is_global_zero=True))
    assert (run_dir / "checkpoints" / "last.ckpt").exists()  # a run that fails in its first step costs nothing
    earlier.on_train_batch_end(SimpleNamespace(global_step=1, is_global_zero=True))
    left = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    assert left == {"checkpoints/mine.ckpt", "notes.txt", "tensorboard/notes.txt"}


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
file.write("process 7 on here, since noon,")
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


def hold(run_dir):
    command = [sys.executable, "-c", HOLD, str(run_dir / ".lock")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such locks")
def test_a_second_process_is_told_who_trains_and_the_lock_ends_with_its_process(tmp_path):
    with hold(tmp_path) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="process 7 on here, since noon, trains there"), alone_in(tmp_path):
            raise AssertionError
        other.send_signal(signal.SIGKILL)
        other.wait()
        with alone_in(tmp_path):  # what a killed process has left is no lock
            with hold(tmp_path) as third:
                assert third.wait() == 1
                assert "BlockingIOError" in third.stderr.read()
            assert f"process {os.getpid()} on " in (tmp_path / ".lock").read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no such locks")
def test_a_lock_is_not_written_through_a_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(OSError, match=r"\.lock") as refused, alone_in(tmp_path / "run"):
        raise AssertionError
    assert refused.value.errno == errno.ELOOP
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such locks")
def test_where_files_cannot_be_locked_a_training_goes_on_and_leaves_no_lock(tmp_path, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with alone_in(tmp_path):
        assert "cannot be locked (No locks available): let no second run write to it" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no such locks")
def test_half_files_are_removed_by_the_training_alone_and_not_while_another_one_trains(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    halves = [temporary_name(tmp_path / "report.html"), temporary_name(tmp_path / "checkpoints" / "last.ckpt")]
    whole = make(tmp_path, "checkpoints/last.ckpt") / "checkpoints" / "last.ckpt"
    for half in halves:
        half.write_text("half")
    with hold(tmp_path) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError), alone_in(tmp_path):
            raise AssertionError
        assert all(half.exists() for half in halves)
        other.kill()
    with alone_in(tmp_path):
        assert [half.exists() for half in halves] == [False, False]
    assert whole.exists()


def test_a_directory_with_nothing_but_a_log_is_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    run_dir = make(tmp_path / "runs" / "now", "run.log")
    (run_dir / "checkpoints").mkdir()
    with pytest.raises(KeyError), removed_if_empty(run_dir):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for name in ("config.json", "checkpoints/last.ckpt", ".lock"):
        filled = make(tmp_path / name.replace("/", "_"), name, "run.log")
        with removed_if_empty(filled):
            pass
        assert (filled / name).exists()
        assert (filled / "run.log").exists()
    make(Path("sweep/of/one"), "run.log")  # relative, as Hydra gives a sweep's folder
    with removed_if_empty(Path("sweep/of/one")):
        pass
    assert not Path("sweep").exists()


def test_the_log_of_a_training_that_a_full_disk_has_left_nothing_of_is_kept(tmp_path, monkeypatch):
    run_dir = make(tmp_path / "run", "run.log")
    monkeypatch.setitem(disk.unwritten, run_dir / "summary.json", "was not written")
    with removed_if_empty(run_dir):
        pass
    assert (run_dir / "run.log").is_file()


@pytest.mark.parametrize(("kept", "goes_on"), [("last", True), ("previous", True), ("best", False)])
def test_a_run_without_a_checkpoint_to_continue_from_is_not_said_to_go_on(tmp_path, kept, goes_on):
    make(tmp_path, f"checkpoints/{kept}.ckpt", finished=True)
    with pytest.raises(ConfigError, match="overwrite=true replaces it") as refused:
        refuse_other_run(tmp_path, None, overwrite=False)
    assert ("resume=auto" in str(refused.value)) == goes_on


def test_checkpoints_that_a_training_will_replace_are_room(tmp_path):
    assert bytes_held(tmp_path) == 0
    make(tmp_path, "checkpoints/mine.ckpt")
    for name, size in {"last": 10, "previous": 20, "best": 30, "mine": 40}.items():
        (tmp_path / "checkpoints" / f"{name}.ckpt").write_bytes(bytes(size))
    assert bytes_held(tmp_path) == 60


def test_a_file_that_training_does_not_find_is_told_as_that(tmp_path):
    with pytest.raises(FileNotFoundError, match="mine"), alone_in(tmp_path):
        raise FileNotFoundError("mine")
    assert not (tmp_path / ".lock").exists()
