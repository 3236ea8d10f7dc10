import errno
import os
import re

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from unimatch.checkpoints.files import read_checkpoint
from unimatch.cli.building import build
from unimatch.cli.command_line import check_output_folder
from unimatch.cli.user_errors import exit_on_user_error
from unimatch.disk import append, write_output
from unimatch.errors import DataError


def test_user_errors_exit_with_2_and_no_traceback(capsys):
    with pytest.raises(SystemExit) as stopped, exit_on_user_error():
        raise DataError("a.png: broken")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "unimatch: a.png: broken\n"


@pytest.mark.parametrize(
    "use",
    [
        lambda name: check_output_folder("run", [f"hydra.run.dir={name}"]),
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
    assert capsys.readouterr().err.startswith(f"unimatch: {type(error).__name__}: {error} (test_user_errors.py, line ")
    monkeypatch.setattr("unimatch.cli.building.own_place", lambda error: None)
    with pytest.raises(type(error)), exit_on_user_error():
        raise error


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


def test_a_reference_to_no_key_is_told_without_the_key_that_holds_it_where_that_is_not_known(capsys):
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        raise InterpolationKeyError("Interpolation key 'mine' not found")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "unimatch: Interpolation key 'mine' not found; correct what it refers to\n"
