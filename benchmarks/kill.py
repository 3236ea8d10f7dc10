"""Kills a training repeatedly at random moments, resumes it each time, and compares it with an uninterrupted one.

Weights, optimiser state, evaluations and logged rows must equal those of the uninterrupted training, bit for bit. No
kill may lose more steps than lie between two checkpoints (``checkpoint.every_n_steps``, here 1).

    python benchmarks/kill.py --kills 20
    python benchmarks/kill.py --kills 10 trainer=cpu trainer.devices=2
    python benchmarks/kill.py --kills 3 dataset=camvid dataset.root=CAMVID dataset.labeled=12 datamodule.crop=32
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from unimatch.checkpoints.files import newest_checkpoint, read_checkpoint

# A checkpoint at each step: much of the time is spent in writing them, and so some of the kills fall there.
SMALL = [
    "dataset.train=40",
    "dataset.labeled=8",
    "dataset.val=2",
    "dataset.size=32",
    "datamodule.crop=16",
    "datamodule.batch_size=2",
    "datamodule.workers=1",
    "trainer.max_steps=40",
    "trainer.val_check_interval=9",
    "trainer.log_every_n_steps=1",
    "checkpoint.every_n_steps=1",
]


def start(run_dir: Path, overrides: list[str], output: Path) -> subprocess.Popen[bytes]:
    """A training, in a process group of its own."""
    command = [sys.executable, "-m", "unimatch.run", *overrides, "resume=auto", f"hydra.run.dir={run_dir}"]
    return subprocess.Popen(command, stdout=output.open("ab"), stderr=subprocess.STDOUT, start_new_session=True)


def step_of(run_dir: Path) -> int:
    """The step that training would continue from."""
    path = newest_checkpoint(run_dir / "checkpoints")
    return -1 if path is None else int(read_checkpoint(path)["global_step"])


def trained(run_dir: Path) -> int:
    """Steps of which the log tells, whether or not a checkpoint holds them."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return max((int(row["step"]) + 1 for row in csv.DictReader(file) if row["train/loss"]), default=0)


def members(group: int) -> list[int]:
    """The processes of a group that are still there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def written(path: Path) -> float:
    """When a file was written; 0 while there is none, as between the two names that a new checkpoint changes."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0


def kill_at_random(process: subprocess.Popen[bytes], run_dir: Path, longest: float) -> bool:
    """Kill the first process some time after it wrote a checkpoint of its own; False if it ended by itself."""
    begun = time.time()
    while process.poll() is None and written(run_dir / "checkpoints" / "last.ckpt") < begun:
        time.sleep(0.05)
    try:
        process.wait(random.uniform(0, longest))
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def content(run_dir: Path) -> dict[str, object]:
    """What two runs are compared by."""
    checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    summary = json.loads((run_dir / "summary.json").read_text())
    return {
        "weights": checkpoint["state_dict"],
        "optimiser": checkpoint["optimizer_states"],
        "schedule": checkpoint["lr_schedulers"],
        "training": checkpoint["unimatch_training"],
        "best": read_checkpoint(run_dir / "checkpoints" / "best.ckpt")["state_dict"],
        "rows": rows,
        "evaluations": (run_dir / "evaluations.jsonl").read_text(),
        "summary": {key: summary[key] for key in ("steps", "finished", "teacher/miou_best", "best_step")},
    }


def equal(first: object, second: object) -> bool:
    """Equality of nested values, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(equal(first[k], second[k]) for k in first)
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


def main() -> int:
    """Run the campaign; 0 if everything was equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument(
        "--longest", type=float, default=2.0, help="longest time from the first checkpoint to a kill, seconds"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    random.seed(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="kill_"))
    scenes = not any(text.startswith("dataset=") for text in options.overrides)
    overrides = [*(text for text in SMALL if scenes or not text.startswith("dataset.")), *options.overrides]

    if (status := start(folder / "whole", overrides, folder / "whole.txt").wait()) != 0:
        print((folder / "whole.txt").read_text())
        return status
    expected = content(folder / "whole")

    kills, finished, reached, left_behind, most_lost = 0, 0, -1, 0, 0
    run_dir = folder / "killed0"
    while kills < options.kills:
        process = start(run_dir, overrides, folder / "killed.txt")
        if kill_at_random(process, run_dir, options.longest):
            kills += 1
            for _ in range(100):  # the others notice within seconds
                if not members(process.pid):
                    break
                time.sleep(0.2)
            left_behind += len(members(process.pid))
            assert step_of(run_dir) >= reached, "a checkpoint was lost"
            reached = step_of(run_dir)
            lost = max(0, trained(run_dir) - reached)
            most_lost = max(most_lost, lost)
            print(f"kill {kills}: at step {reached}, {lost} lost", flush=True)
        else:
            assert process.returncode == 0, (folder / "killed.txt").read_text()[-3000:]
            differing = [key for key, value in expected.items() if not equal(content(run_dir)[key], value)]
            assert not differing, f"{run_dir}: {differing} differ"
            finished, reached = finished + 1, -1
            print(f"training {finished} is finished, equal in {', '.join(expected)}", flush=True)
            run_dir = folder / f"killed{finished}"
    process = start(run_dir, overrides, folder / "killed.txt")  # the last one, to its end
    assert process.wait() == 0, (folder / "killed.txt").read_text()[-3000:]
    differing = [key for key, value in expected.items() if not equal(content(run_dir)[key], value)]
    segments = [name for name in os.listdir("/dev/shm") if name.startswith("torch_")]  # noqa: PTH208
    print(f"{kills} kills of {finished + 1} training(s); the last one's differences: {differing or 'none'}")
    print(f"most steps lost by a kill: {most_lost}")
    print(f"processes left behind: {left_behind}; shared-memory segments: {len(segments)}; files in {folder}")
    return 1 if differing or left_behind or most_lost > 1 else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
