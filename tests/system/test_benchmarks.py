"""The script that measures everything on a GPU runs, with small sizes, on a CPU; the proof's runs compose."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

ROOT = Path(__file__).parents[2]
PARTS = "photos step together memory evaluate large feed blocks update layout guard"
OUTPUTS = ("step", "together", "memory", "evaluate", "large", "feed", "blocks", "update", "layout")


def bars(folder):
    command = [sys.executable, str(ROOT / "benchmarks" / "bars.py"), str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output, {row["what"]: row for row in json.loads((folder / "bars.json").read_text())}


@pytest.mark.nightly
def test_every_run_of_the_proof_has_settings_that_compose(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    proof = import_module("proof")
    parts = ["rate", "frozen", "trained", "limit", "labels", "methods", "recipe", *proof.OPTIONS]
    runs = list(proof.plan(parts, ["camvid", "nuclei"], ["supervised", "unimatch_v2"], [0]))
    assert {run.data for run in runs} == {"camvid", "nuclei"}
    runs += [replace(run, gpu=True, frozen=False, steps=3000) for run in runs if run.data == "camvid"]
    assert len({run.name for run in runs}) == len(set(runs))  # a run directory for each
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        for run in {(run.data, run.option, run.recipe, run.gpu): run for run in runs}.values():
            config = compose("run", run.overrides(tmp_path, tmp_path / "weights"))
            assert config.trainer.max_steps == run.steps
            rate = {None: run.rate, "few_labels": 2.5e-5, "paper": 5e-6}[run.recipe]
            dice = float(run.option == "dice" or run.recipe == "few_labels")
            assert (config.method.learning_rate, config.method.dice) == (rate, dice)
            assert config.datamodule.crop == (322 if run.gpu else 196)


@pytest.mark.nightly
@pytest.mark.slow
def test_the_parts_run_and_leave_their_figures(tmp_path):
    """All but those that run the same benchmarks with other options."""
    environment = {**os.environ, "OUT": str(tmp_path), "SMALL": "1", "PARTS": PARTS, "PYTHON": sys.executable}
    run = subprocess.run(["bash", "benchmarks/gpu.sh"], cwd=ROOT, env=environment, capture_output=True, text=True)
    statuses = dict(line.split("\t")[:2] for line in (tmp_path / "parts.tsv").read_text().splitlines())
    failed = {name: (tmp_path / f"{name}.txt").read_text()[-2000:] for name in statuses if statuses[name] != "0"}
    assert not failed
    assert run.returncode == 0
    assert {*PARTS.split()} - {"guard"} <= statuses.keys()
    assert {f"guard-{name}" for name in ("plain-0", "plain-1", "fast-0")} <= statuses.keys()
    for name in OUTPUTS:
        assert "machine" in json.loads((tmp_path / f"{name}.json").read_text())
    _, found = bars(tmp_path)
    missing = [what for what, row in found.items() if row["met"] is None]
    assert missing == ["the tests on a GPU pass", "times the host waits for the device in a step"]
    assert "NOT MET" in (tmp_path / "table.txt").read_text()


def test_bars_say_what_is_met_missed_and_not_measured(tmp_path):
    ours = {"% of the matrix peak": 41.0, "s of the 1st step": 70.0}
    step = {"ratio": 1 / 7, "host waits": 0, "rows": {key: {"ours": value} for key, value in ours.items()}}
    (tmp_path / "step.json").write_text(json.dumps(step))
    (tmp_path / "parts.tsv").write_text("step\t0\t90\nlarge\t1\t20\ntests\tno time left\t0\n")
    for name, score in (("plain-0", 60.0), ("plain-1", 61.0), ("fast-0", 60.5)):
        (tmp_path / f"guard-{name}").mkdir()
        summary = {"headline": "miou", "teacher/miou": score}
        (tmp_path / f"guard-{name}" / "summary.json").write_text(json.dumps(summary))
    output, found = bars(tmp_path)
    met = {what.partition(",")[0]: row["met"] for what, row in found.items()}
    assert met == {
        "the step of 4 + 4": True,
        "the same": True,
        "four parts at once": None,
        "memory at 150 classes": None,
        "ViT-L": False,
        "% of the time waiting for images": None,
        "evaluation": None,
        "seconds of the first step": False,
        "the same with blocks one by one": None,
        "the tests on a GPU pass": None,
        "times the host waits for the device in a step": True,
        "change of the score": True,
    }
    assert output.count("NOT MET") == 2
    assert output.count("not measured") == 6


def test_bars_need_a_folder():
    command = [sys.executable, str(ROOT / "benchmarks" / "bars.py"), "nowhere"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert "give the folder" in run.stderr
