"""Sweeps with Hydra's plugins, run where they are installed."""

import os
import re
import subprocess
import sys

import pytest

from helpers.support import SMALL, read_summary

pytestmark = pytest.mark.slow

SHORT = [*SMALL, "trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.check_val_every_n_epoch=null"]


def sweep(folder, *overrides):
    done = subprocess.run(
        [sys.executable, "-m", "unimatch.run", "-m", *SHORT, *overrides, f"hydra.sweep.dir={folder}/sweep"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.nightly
def test_optuna_maximises_the_teachers_miou(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")
    output = sweep(
        tmp_path,
        "hydra/sweeper=optuna",
        "hydra.sweeper.direction=maximize",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.sampler.seed=0",
        "method.learning_rate=tag(log,interval(1e-4,1e-2))",
    )
    found = [read_summary(path.parent)["teacher/miou_best"] for path in (tmp_path / "sweep").glob("*/summary.json")]
    assert len(found) == 2
    best = re.search(r"Best value: ([0-9.]+)", output)
    assert best is not None
    assert float(best[1]) == pytest.approx(max(found))


@pytest.mark.nightly
def test_submitit_runs_a_sweep_as_jobs(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher.submitit_launcher")
    sweep(tmp_path, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10", "seed=7")
    (path,) = (tmp_path / "sweep").glob("*/summary.json")
    assert read_summary(path.parent)["seed"] == 7
    assert list((tmp_path / "sweep" / ".submitit").glob("*/*_result.pkl"))
