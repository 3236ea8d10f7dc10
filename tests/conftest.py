"""Fixtures for tests of several parts."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def run_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``run_command("method=supervised", ...)``: ``unimatch.run`` in this process; the run directory."""
    from unimatch.run import main

    def run(*overrides: str, name: str = "run", hydra: bool = True) -> Path:
        run_dir = tmp_path / name
        where = [f"hydra.run.dir={run_dir}"] if hydra else []
        monkeypatch.setattr(sys, "argv", ["unimatch.run", *overrides, *where])
        main()
        return run_dir

    return run
