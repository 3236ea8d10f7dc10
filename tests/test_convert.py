import re
import sys

import pytest
import torch

from helpers.official import random_state, save
from unimatch import convert, load_model, load_official
from unimatch.data.catalog import PASCAL


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    path = save(tmp_path_factory.mktemp("official") / "best.pth", random_state(2), random_state(1))
    return path, {name.removeprefix("module."): tensor for name, tensor in random_state(1).items()}


@pytest.mark.nightly
def test_a_converted_checkpoint_gives_the_same_models(official, tmp_path, capsys):
    path, output = official[0], tmp_path / "ours.ckpt"
    assert convert.main([str(path), str(output), "--dataset", "pascal"]) == 0
    printed = capsys.readouterr().out
    assert "174 tensors of the encoder" in printed
    assert str(output) in printed
    images = torch.randn(1, 3, 28, 56, generator=torch.Generator().manual_seed(3))
    for which in ("teacher", "student"):
        ours, theirs = load_model(output, which), load_official(path, which)
        assert ours.description() == theirs.description()
        with torch.no_grad():
            assert torch.equal(ours(images), theirs(images))
    run = torch.load(output, weights_only=True)["unimatch_run"]
    assert run["classes"] == list(PASCAL.classes)
    assert run["palette"] == [list(color) for color in PASCAL.palette]


def test_without_a_data_set_the_classes_have_no_names(official, tmp_path):
    assert convert.main([str(official[0]), str(tmp_path / "ours.ckpt")]) == 0
    assert "unimatch_run" not in torch.load(tmp_path / "ours.ckpt", weights_only=True)


def test_a_data_set_of_other_classes_is_refused(official, tmp_path, capsys):
    assert convert.main([str(official[0]), str(tmp_path / "ours.ckpt"), "--dataset", "ade20k"]) == 2
    assert "has 21 classes, and ade20k has 150" in capsys.readouterr().err
    assert not (tmp_path / "ours.ckpt").exists()


def test_convert_writes_over_nothing_and_says_why(official, tmp_path, capsys):
    (tmp_path / "there.ckpt").write_text("mine")
    for output, reason in (("there.ckpt", "exists already"), ("no/ours.ckpt", "no folder")):
        assert convert.main([str(official[0]), str(tmp_path / output)]) == 2
        assert reason in capsys.readouterr().err
    assert (tmp_path / "there.ckpt").read_text() == "mine"
    assert convert.main([str(tmp_path / "none.pth"), str(tmp_path / "ours.ckpt")]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # as the other commands are written
        convert.main([f"checkpoint={official[0]}", f"output={tmp_path / 'ours.ckpt'}"])
    assert "the two files are given alone" in capsys.readouterr().err
    assert not (tmp_path / "ours.ckpt").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_full_disk_is_one_message(official, tmp_path, capfd):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, before[1]))
    try:
        status = convert.main([str(official[0]), str(tmp_path / "ours.ckpt")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 74
    assert re.fullmatch(
        r"unimatch: .*ours\.ckpt cannot be written: File too large; make room.*\n", capfd.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []
