"""The published trees of ``published.py``, prepared by the command and trained on."""

import math
import sys

import pytest

from helpers.published import MAKERS, make_ade20k
from helpers.support import read_summary, rest_nightly
from unimatch import check
from unimatch.prepare import main


def run_prepare(monkeypatch, *overrides):
    monkeypatch.setattr(sys, "argv", ["unimatch.prepare", *overrides])
    main()


def run_check(monkeypatch, *overrides):
    """The exit status."""
    monkeypatch.setattr(sys, "argv", ["unimatch.check", *overrides])
    try:
        check.main()
    except SystemExit as stopped:
        return stopped.code
    return 0


SETTINGS = {
    "ade20k": ["dataset.labeled=2"],
    "cityscapes": ["dataset.labeled=2", "dataset.unlabeled=[rest,{{root: {root}/leftImg8bit/train_extra}}]"],
    "coco": ["dataset.labeled=2", "dataset.unlabeled=[{{root: {root}/unlabeled2017}}]"],
    "pascal": ["dataset.labeled=2"],
}
UNLABELED = {"ade20k": 2, "cityscapes": 2 + 3, "coco": 3, "pascal": 2}


@pytest.mark.parametrize("dataset", rest_nightly(MAKERS, ["coco"]))
def test_each_data_set_is_prepared_checked_and_trained_on(tmp_path, monkeypatch, run_command, capsys, dataset):
    MAKERS[dataset](tmp_path / "source")
    root = tmp_path / "root"
    run_prepare(monkeypatch, f"dataset={dataset}", f"source={tmp_path}/source", f"root={root}", "workers=0")
    shown = capsys.readouterr().out
    assert f"{root}: " in shown
    assert f"unimatch.check dataset={dataset} dataset.root={root}" in shown
    settings = [f"dataset={dataset}", f"dataset.root={root}", *(s.format(root=root) for s in SETTINGS[dataset])]
    assert run_check(monkeypatch, *settings, "workers=0", f"out={tmp_path}/check") == 0
    assert "WRONG" not in capsys.readouterr().out
    run_dir = run_command(
        *settings,
        "encoder=tiny", "trainer=debug", "trainer.max_steps=2", "datamodule.crop=32", "datamodule.batch_size=2",
        "datamodule.workers=0",
    )  # fmt: skip
    summary = read_summary(run_dir)
    assert (summary["steps"], summary["labeled"], summary["unlabeled"]) == (2, 2, UNLABELED[dataset])
    assert math.isfinite(summary["teacher/miou"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["source={tmp}", "root={tmp}/root"], "dataset=NAME is needed; there are: ade20k, cityscapes, coco, pascal"),
        (["dataset=ade20k", "root={tmp}/root"], "source=FOLDER is needed"),
        (["dataset=ade20k", "source={tmp}"], "root=FOLDER is needed"),
        (["dataset=camvid", "source={tmp}", "root={tmp}/root"], "dataset=camvid: nothing to prepare"),
        (["dataset=ade20", "source={tmp}", "root={tmp}/root"], "did you mean ade20k?"),
        (["dataset=ade20k", "source={tmp}", "root={tmp}/root"], "ADEChallengeData2016.zip"),
        (["dataset=ade20k", "sources={tmp}", "root={tmp}/root"], "did you mean source?"),
    ],
)
def test_bad_input_is_one_message_and_status_2(tmp_path, monkeypatch, capsys, overrides, message):
    with pytest.raises(SystemExit) as stopped:
        run_prepare(monkeypatch, *(o.format(tmp=tmp_path) for o in overrides))
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_second_call_writes_nothing(tmp_path, monkeypatch, capsys):
    make_ade20k(tmp_path / "source")
    for written, kept in ((12, 0), (0, 12)):
        run_prepare(
            monkeypatch, "dataset=ade20k", f"source={tmp_path}/source", f"dataset.root={tmp_path}/root", "workers=0"
        )
        assert f"{written} files written, {kept} were there" in capsys.readouterr().out


def test_published_masks_that_were_not_prepared_are_found(tmp_path, monkeypatch, capsys):
    make_ade20k(tmp_path, unpacked=True)
    settings = ["dataset=ade20k", f"dataset.root={tmp_path}/ADEChallengeData2016", "dataset.labeled=2"]
    assert run_check(monkeypatch, *settings, "workers=0", f"out={tmp_path}/check") == 1
    shown = capsys.readouterr().out
    assert "WRONG: all masks: id 0 is void" in shown
    assert "prepare the masks (python -m unimatch.prepare)" in shown
