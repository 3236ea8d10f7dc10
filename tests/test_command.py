import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import unimatch
from unimatch.checkpoints.files import read_checkpoint
from unimatch.command import (
    build,
    check_output_folder,
    check_overrides,
    config_groups,
    exit_on_user_error,
    flat_keys,
    quote_fractions,
)
from unimatch.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("datset=camvid", "did you mean dataset?"),
        ("dataset=camvidd", "did you mean camvid?"),
        ("dataset.labled=12", "did you mean dataset.labeled?"),
        ("method.taw=0.9", "did you mean method.tau?"),
        ("method=unimatch_v3", "did you mean unimatch_v2?"),
        ("trainer.max_stepz=3", "did you mean trainer.max_steps?"),
        ("encoder.weigths=x", "did you mean encoder.weights?"),
        ("sede=1", "did you mean seed?"),
        ("experiment=table01", "write +experiment=table01"),
    ],
)
def test_a_mistyped_name_is_an_error_with_the_closest_real_one(override, named):
    with pytest.raises(ConfigError) as error:
        check_overrides("run", [override])
    assert named in str(error.value)
    assert override.partition("=")[0] in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset=camvid", "dataset.root=x"],
        ["dataset=folder", "dataset.root=x", "dataset.classes=y"],
        ["method=supervised,unimatch_v2", "seed=0,1,2"],
        ["method=supervised,unimatch_v2", "method.tau=0.9"],  # a key of one of the swept options
        ["hydra.run.dir=x", "-m", "--cfg"],
        ["+trainer.profiler=simple"],
        ["recipe.scale=[0.5,1.0]"],
        ["seed=range(3)"],
    ],
)
def test_real_names_pass(overrides):
    check_overrides("run", overrides)


def test_a_key_of_another_option_is_an_error():
    with pytest.raises(ConfigError, match=r"method\.tau"):
        check_overrides("run", ["method=supervised", "method.tau=0.9"])


def test_a_group_of_another_command_is_an_error():
    with pytest.raises(ConfigError, match="trainer=cpu: this command has no group trainer"):
        check_overrides("evaluate", ["trainer=cpu"])
    check_overrides("evaluate", ["dataset=camvid", "trainer.accelerator=cpu"])


def test_an_override_that_cannot_be_read_is_one_message():
    with pytest.raises(ConfigError):
        check_overrides("run", ["seed=[0"])


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("dataset.split=1_16", "dataset.split='1_16'"),
        ("dataset.split=1_16,1_8,all", "dataset.split='1_16','1_8',all"),
        ("dataset.split='1_16'", "dataset.split='1_16'"),
        ("dataset.split=366", "dataset.split=366"),
        ("trainer.max_steps=10_000", "trainer.max_steps=10_000"),
        ("dataset.split=scene_1_16", "dataset.split=scene_1_16"),
    ],
)
def test_fractions_reach_hydra_as_text(argument, expected):
    assert quote_fractions(argument) == expected
    parsed = OverridesParser.create().parse_override(expected)
    if "split" in argument and not parsed.is_sweep_override():
        assert str(parsed.value()) == argument.partition("=")[2].strip("'")


def test_groups_come_from_the_files():
    groups = config_groups()
    assert {"dataset", "encoder", "logger", "method", "trainer"} <= set(groups)
    assert {"camvid", "digits", "folder"} <= set(groups["dataset"])


