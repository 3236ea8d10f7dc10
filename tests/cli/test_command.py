import errno
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments import SLURMEnvironment
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

import unimatch
from unimatch.checkpoints.files import read_checkpoint
from unimatch.cli.building import build
from unimatch.cli.command import check_output_folder, command, exit_on_user_error
from unimatch.cli.overrides import config_groups
from unimatch.disk import append, write_output
from unimatch.errors import ConfigError, DataError


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


@pytest.mark.parametrize("error", [KeyError("a bug"), FileNotFoundError(errno.ENOENT, "gone", "file")])
def test_what_is_no_fault_of_the_users_code_keeps_its_traceback(error, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"), exit_on_user_error():
        raise error  # this file is not the package's
    assert capsys.readouterr().err.startswith(f"unimatch: {type(error).__name__}: {error} (test_command.py, line ")
    monkeypatch.setattr("unimatch.cli.building.own_place", lambda error: None)
    with pytest.raises(type(error)), exit_on_user_error():
        raise error


@pytest.mark.slow
def test_the_command_itself_refuses(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "unimatch.run", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    wrong = run("datset=camvid")
    assert wrong.returncode == 2
    lines = [line for line in wrong.stderr.splitlines() if "so far" not in line]  # said on a busy machine
    assert lines == ["unimatch: datset: no such key; did you mean dataset?"]
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_a_folder_that_the_system_does_not_make_is_no_traceback(monkeypatch, tmp_path, capsys):
    def refuse(*arguments, **options):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x")

    monkeypatch.setattr("hydra.main", lambda **options: lambda task: refuse)
    monkeypatch.setattr(sys, "argv", ["run"])
    with pytest.raises(SystemExit) as ended:
        command("run")(lambda config: None)()
    assert ended.value.code == 2
    assert (
        "unimatch: /proc/x: cannot be made (No such file or directory); choose another folder"
        in capsys.readouterr().err
    )


def test_a_pickle_is_never_run_again():
    from unimatch.cli.command import refuse_pickles

    for flag in ("--experimental-rerun=config.pickle", "--experimental-rerun", "--exp=config.pickle"):
        with pytest.raises(ConfigError, match="would run code out of a pickle file"):
            refuse_pickles(["seed=1", flag])
    refuse_pickles(["seed=1", "--multirun", "-m", "--help", "--cfg", "job"])


def test_an_output_folder_that_cannot_be_made_is_refused_first(tmp_path, monkeypatch):
    from unimatch.cli import command

    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        command.check_output_folder([f"hydra.run.dir={tmp_path}/file/run"])
    monkeypatch.setattr(command.os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match=r"cannot be written to; choose another hydra\.sweep\.dir"):
        command.check_output_folder(["-m", "seed=1", f"hydra.sweep.dir='{tmp_path}/a/b'"])
    command.check_output_folder(["hydra.run.dir=${oc.env:HOME}/run", "seed=1"])


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (["-m", "hydra.run.dir=a"], "hydra.sweep.dir"),
        (["seed=0,1", "+hydra.run.dir=a", "--multirun"], "hydra.sweep.dir"),
        (["hydra.mode=MULTIRUN", "hydra.run.dir=a"], "hydra.sweep.dir"),
        (["hydra.sweep.dir=a"], "hydra.run.dir"),
    ],
)
def test_an_output_folder_that_would_not_be_read_is_refused(arguments, read, monkeypatch, tmp_path):
    from unimatch.cli.command import check_output_folder

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"would not be written there; give {read}=FOLDER"):
        check_output_folder(arguments)
    check_output_folder([*(flag for flag in arguments if "dir" not in flag), f"{read}=a"])


