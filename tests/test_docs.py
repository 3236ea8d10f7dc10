import re
import shlex
from pathlib import Path

import pytest

from unimatch import __version__

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_in_the_readme_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_make_targets_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)", README)) - {"and"}
    assert {"install", "demo", "test"} <= named
    assert named <= targets


def test_pictures_in_the_readme_exist():
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file()


def test_citation_has_the_packages_version():
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_python_in_the_inference_page_runs(tmp_path, monkeypatch):
    import numpy as np

    from support import save_run

    monkeypatch.chdir(tmp_path)
    save_run(tmp_path / "best.ckpt", tmp_path)
    text = (ROOT / "docs" / "inference.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "inference.md", "exec"), {"image": np.zeros((32, 40, 3), np.uint8)})


@pytest.mark.parametrize(
    ("page", "commands"),
    [("inference.md", {"evaluate", "export", "predict", "run"}), ("data.md", {"run"}), ("../README.md", {"run"})],
)
def test_commands_of_a_page_name_real_settings(page, commands):
    from unimatch.command import check_overrides

    text = (ROOT / "docs" / page).read_text().replace("\\\n", " ")
    lines = re.findall(r"^python -m unimatch\.(\w+) (.*)$", text, re.MULTILINE)
    assert {name for name, _ in lines} >= commands
    for name, arguments in lines:
        if name != "compare":  # takes folders
            check_overrides(name, shlex.split(arguments, comments=True))


def test_each_test_that_the_reliability_page_names_exists():
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text()))
    assert len(named) > 25
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), test