def test_a_folder_of_configurations_adds_options_and_groups_that_are_checked_too(tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("_target_: mine.Mine\nweight: 2\n")
    folder = ["--config-dir", str(tmp_path)]
    check_overrides("run", [*folder, "method=mine", "method.weight=3"])
    check_overrides("run", [f"--config-dir={tmp_path}", "-m", "method=supervised,mine"])
    for arguments, named in (
        ([*folder, "method=mime"], "did you mean mine?"),
        ([*folder, "method=mine", "method.weigths=3"], "did you mean method.weight?"),
        (["method=mine"], "no such method"),
        (["--config-dir", str(tmp_path / "conf")], "no such folder"),
    ):
        with pytest.raises(ConfigError, match=re.escape(named)):
            check_overrides("run", arguments)


def test_flat_keys_lists_every_level():
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        keys = list(flat_keys(compose("run")))
    assert {"seed", "recipe", "recipe.tau", "method.tau", "dataset.labeled"} <= set(keys)


def test_user_errors_exit_with_2_and_no_traceback(capsys):
    with pytest.raises(SystemExit) as stopped, exit_on_user_error():
        raise DataError("a.png: broken")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "unimatch: a.png: broken\n"


@pytest.mark.parametrize(
    "use",
    [
        lambda name: check_output_folder([f"hydra.run.dir={name}"]),
        lambda name: build(OmegaConf.create({"dataset": {"_target_": "unimatch.data.folder", "root": name}}).dataset),
        read_checkpoint,
    ],
)
def test_a_name_that_is_too_long_is_one_message(use, capsys):
    with pytest.raises(SystemExit) as stopped, exit_on_user_error():
        use("long" * 1000)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "longlong" in said
    assert len(said) < 6000
    assert said.count("\n") == 1


def test_other_errors_are_not_swallowed():
    with pytest.raises(KeyError), exit_on_user_error():
        raise KeyError("a bug")


@pytest.mark.slow
def test_the_command_itself_refuses_and_helps(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "unimatch.run", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    wrong = run("datset=camvid")
    assert wrong.returncode == 2
    assert wrong.stderr == "unimatch: datset: no such key; did you mean dataset?\n"
    assert not list(tmp_path.iterdir())  # nothing is left behind
    shown = run("--help")
    assert shown.returncode == 0
    for word in ("dataset:", "encoder:", "dataset.labeled", "trainer.max_steps", "unimatch.compare"):
        assert word in shown.stdout


def test_a_pickle_is_never_run_again():
    from unimatch.command import refuse_pickles

    for flag in ("--experimental-rerun=config.pickle", "--experimental-rerun", "--exp=config.pickle"):
        with pytest.raises(ConfigError, match="would run code out of a pickle file"):
            refuse_pickles(["seed=1", flag])
    refuse_pickles(["seed=1", "--multirun", "-m", "--help", "--cfg", "job"])


def test_an_output_folder_that_cannot_be_made_is_refused_first(tmp_path, monkeypatch):
    from unimatch import command

    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        command.check_output_folder([f"hydra.run.dir={tmp_path}/file/run"])
    monkeypatch.setattr(command.os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match=r"cannot be written to; choose another hydra\.sweep\.dir"):
        command.check_output_folder(["seed=1", f"hydra.sweep.dir='{tmp_path}/a/b'"])
    command.check_output_folder(["hydra.run.dir=${oc.env:HOME}/run", "seed=1"])


def test_an_error_in_a_loading_process_is_told_without_its_traceback():
    from unimatch import DataError
    from unimatch.command import message_of

    text = "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File ...\n"
    assert message_of(DataError(text + "unimatch.errors.DataError: a.jpg: gone\n")) == "a.jpg: gone\n"
    assert message_of(DataError("a.jpg: gone")) == "a.jpg: gone"


def test_bases_are_no_options_in_help_or_completion(monkeypatch, capsys):
    assert not [name for names in config_groups().values() for name in names if name.startswith("_")]
    from unimatch.run import main

    monkeypatch.setattr(sys, "argv", ["unimatch.run", "--help"])
    with pytest.raises(SystemExit):
        main()
    groups = re.findall(r"^dataset: (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert groups == [", ".join(config_groups()["dataset"])]


def test_a_package_on_the_path_that_is_not_installed_says_so(tmp_path):
    # Without the link to the configuration, which a copy of the package alone may lack.
    left_out = shutil.ignore_patterns("__pycache__", "conf")
    shutil.copytree(Path(unimatch.__file__).parent, tmp_path / "unimatch", ignore=left_out)
    # Alone on the path before the dependencies, without the finders of an editable installation.
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
        f"sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['run']; import runpy; "
        "runpy.run_module('unimatch.run', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "unimatch.conf, is missing" in done.stderr
    assert str(tmp_path / "unimatch") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_start_composes_the_configuration_once_and_only_a_failed_one_is_looked_into(monkeypatch, capsys):
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    from unimatch.run import main

    composed, compose_once = [], ConfigLoaderImpl.load_configuration

    def counted(self, config_name, *arguments, **options):
        composed.append(config_name)
        return compose_once(self, config_name, *arguments, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    monkeypatch.setattr(sys, "argv", ["unimatch.run", "method.tau=0.9", "--cfg", "job", "-p", "method.tau"])
    main()
    assert capsys.readouterr().out == "0.9\n"
    assert composed == ["run"]
    monkeypatch.setattr(sys, "argv", ["unimatch.run", "method.taw=0.9"])
    with pytest.raises(SystemExit):
        main()
    assert "did you mean method.tau?" in capsys.readouterr().err
    assert len(composed) > 2


def test_what_neither_hydra_nor_the_check_can_explain_is_hydras_message(monkeypatch, capsys):
    from unimatch.run import main

    monkeypatch.setattr(sys, "argv", ["unimatch.run", "~method.no_such_key"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as stopped:
        main()
    assert os.environ["HYDRA_FULL_ERROR"] == "0"
    assert "no_such_key" in str(stopped.value.code)


CONFIG = OmegaConf.create(
    {
        "threshold": 2,
        "dataset": {"_target_": "unimatch.data.folder", "root": "there"},
        "method": {"_target_": "pathlib.PurePath", "tau": 2, "flip": 1},
        "datamodule": {"flip": 1, "strong": {"hue": 2}},
        "recipe": {"tau": 2, "width": 3},
    }
)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("tau=2: must be a probability", "method.tau=2: must be a probability"),
        ("hue=2: must be below 1", "datamodule.strong.hue=2: must be below 1"),
        ("root=there: no such folder", "dataset.root=there: no such folder"),
        ("threshold=2: must be a probability", "threshold=2: must be a probability"),  # the command's own
        ("method.tau=2: must be a probability", "method.tau=2: must be a probability"),
        ("flip=1: of which node?", "flip=1: of which node?"),
        ("width=3: of no object", "width=3: of no object"),
        ("a.png: broken", "a.png: broken"),
    ],
)
def test_the_command_names_the_key_of_an_argument(message, told, capsys):
    with pytest.raises(SystemExit), exit_on_user_error(CONFIG):
        raise ConfigError(message)
    assert capsys.readouterr().err == f"unimatch: {told}\n"


def refuse(tau, flip):
    raise ConfigError(f"flip={flip}: cannot be")


def test_an_object_that_is_built_knows_its_node():
    node = OmegaConf.merge(CONFIG, {"method": {"_target_": f"{__name__}.refuse"}}).method
    with pytest.raises(ConfigError, match=r"^method\.flip=1: cannot be"):
        build(node)
    with pytest.raises(ConfigError, match=r"trainer\.callbacks: set by the command; add an entry to the group"):
        build(OmegaConf.create({"trainer": {"_target_": "builtins.dict", "callbacks": []}}).trainer, callbacks=[])
    with pytest.raises(ConfigError, match=r"model\._target_: missing"):
        build(OmegaConf.create({"model": {"features": 3}}).model)
