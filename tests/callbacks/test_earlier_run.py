import re
from types import SimpleNamespace

import pytest

from unimatch.callbacks import EarlierRun
from unimatch.disk import unwritten


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / name for name in ("last.ckpt", "metrics.csv")]
    for file in found:
        file.touch()
    return found


def end_a_batch(callback, *, step, process=0):
    callback.on_train_batch_end(SimpleNamespace(global_step=step, is_global_zero=process == 0), None, None, None, 0)


def test_an_earlier_runs_files_go_after_the_first_step_and_not_before(files):
    callback = EarlierRun(files)
    end_a_batch(callback, step=0)  # gradients of a part of a step
    assert all(file.exists() for file in files)
    end_a_batch(callback, step=1)
    assert not any(file.exists() for file in files)
    files[0].touch()  # the new run's
    end_a_batch(callback, step=2)
    assert files[0].exists()


def test_the_first_process_alone_removes_them(files):
    end_a_batch(EarlierRun(files), step=1, process=1)
    assert all(file.exists() for file in files)


def test_a_file_that_is_gone_is_no_fault(files, tmp_path):
    end_a_batch(EarlierRun([tmp_path / "gone", *files]), step=1)
    assert not any(file.exists() for file in files)


def test_the_best_checkpoint_of_a_run_that_continues_here_replaces_the_earlier_runs(files, tmp_path):
    best = tmp_path / "first" / "best.ckpt"
    own = tmp_path / "checkpoints" / "best.ckpt"
    for path, text in ((best, "its own"), (own, "of another training")):
        path.parent.mkdir()
        path.write_text(text)
    callback = EarlierRun([*files, own], best=best, run_dir=tmp_path)
    end_a_batch(callback, step=0)
    assert own.read_text() == "of another training"
    end_a_batch(callback, step=8)
    assert (own.read_text(), best.read_text()) == ("its own", "its own")
    own.write_text("a better one")
    end_a_batch(callback, step=9)
    assert own.read_text() == "a better one"


def test_a_best_checkpoint_that_cannot_be_copied_does_not_end_the_training(tmp_path, caplog):
    end_a_batch(EarlierRun([], best=tmp_path / "gone.ckpt", run_dir=tmp_path), step=1)
    unwritten.clear()
    assert re.search(r"best\.ckpt \(.*gone\.ckpt\) was not written: No such file or directory", caplog.text)