def test_bases_are_no_options_in_help_or_completion(monkeypatch, capsys):
    assert not [name for names in config_groups().values() for name in names if name.startswith("_")]
    from unimatch.run import main

    monkeypatch.setattr(sys, "argv", ["unimatch.run", "--help"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    for word in ("dataset:", "encoder:", "dataset.labeled", "trainer.max_steps", "unimatch.compare"):
        assert word in shown
    groups = re.findall(r"^dataset: (.*)$", shown, re.MULTILINE)
    assert groups == [", ".join(config_groups()["dataset"])]


@pytest.mark.nightly
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


@pytest.mark.parametrize("argument", ["logger=null", "callbacks=3"])
def test_a_group_is_no_null_or_number(argument, monkeypatch, capsys):
    from unimatch.run import main

    group = argument.partition("=")[0]
    monkeypatch.setattr(sys, "argv", ["unimatch.run", argument])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith(f"unimatch: {argument}: no such {group}. There are: ")


def test_what_neither_hydra_nor_the_check_can_explain_is_hydras_message(monkeypatch, capsys):
    from unimatch.run import main

    monkeypatch.setattr(sys, "argv", ["unimatch.run", "~method.no_such_key"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as stopped:
        main()
    assert os.environ["HYDRA_FULL_ERROR"] == "0"
    assert "no_such_key" in str(stopped.value.code)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: b: c", r"mapping values are not allowed here in .*mine.yaml., line 1, column 5"),
        ("[1, 2]", "In 'method/mine'"),
        ("defaults: [unimatch_v9]", "Could not load 'method/unimatch_v9'"),
        ("defaults: [unimatch_v2]\ntau: ${recipe.nothing}", r"method.tau: .*'recipe.nothing' not found; correct what"),
    ],
)
def test_a_file_of_ones_own_that_cannot_be_read_is_told_without_a_traceback(text, told, tmp_path, monkeypatch, capsys):
    from unimatch.run import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my/method").mkdir(parents=True)
    (tmp_path / "my/method/mine.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["unimatch.run", "--config-dir", "my", "method=mine", "plan=true"])
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr().err + str(stopped.value.code)
    assert re.search(told, shown)
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("mode", "link"),
    [
        *(("run", link) for link in ("run.log", ".hydra", ".hydra/config.yaml")),
        *(("sweep", link) for link in ("run.log", "0_digits/run.log", "0_digits/.hydra/hydra.yaml")),
    ],
)
def test_a_run_directory_whose_files_lead_elsewhere_is_refused(mode, link, tmp_path):
    (tmp_path / "run" / link).parent.mkdir(parents=True)
    (tmp_path / "victim").mkdir()
    (tmp_path / "run" / link).symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match=rf"hydra\.{mode}\.dir=.*{link} is a link.*remove it"):
        check_output_folder([*["-m"] * (mode == "sweep"), f"hydra.{mode}.dir={tmp_path / 'run'}"])


def test_links_within_a_run_directory_that_hydra_does_not_write_are_left_alone(tmp_path):
    """W&B makes some, beside which the run is resumed."""
    (tmp_path / "run/wandb").mkdir(parents=True)
    (tmp_path / "run/wandb/debug.log").symlink_to(tmp_path / "elsewhere.log")
    check_output_folder([f"hydra.run.dir={tmp_path / 'run'}", "resume=auto"])


def test_a_link_in_the_place_of_a_file_that_is_added_to_is_one_message(tmp_path, capsys):
    (tmp_path / "victim").write_text("old")
    (tmp_path / "areas.csv").symlink_to(tmp_path / "victim")
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        append(tmp_path / "areas.csv", "new")
    assert ended.value.code == 2
    assert re.fullmatch(r"unimatch: .*areas\.csv is a link, .*; remove it\n", capsys.readouterr().err)


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS"])
def test_a_disk_without_room_is_one_message_with_a_status_of_its_own(name, capsys):
    number = getattr(errno, name)
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        raise OSError(number, os.strerror(number), "out.json")
    assert ended.value.code == 74
    assert re.fullmatch(r"unimatch: out\.json cannot be written: .*; make room\n", capsys.readouterr().err)


@pytest.mark.parametrize(("name", "status"), [("ENOSPC", 74), ("EDQUOT", 74), ("EACCES", 2), ("EFBIG", 2)])
def test_a_message_of_ours_about_a_full_disk_has_that_status_too(name, status, tmp_path, capsys, monkeypatch):
    number = getattr(errno, name)

    def refuse(*arguments, **more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("unimatch.disk.replace_file", refuse)
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        write_output(tmp_path / "out.json", "text")
    assert ended.value.code == status
    told = capsys.readouterr().err
    assert told.startswith(f"unimatch: {tmp_path / 'out.json'}: cannot be written")
    assert told.endswith("; make room\n") == (status == 74)


def test_a_message_that_quotes_a_whole_file_is_cut(capsys):
    with pytest.raises(SystemExit), exit_on_user_error():
        raise DataError("classes.txt: found " + "x" * 10**6)
    told = capsys.readouterr().err
    assert told.startswith("unimatch: classes.txt: found xxx")
    assert told.endswith("x ...\n")
    assert len(told) < 21_000


@pytest.mark.parametrize("config", [{"root": "???"}, {"root": "${name}", "name": "???"}])
def test_a_missing_value_is_asked_for(config, capsys):
    with pytest.raises(SystemExit, match="2"), exit_on_user_error():
        OmegaConf.create(config).root  # noqa: B018
    assert capsys.readouterr().err in (f"unimatch: {key}: missing; give {key}=VALUE\n" for key in ("root", "name"))


def test_the_hubs_retries_are_quiet(caplog, monkeypatch):
    from huggingface_hub.utils import _http

    from unimatch.cli.command import quiet_libraries

    monkeypatch.setattr(_http.logger, "level", _http.logger.level)
    quiet_libraries()
    _http.logger.warning("Retrying in 8s [Retry 4/5].")
    _http.logger.error("something else")
    assert "Retry" not in caplog.text


def test_a_machine_with_slurm_is_no_news(tmp_path, monkeypatch):
    from unimatch.cli.command import quiet_libraries

    (tmp_path / "srun").write_text("#!/bin/sh")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        SLURMEnvironment.detect()
        assert len(told) == 1
        quiet_libraries()
        SLURMEnvironment.detect()
        assert len(told) == 1


def test_flags_that_exclude_each_other_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["unimatch.check", "-m", "--cfg", "job"])
    with pytest.raises(SystemExit) as stopped:
        command("check")(lambda config: None)()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("unimatch: Only one of --run, --multirun, --cfg")


def test_a_folder_that_is_gone_is_one_message(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setattr(sys, "argv", ["unimatch.run"])
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit, match="2"):
        command("run")(lambda config: None)()
    assert capsys.readouterr().err == (
        "unimatch: the folder in which this was started has been removed; change to another one\n"
    )


def test_a_command_asks_for_open_files_before_it_begins(monkeypatch):
    done = []
    monkeypatch.setattr("unimatch.cli.command.startup.allow_open_files", lambda: done.append("asked"))
    monkeypatch.setattr(sys, "argv", ["split", "dataset=digits", "hydra.run.dir=."])
    command("split")(lambda config: done.append("begun"))()
    assert done == ["asked", "begun"]


def test_a_reference_to_no_key_is_told_without_the_key_that_holds_it_where_that_is_not_known(capsys):
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        raise InterpolationKeyError("Interpolation key 'mine' not found")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "unimatch: Interpolation key 'mine' not found; correct what it refers to\n"
