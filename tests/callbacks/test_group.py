"""The configuration's group ``callbacks``: its entries can be added to, left out and replaced."""

import lightning
import pytest
from hydra import compose, initialize_config_module

import unimatch
from unimatch.callbacks import RunFacts
from unimatch.errors import ConfigError
from unimatch.run import build_callbacks

SAFE = ["EndTogether", "Record", "Checkpoints"]
ALL = [*SAFE, "Guard", "Fitness", "Progress", "Pictures", "Report", "Tracking"]


class Mine(lightning.Callback):
    def __init__(self, data, number, run_dir="given by name"):
        self.data, self.number, self.run_dir = data, number, run_dir


MINE = f"+callbacks.mine._target_={__name__}.Mine"


def callbacks(tmp_path, *overrides):
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", list(overrides))
    facts = RunFacts("unimatch_v2", "digits", "tiny", "segmentation", 0, 1, 1, None, None, {})
    return build_callbacks(
        config.callbacks, run_dir=tmp_path, facts=facts, data=unimatch.data.digits(labeled=4, train=12)
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ALL),
        (["callbacks=none"], SAFE),
        (["callbacks=early_stopping"], [*ALL, "EarlyStopping"]),
        (["~callbacks.pictures", "callbacks.report=null"], [n for n in ALL if n not in ("Pictures", "Report")]),
        ([MINE, "+callbacks.mine.number=3"], [*ALL, "Mine"]),
        (["callbacks.report._target_=lightning.pytorch.callbacks.Timer"], [n.replace("Report", "Timer") for n in ALL]),
    ],
)
def test_entries_are_what_the_command_line_says(overrides, expected, tmp_path):
    assert [type(callback).__name__ for callback in callbacks(tmp_path, *overrides)] == expected


def test_a_callback_is_given_what_it_has_arguments_for(tmp_path):
    mine = callbacks(tmp_path, MINE, "+callbacks.mine.number=3")[-1]
    assert (mine.number, mine.run_dir, mine.data.info.name) == (3, tmp_path, "digits")
    assert callbacks(tmp_path, MINE, "+callbacks.mine.number=3", "+callbacks.mine.run_dir=own")[-1].run_dir == "own"


def test_the_nodes_checkpoint_and_guard_are_those_entries_keys(tmp_path):
    found = {type(c).__name__: c for c in callbacks(tmp_path, "checkpoint.every_n_steps=7", "guard.on_nan=skip")}
    assert (found["Checkpoints"].every_n_steps, found["Guard"].on_nan) == (7, "skip")
    assert found["Checkpoints"].folder == tmp_path / "checkpoints"
    with pytest.raises(ConfigError, match=r"^guard\.on_nan=sleep: must be one of stop, skip"):
        callbacks(tmp_path, "guard.on_nan=sleep")


def test_an_error_names_the_entrys_key(tmp_path):
    with pytest.raises(ConfigError, match=r"^callbacks\.early_stopping\.patience=0: must be at least 1"):
        callbacks(tmp_path, "callbacks=early_stopping", "callbacks.early_stopping.patience=0")


@pytest.mark.parametrize("target", ["no.such.Class", "unimatch.callbacks.Nothing"])
def test_a_class_that_is_not_there_is_named(target, tmp_path):
    with pytest.raises(ConfigError, match=rf"callbacks\.mine\._target_={target}: cannot be imported"):
        callbacks(tmp_path, f"+callbacks.mine._target_={target}")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("callbacks.pictures=1", "callbacks.pictures=1: must be settings with a _target_, or null to leave it out"),
        ("+callbacks.mine.number=3", r"callbacks\.mine\._target_: missing"),
        ("+callbacks.mine._target_=builtins.dict", r"callbacks\.mine\._target_=builtins\.dict: is no callback"),
    ],
)
def test_what_is_no_callback_is_refused(override, told, tmp_path):
    with pytest.raises(ConfigError, match=told):
        callbacks(tmp_path, override)
