"""Trains the demo for many steps and checks that memory, open files and processes do not grow.

python benchmarks/steady.py --steps 5000
python benchmarks/steady.py --steps 1000 datamodule.workers=2
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil


def sample(process: psutil.Process) -> dict[str, float] | None:
    """Resident memory in MB, open files and zombies of a process and all below it; None if it has ended."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:  # ended, and not yet waited for by us
            return None
        family = [process, *process.children(recursive=True)]
        zombies = sum(member.status() == psutil.STATUS_ZOMBIE for member in family)
        living = [member for member in family if member.status() != psutil.STATUS_ZOMBIE]
        return {
            "main_mb": process.memory_info().rss / 2**20,
            "all_mb": sum(member.memory_info().rss for member in living) / 2**20,
            "files": process.num_fds(),
            "processes": len(living),
            "zombies": zombies,
        }
    except psutil.Error:
        return None


def step_of(run_dir: Path) -> int:
    """The last step in the log."""
    path = run_dir / "metrics.csv"
    if not path.is_file():
        return 0
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index("step")
    return int(lines[-1].split(",")[column]) if len(lines) > 1 else 0


def main() -> int:
    """Train and watch; 0 if nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    run_dir = Path(tempfile.mkdtemp(prefix="steady_")) / "run"
    command = [sys.executable, "-m", "unimatch.run", f"trainer.max_steps={options.steps}", f"hydra.run.dir={run_dir}"]
    child = subprocess.Popen([*command, *options.overrides], stdout=subprocess.DEVNULL)
    process, rows = psutil.Process(child.pid), []
    while child.poll() is None:
        time.sleep(1)
        found = sample(process)
        if found is not None and (step := step_of(run_dir)):
            rows.append({"step": float(step), **found})
    later = [row for row in rows if row["step"] > options.steps / 4]  # the first quarter warms up
    steps = np.array([row["step"] for row in later])
    print(f"status {child.returncode}; {len(later)} samples from step {steps.min():.0f} to {steps.max():.0f}")
    grew = child.returncode != 0
    for key in ("main_mb", "all_mb", "files", "processes", "zombies"):
        values = np.array([row[key] for row in later])
        slope = 1000 * np.polyfit(steps, values, 1)[0]
        print(f"{key:10s} {values.min():8.1f} to {values.max():8.1f}, {slope:+8.2f} per 1000 steps")
    print("left behind:", [other.pid for other in psutil.process_iter() if str(run_dir) in " ".join(other.cmdline())])
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
