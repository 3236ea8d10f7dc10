"""Several processes, and what happens when one of them dies. Each test starts a run of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.support import rest_nightly
from unimatch.checkpoints.files import read_checkpoint

TINY = [
    "dataset.train=40",
    "dataset.labeled=8",
    "dataset.val=3",
    "dataset.size=32",
    "datamodule.crop=16",
    "datamodule.batch_size=2",
    "trainer.log_every_n_steps=1",
    "trainer.max_steps=100000",
    "trainer.val_check_interval=100000",
    "checkpoint.every_n_steps=2",
]

pytestmark = pytest.mark.slow


def start(run_dir: Path, *overrides: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "unimatch.run", *TINY, *overrides, f"hydra.run.dir={run_dir}"],
        cwd=run_dir.parent,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_a_checkpoint(process: subprocess.Popen[str], run_dir: Path) -> None:
    end = time.monotonic() + 300
    while not (run_dir / "checkpoints" / "previous.ckpt").exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.1)


def stat(pid: int) -> list[str]:
    return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()


def descendants(pid: int) -> list[int]:
    """All processes below one, which are still alive."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = stat(int(entry.name))
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            if stat(pid)[0] != "Z":
                found.append(pid)
        except OSError:
            continue
    return found


def assert_gone(pids: list[int], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while alive(pids):
        assert time.monotonic() < end, f"{alive(pids)} left behind"
        time.sleep(0.2)


def segments() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("torch_*")}


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@linux
@pytest.mark.nightly
def test_a_killed_worker_ends_the_run_with_the_reason_and_a_checkpoint(tmp_path):
    before = segments()
    run_dir = tmp_path / "run"
    process = start(run_dir, "datamodule.workers=1")
    wait_for_a_checkpoint(process, run_dir)
    everyone = descendants(process.pid)
    assert len(everyone) >= 2  # one worker for each stream
    os.kill(everyone[0], signal.SIGKILL)
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 75, text
    assert "unimatch: a process that loads images has died" in text
    assert "datamodule.workers" in text
    assert "Traceback" not in text
    assert read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["global_step"] >= 2
    assert_gone(everyone)
    assert segments() <= before


@linux
@pytest.mark.parametrize("processes", rest_nightly([1, 2], []))
def test_a_killed_main_process_leaves_nothing_behind(processes, tmp_path):
    before = segments()
    run_dir = tmp_path / "run"
    process = start(run_dir, "datamodule.workers=1", "trainer=cpu", f"trainer.devices={processes}")
    wait_for_a_checkpoint(process, run_dir)
    everyone = descendants(process.pid)
    assert len(everyone) >= processes * 2
    process.kill()
    process.wait()
    assert_gone(everyone)
    assert segments() <= before
    assert read_checkpoint(run_dir / "checkpoints" / "previous.ckpt")["global_step"] >= 2


@pytest.mark.nightly
@linux
def test_a_process_that_dies_ends_the_others_within_a_minute_with_the_cause(tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir, "datamodule.workers=0", "trainer=cpu", "trainer.devices=3")
    wait_for_a_checkpoint(process, run_dir)
    everyone = descendants(process.pid)
    ranks = [pid for pid in everyone if b"LOCAL_RANK=2" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]
    os.kill(ranks[0], signal.SIGKILL)
    killed = time.monotonic()
    text = process.communicate(timeout=60)[0]
    assert time.monotonic() - killed < 60
    assert process.returncode == 75, text
    assert "unimatch: process 2 of this run was killed by SIGKILL" in text
    assert_gone(everyone)


@pytest.mark.nightly
@linux
def test_a_signal_to_the_first_of_two_processes_ends_both_at_the_same_step(tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir, "datamodule.workers=0", "trainer=cpu", "trainer.devices=2")
    wait_for_a_checkpoint(process, run_dir)
    everyone = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 143, text
    assert "ended by SIGTERM at step" in text
    assert_gone(everyone)


