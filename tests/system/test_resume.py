"""``resume=`` of the run command: what it continues, and what it refuses."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helpers.runs import run_once
from helpers.support import make_folder, read_summary, rest_nightly, write_pair
from unimatch.callbacks import Record
from unimatch.checkpoints.files import read_checkpoint

TINY = [
    "dataset.train=12",
    "dataset.labeled=4",
    "dataset.val=2",
    "dataset.size=32",
    "datamodule.crop=16",
    "datamodule.batch_size=2",
    "datamodule.workers=0",
    "trainer.log_every_n_steps=1",
    "trainer.max_steps=7",
    "trainer.val_check_interval=3",
]


def interrupt(monkeypatch, step, signum=signal.SIGTERM):
    """Send this process a signal in the middle of a step."""
    counted = Record.on_train_batch_end

    def count_and_send(self, trainer, *arguments):
        counted(self, trainer, *arguments)
        if trainer.global_step == step:
            os.kill(os.getpid(), signum)

    monkeypatch.setattr(Record, "on_train_batch_end", count_and_send)


def rows(run_dir):
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def assert_same_run(found, expected):
    first, second = (read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (found, expected))
    for key, value in second["state_dict"].items():
        assert torch.equal(first["state_dict"][key], value), key
    assert first["unimatch_training"]["evaluations"] == second["unimatch_training"]["evaluations"]
    assert rows(found) == rows(expected)
    assert (found / "evaluations.jsonl").read_text() == (expected / "evaluations.jsonl").read_text()
    summaries = [read_summary(run) for run in (found, expected)]
    for key in ("steps", "finished", "teacher/miou_best", "best_step", "teacher/iou"):
        assert summaries[0][key] == summaries[1][key]
    best = [read_checkpoint(run / "checkpoints" / "best.ckpt")["global_step"] for run in (found, expected)]
    assert best[0] == best[1] == summaries[0]["best_step"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    yield from run_once(tmp_path_factory, "resume", lambda folder: TINY)


@pytest.fixture
def whole(finished, tmp_path):
    """A copy of a run that was not interrupted."""
    return Path(shutil.copytree(finished, tmp_path / "whole"))


@pytest.mark.parametrize(  # step 3: an evaluation is due next
    ("name", "status", "step"),
    rest_nightly(
        [(*end, step) for end in (("SIGTERM", 143), ("SIGUSR1", 138), ("SIGINT", 130)) for step in (2, 3)],
        [("SIGTERM", 143, 3)],
    ),
)
def test_a_signal_ends_the_run_with_a_checkpoint_and_resume_finishes_it(
    name, status, step, whole, run_command, monkeypatch, tmp_path
):
    with monkeypatch.context() as patch:
        interrupt(patch, step, getattr(signal, name))
        with pytest.raises(SystemExit) as stopped:
            run_command(*TINY)
    assert stopped.value.code == status
    run_dir = tmp_path / "run"
    assert read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["global_step"] == step
    assert f"ended by {name} at step {step}; resume=auto continues" in (run_dir / "run.log").read_text()
    run_command(*TINY, "resume=auto")
    assert_same_run(run_dir, whole)


@pytest.mark.nightly
def test_weights_dice_and_draws_of_rare_classes_continue_exactly_also_with_other_workers(
    run_command, monkeypatch, tmp_path
):
    options = ["method.class_weights=balanced", "method.dice=0.5", "datamodule.rare_class_temperature=0.05"]
    whole = run_command(*TINY, *options, name="whole")
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(SystemExit):
            run_command(*TINY, *options)
    run_command(*TINY, *options, "datamodule.workers=2", "resume=auto")
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.nightly
def test_auto_begins_where_there_is_nothing_and_ends_where_all_is_done(whole, run_command):
    run_dir = run_command(*TINY, "resume=auto")
    assert_same_run(run_dir, whole)
    written = (run_dir / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    for name in ("summary.json", "evaluations.jsonl"):
        (run_dir / name).unlink()
    run_command(*TINY, "resume=auto")
    assert (run_dir / "checkpoints" / "last.ckpt").stat().st_mtime_ns == written
    assert_same_run(run_dir, whole)


@pytest.mark.nightly
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(whole, run_command):
    run_dir = run_command(*TINY, "checkpoint.every_n_steps=1")
    last = run_dir / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    run_command(*TINY, "checkpoint.every_n_steps=1", "resume=auto")
    assert "last.ckpt: is damaged" in (run_dir / "run.log").read_text()
    assert_same_run(run_dir, whole)


@pytest.mark.nightly
def test_a_checkpoint_of_another_run_directory_brings_its_rows(whole, run_command):
    best = whole / "checkpoints" / "best.ckpt"
    step = read_checkpoint(best)["global_step"]
    run_dir = run_command(*TINY, f"resume={best}", name="other")
    assert rows(run_dir) == rows(whole)
    assert read_summary(run_dir)["steps"] == 7
    assert f"continuing from {best}, step {step}" in (run_dir / "run.log").read_text()


def test_a_training_that_continues_elsewhere_brings_its_best_checkpoint(finished, run_command, monkeypatch, tmp_path):
    settings = [*TINY, "method.learning_rate=1e-12"]  # all evaluations are equal, so the first stays the best
    with monkeypatch.context() as patch:
        interrupt(patch, step=4)
        with pytest.raises(SystemExit):
            run_command(*settings, name="first")
    first = tmp_path / "first" / "checkpoints"
    shutil.copytree(finished, tmp_path / "other")  # another training, which is replaced
    other = run_command(*settings, f"resume={first / 'last.ckpt'}", "overwrite=true", name="other")
    best = (other / "checkpoints" / "best.ckpt").read_bytes()
    assert best == (first / "best.ckpt").read_bytes() != (finished / "checkpoints" / "best.ckpt").read_bytes()
    assert read_summary(other)["best_step"] == 3


def cut(*keys):
    """Removes an entry of a checkpoint."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def put(*keys, value):
    """Puts another value into a checkpoint."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


PROGRESS = ("loops", "fit_loop", "epoch_loop.batch_progress")
OPTIMIZER = ("optimizer_states", 0)
DAMAGES = {
    "no training, as converted": lambda content: [content.pop(key) for key in [*content] if key not in MODEL_ALONE],
    "no step": cut("global_step"),
    "loops of another kind": put("loops", value=[1]),
    "no loops": put("loops", value={}),
    "no loop of training": cut("loops", "fit_loop"),
    "a counter of text": put(*PROGRESS, "total", "ready", value="many"),
    "a counter below 0": put(*PROGRESS, "current", "completed", value=-1),
    "progress of another kind": put(*PROGRESS, value=[1, 2]),
    "no state": put("optimizer_states", value=[]),
    "states of another kind": put("optimizer_states", value=[1]),
    "no groups": cut(*OPTIMIZER, "param_groups"),
    "a rate of text": put(*OPTIMIZER, "param_groups", 0, "lr", value="fast"),
    "another shape": put(*OPTIMIZER, "state", 0, "exp_avg", value=torch.zeros(3)),
    "no tensor": put(*OPTIMIZER, "state", 0, "exp_avg_sq", value="zero"),
    "a weight of which nothing is kept": put(*OPTIMIZER, "state", 0, value={}),
    "one moment missing": cut(*OPTIMIZER, "state", 0, "exp_avg"),
    "schedulers of another kind": put("lr_schedulers", value=[1]),
    "callbacks of another kind": put("callbacks", value=[1]),
    "a run of another kind": put("unimatch_run", value=[1]),
    "training of another kind": put("unimatch_training", value=[1]),
    "evaluations of another kind": put("unimatch_training", "evaluations", value=[{"step": 1}]),
    "a place of another kind": put("unimatch_training", "place", value={"epoch": "a"}),
}
MODEL_ALONE = ("state_dict", "unimatch_model")


@pytest.mark.parametrize("damage", rest_nightly(DAMAGES, ["a counter of text", "another shape"]))
def test_a_damaged_training_is_one_line_before_the_first_step(damage, whole, run_command, capsys, tmp_path):
    content = read_checkpoint(whole / "checkpoints" / "best.ckpt")
    DAMAGES[damage](content)
    torch.save(content, tmp_path / "damaged.ckpt")
    with pytest.raises(SystemExit) as stopped:
        run_command(*TINY, f"resume={tmp_path / 'damaged.ckpt'}", "resume_changed=true", name="other")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("unimatch: ")
    assert not (tmp_path / "other" / "checkpoints" / "last.ckpt").exists()


def test_another_training_is_refused_with_the_difference_and_done_if_told(whole, run_command, capsys):
    changed = [*TINY, "method.tau=0.7", "datamodule.workers=1", "trainer.max_steps=9"]
    with pytest.raises(SystemExit) as stopped:
        run_command(*changed, "resume=auto", name="whole")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "method.tau: 0.8 -> 0.7\n" in message
    assert "trainer.max_steps: 7 -> 9\n" in message
    assert "datamodule.workers: 0 -> 1 (changes nothing that is trained)" in message
    assert "resume_changed=true" in message
    assert "recipe." not in message
    run_command(*changed, "resume=auto", "resume_changed=true", name="whole")
    assert read_summary(whole)["steps"] == 9
    assert json.loads((whole / "config.json").read_text())["method"]["tau"] == 0.7


@pytest.mark.nightly
def test_data_that_changed_is_refused_before_the_first_step_and_a_moved_run_goes_on(run_command, tmp_path, capsys):
    root = make_folder(tmp_path / "photos", labeled=4, unlabeled=4, val=2)
    settings = ["dataset=folder", "method=supervised", "datamodule.crop=16", "datamodule.batch_size=2"]
    settings += ["datamodule.workers=0", "trainer.max_steps=2", "callbacks.report=null", "callbacks.pictures=null"]
    run_dir = run_command(*settings, f"dataset.root={root}")
    assert "fingerprint" not in read_summary(run_dir)
    run_dir.rename(tmp_path / "moved")
    root = root.rename(tmp_path / "photos of mine")
    run_command(*settings, f"dataset.root='{root}'", "resume=auto", name="moved")
    write_pair(root / "images" / "a0.png", root / "masks" / "a0.png", seed=7, size=(24, 32), ids=(0, 1))
    (root / "unlabeled" / "u1.png").unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run_command(*settings, f"dataset.root='{root}'", "resume=auto", name="moved")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "data.unlabeled.images: 4 -> 3\n" in message
    assert "data.labeled.contents: " in message
    assert "data.val" not in message
    assert "resume_changed=true" in message


def test_settings_that_train_the_same_are_shown_and_accepted(whole, run_command):
    run_command(*TINY, "datamodule.workers=1", "resume=auto", name="whole")
    assert "datamodule.workers: 0 -> 1 (changes nothing that is trained)" in (whole / "run.log").read_text()


def test_a_file_that_is_not_there_is_refused(run_command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(*TINY, "resume=nowhere.ckpt")
    assert stopped.value.code == 2
    assert "resume=nowhere.ckpt: no such file" in capsys.readouterr().err


@pytest.mark.nightly
def test_a_job_that_slurm_starts_again_continues(whole, run_command, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(SystemExit):
            run_command(*TINY)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run_command(*TINY)
    assert_same_run(tmp_path / "run", whole)


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(run_command, tmp_path, monkeypatch, capsys):
    from unimatch import disk

    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(disk, "replace_file", refuse)
    with pytest.raises(SystemExit) as stopped:
        run_command(*TINY)
    assert stopped.value.code == 2
    assert re.search(r"Read-only file system.*hydra\.run\.dir", capsys.readouterr().err)


def test_too_little_room_is_found_before_training(run_command, monkeypatch, capsys):
    from unimatch import disk

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(SystemExit) as stopped:
        run_command(*TINY)
    assert stopped.value.code == 74
    assert re.search(r"0\.0 GB .*0\.1 GB", capsys.readouterr().err)


@pytest.mark.nightly
@pytest.mark.slow
def test_a_signal_ends_a_sweep_and_does_not_begin_its_next_job(tmp_path):
    command = [sys.executable, "-m", "unimatch.run", "-m", "seed=0,1", *TINY, "hydra.sweep.dir=sweep"]
    command += ["trainer.max_steps=2000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("sweep/0_*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert len(list(tmp_path.glob("sweep/[0-9]*"))) == 1
