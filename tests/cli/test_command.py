import errno
import os
import re
import subprocess
import sys
import warnings

import pytest
from lightning.fabric.plugins.environments import SLURMEnvironment

from unimatch.cli.command import command


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
    with pytest.raises(SystemExit, match="2"):
        main()
    assert os.environ["HYDRA_FULL_ERROR"] == "0"
    assert "no_such_key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["best.ckpt"], "best.ckpt: is not KEY=VALUE; did you mean checkpoint=best.ckpt?"),
        (["seed"], "seed: is not KEY=VALUE"),
        (["+method.tau=0.5"], "Could not append to config. An item is already at 'method.tau'."),
        (["~callbacks"], "~callbacks: this group is needed; callbacks=none leaves all callbacks out"),
        (["method=[fixmatch]"], "method=[fixmatch]: choose one option of method"),
        (["hydra.run.dir=${gone}"], "hydra.run.dir: Interpolation key 'gone' not found; correct what it refers to"),
        (["--resolve"], "The --resolve flag can only be used in conjunction with --cfg or --help"),
        (["--shell-completion"], "Expecting one subcommand from"),
    ],
)
def test_what_hydra_refuses_has_status_2(arguments, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["unimatch.run", *arguments])
    with pytest.raises(SystemExit, match="2"):
        command("run")(lambda config: None)()
    assert capsys.readouterr().err.startswith(f"unimatch: {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: b: c", r"mine\.yaml, line 1, column 5: mapping values are not allowed here"),
        ("[1, 2]", "In 'method/mine'"),
        ("a: \udcff", "a configuration file is not UTF-8 .*; save it as UTF-8"),
        ("defaults: [unimatch_v9]", "Could not load 'method/unimatch_v9'"),
        ("defaults: [unimatch_v2]\ntau: ${recipe.nothing}", r"method.tau=.*: there is no key recipe.nothing; did"),
    ],
)
def test_a_file_of_ones_own_that_cannot_be_read_is_told_without_a_traceback(text, told, tmp_path, monkeypatch, capsys):
    from unimatch.run import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my/method").mkdir(parents=True)
    (tmp_path / "my/method/mine.yaml").write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setattr(sys, "argv", ["unimatch.run", "--config-dir", "my", "method=mine", "plan=true"])
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr().err + str(stopped.value.code)
    assert re.search(told, shown)
    assert "Traceback" not in shown


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


@pytest.mark.parametrize("name", ["predict", "check", "round"])
def test_ctrl_c_is_one_line_and_its_status(name, monkeypatch, tmp_path, capsys):
    def interrupted(config):
        raise KeyboardInterrupt

    missing = {
        "predict": ["checkpoint=a", "input=a", "output=a"],
        "round": ["checkpoint=a", "dataset.root=a", "n=1", "to=labelme"],
    }
    arguments = [f"hydra.run.dir={tmp_path}", *missing.get(name, [])]
    monkeypatch.setattr(sys, "argv", [f"unimatch.{name}", *arguments])
    with pytest.raises(SystemExit) as stopped:
        command(name)(interrupted)()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "\nunimatch: SIGINT: ended before all was done\n"
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(KeyboardInterrupt):
        command(name)(interrupted)()


def test_a_second_ctrl_c_in_a_training_shows_where_it_was(monkeypatch, tmp_path):
    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["unimatch.run", f"hydra.run.dir={tmp_path}"])
    with pytest.raises(KeyboardInterrupt):
        command("run")(interrupted)()


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


@pytest.mark.parametrize(
    "text", ["model=null", "datamodule=3", "method=[1]", "encoder=[1]", "guard=null", "inference=3", "trainer=1"]
)
def test_a_value_in_place_of_settings_or_of_an_option_is_refused_by_name(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["unimatch.run", text])
    with pytest.raises(SystemExit, match="2"):
        command("run")(lambda config: None)()
    assert capsys.readouterr().err.startswith(f"unimatch: {text}: ")
