import ast
import json
import re
import subprocess
import sys
from importlib import import_module

import pytest

from helpers.places import ROOT
from helpers.support import rest_nightly

LARGEST = 300_000
"""Bytes of a notebook with its outputs."""

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", rest_nightly(NOTEBOOKS, []), ids=lambda path: path.stem)
def test_notebook_runs(notebook, tmp_path, monkeypatch):
    """From another directory, with a few training steps instead of all."""
    monkeypatch.setenv("NOTEBOOK_STEPS", "6")
    command = [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(tmp_path), str(notebook)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_imports_of_ours_exists(notebook):
    """Its cells run at night; this shows at once that a name has moved."""
    cells = json.loads(notebook.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    code = "\n".join(line for line in code.splitlines() if not line.lstrip().startswith(("%", "!")))
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if str(node.module).partition(".")[0] == "unimatch"]
    for node in ours:
        module = import_module(str(node.module))
        assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
    assert ours or "import unimatch" in code or "unimatch." in code


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_small_outputs_and_nothing_of_the_machine(notebook):
    text = notebook.read_text()
    cells = json.loads(text)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert any(cell["outputs"] for cell in code)
    assert all(cell["execution_count"] == number for number, cell in enumerate(code, start=1)), "make notebooks"
    assert len(text) <= LARGEST
    assert not re.search(r"/(?:home|tmp|root|Users)/", text)
    assert not any(cell["metadata"] for cell in cells)