@pytest.mark.nightly
def test_slurm_is_asked_to_requeue_and_the_job_continues(tmp_path):
    """With a SLURM of one script: Lightning's plugin sees its variables and calls ``scontrol``."""
    called, run_dir = tmp_path / "called", tmp_path / "run"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    (tmp_path / "scontrol").chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": "42",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "1",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": "localhost",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    process = start(run_dir, "datamodule.workers=0", **slurm)
    wait_for_a_checkpoint(process, run_dir)
    process.send_signal(signal.SIGUSR1)
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 138, text
    assert called.read_text() == "requeue 42\n"
    assert {path.parent.name for path in run_dir.rglob("*.ckpt")} == {"checkpoints"}  # none of Lightning's own
    step = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["global_step"]
    assert f"ended by SIGUSR1 at step {step}" in text

    end = f"trainer.max_steps={step + 2}"
    process = start(run_dir, "datamodule.workers=0", end, "resume_changed=true", **slurm, SLURM_RESTART_COUNT="1")
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 0, text
    assert f"continuing from {run_dir}/checkpoints/last.ckpt, step {step}" in text


@pytest.mark.nightly
@linux
def test_a_task_of_srun_that_dies_ends_the_other_in_one_line(tmp_path):
    """Two tasks, which nothing but their connection joins."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tasks = []
    for rank in range(2):
        slurm = {"SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
        slurm |= {"SLURM_PROCID": f"{rank}", "SLURM_LOCALID": f"{rank}", "SLURM_NODEID": "0", "SLURM_STEP_ID": "0"}
        slurm |= {"SLURM_STEP_NUM_TASKS": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
        options = ["datamodule.workers=0", "trainer=cpu", "trainer.devices=2"]
        tasks.append(start(tmp_path / "run", *options, **slurm))
    wait_for_a_checkpoint(tasks[0], tmp_path / "run")
    tasks[1].kill()
    text = tasks[0].communicate(timeout=60)[0]
    tasks[1].communicate()
    assert tasks[0].returncode == 75, text
    assert "unimatch: the connection to another process of this run is lost: [" in text
    assert "Traceback" not in text


RANKS = """
import sys, torch, lightning, unimatch
from unimatch.callbacks import CheckpointFiles, Checkpoints

class Keep(lightning.Callback):
    def on_train_end(self, trainer, pl_module):
        confusion = pl_module.counts["teacher"]["confusion"]
        content = {"state": pl_module.state_dict(), "confusion": confusion}
        content["miou"] = [evaluation.teacher.miou for evaluation in pl_module.evaluations]
        torch.save(content, f"{sys.argv[1]}/rank{trainer.global_rank}.pt")

torch.manual_seed(0)
model = unimatch.SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8), unlock_after=1)
method = unimatch.UniMatchV2(model, tau=0.1, learning_rate=1e-2, decoder_multiplier=1, ema_decay=0.5)
data = unimatch.data.digits(labeled=6, train=30, val=5, size=32)
trainer = lightning.Trainer(
    accelerator="cpu", devices=int(sys.argv[2]), strategy="ddp", max_steps=3, val_check_interval=3,
    check_val_every_n_epoch=None, num_sanity_val_steps=0, callbacks=[Keep()], logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(method, unimatch.SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=0))
"""


@pytest.mark.parametrize("processes", rest_nightly([2, 3], [2]))
def test_all_processes_end_with_the_same_weights_statistics_and_metrics(processes, tmp_path):
    """Also those of an encoder whose gradients are first exchanged at the second step."""
    (tmp_path / "train.py").write_text(RANKS)
    command = [sys.executable, "train.py", str(tmp_path), str(processes)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, *others = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(processes))
    assert any("running_mean" in key for key in first["state"])
    assert first["confusion"].sum() == 5 * 32 * 32  # no image is left out or counted twice
    for other in others:
        assert [key for key, value in first["state"].items() if not torch.equal(other["state"][key], value)] == []
        assert torch.equal(other["confusion"], first["confusion"])
        assert other["miou"] == first["miou"]


@pytest.mark.nightly
def test_torchrun_trains_as_lightnings_own_launcher_does(tmp_path):
    """The same bits: two processes, three steps."""
    last = []
    for name, launcher in (("torchrun", ["torch.distributed.run", "--nproc-per-node=2", "-m"]), ("lightning", [])):
        command = [sys.executable, "-m", *launcher, "unimatch.run", *TINY, "trainer=cpu", "trainer.devices=2"]
        short = ["datamodule.workers=0", "trainer.max_steps=3", "trainer.val_check_interval=3"]
        done = subprocess.run(
            [*command, *short, f"hydra.run.dir={tmp_path / name}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        last.append(read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt"))
    assert last[0]["unimatch_run"]["processes"] == 2
    assert last[0]["global_step"] == last[1]["global_step"] == 3
    different = [
        key for key, value in last[0]["state_dict"].items() if not torch.equal(last[1]["state_dict"][key], value)
    ]
    assert different == []
