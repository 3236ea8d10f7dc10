"""The two hundred files of ``helpers/hostile.py``: each is refused, within a gigabyte and 20 seconds."""

import json
import os
import subprocess
import sys

import pytest

from helpers.hostile import hostile_files, outcome
from helpers.pages import ROOT

FILES = hostile_files()
SUITE = [
    "features 2", "options 0 vits depth", "inference 0", "run 0", "dataset 0", "laughs beside", "expanded", "meta",
    "archive shared", "published none", "published heads of no shape", "safetensors features",
    "header lies", "facts 1",
    "png with text, read_image", "tiff, read_mask", "page, 13000 x 13000", "mask of 4000000 ids",
    "run's summary.json 1", "run's confusion.csv 0",
]  # fmt: skip


def test_there_are_two_hundred():
    assert len(FILES) >= 200


@pytest.mark.parametrize("name", SUITE)
def test_a_hostile_file_is_refused(name, tmp_path):
    assert outcome(name, FILES[name], tmp_path / "file") == "refused"


@pytest.mark.nightly
def test_every_hostile_file_is_refused_with_little_memory_and_time(tmp_path):
    """Each in a process of its own, a fork of one that has imported everything."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    command = [sys.executable, "-W", "ignore", "-m", "helpers.hostile", str(tmp_path)]
    done = subprocess.run(command, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results.keys() == FILES.keys()
    assert {name: found["outcome"] for name, found in results.items() if found["outcome"] != "refused"} == {}
    assert {name: found for name, found in results.items() if found["megabytes"] > 1000 or found["seconds"] > 20} == {}
