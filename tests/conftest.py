"""Fixtures for tests of several parts."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.compositions import compose_once
from helpers.runs import run_once
from helpers.support import SHORT, SMALL

gc.disable()  # until all modules are imported: what they make stays, and is not to be looked through again and again


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the longest tests, so that no worker waits for one of them at the end."""
    items.sort(key=lambda item: "system" not in item.path.parts)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def compositions() -> Iterator[None]:
    """Makes each of Hydra's compositions once."""
    with pytest.MonkeyPatch.context() as patch:
        compose_once(patch)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_waiting() -> Iterator[None]:
    """Leaves out the wait for a disk at each file, and shortens those for processes that do not end and for the hub.

    No test cuts the power, what PyTorch waits for is a process that a test has left behind, and no test has a network.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        patch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.5)
        patch.setattr("unimatch.models.hub.PAUSE", 0.01)
        yield


@pytest.fixture
def run_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``run_command("method=supervised", ...)``: ``unimatch.run`` in this process; the run directory.

    Without pictures and a report, which take as long as the training, unless a test is about them or about callbacks.
    """
    from unimatch.run import main

    def run(
        *overrides: str, name: str = "run", hydra: bool = True, pictures: bool = False, report: bool = False
    ) -> Path:
        run_dir = tmp_path / name
        where = [f"hydra.run.dir={run_dir}"] if hydra else []
        drawn = {"pictures": pictures, "report": report or pictures}
        unwanted = [f"~callbacks.{callback}" for callback, wanted in drawn.items() if not wanted]
        less = [] if any("callbacks" in word for word in overrides) else unwanted
        monkeypatch.setattr(sys, "argv", ["unimatch.run", *overrides, *less, *where])
        main()
        return run_dir

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of one short run of the demo, which tests read and never write."""
    yield from run_once(tmp_path_factory, "demo", lambda folder: [*SMALL, *SHORT])
