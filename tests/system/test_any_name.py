"""Names that are no UTF-8, or mean something to formulas, templates and fonts, from the check to the report."""

import json
import os
import sys
from importlib import import_module

import pytest

from helpers.support import write_pair

NAMES = (os.fsdecode(b"k\xf6ln"), "$x^{$", "{a}", "\u4e2d\u6587", "${oc.env:HOME}", "a b", "%s_$", "_u")
CLASSES = ("\u4e2d\u6587", "$a_{b$", "_background_")


@pytest.fixture
def call(monkeypatch, tmp_path):
    """``call("check", ...)``: a command in this process, on a folder of such files."""
    root = tmp_path / "data"
    for i, name in enumerate(NAMES):
        write_pair(root / "images" / f"{name}.png", root / "masks" / f"{name}.png", seed=i, size=(40, 48))
        write_pair(root / "unlabeled" / f"{name}u.png", None, seed=100 + i, size=(40, 48))
    (root / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")

    def run(command, *arguments):
        monkeypatch.setattr(sys, "argv", [f"unimatch.{command}", *arguments])
        import_module(f"unimatch.{command}").main()

    return run


@pytest.mark.nightly
def test_files_of_any_name_are_checked_and_listed(call, tmp_path, capsys):
    root = tmp_path / "data"
    settings = ["dataset=folder", f"dataset.root={root}", "workers=0"]
    (root / "masks" / os.fsdecode(b"k\xf6ln.png")).write_bytes(b"")
    with pytest.raises(SystemExit) as stopped:
        call("check", *settings, f"out={tmp_path / 'check'}")
    assert stopped.value.code == 1
    assert r"k\udcf6ln.png: cannot be read" in capsys.readouterr().out
    assert (tmp_path / "check" / "contact_sheet.png").stat().st_size > 5000
    facts = json.loads((tmp_path / "check" / "check.json").read_text(encoding="utf-8"))
    assert r"k\udcf6ln.png" in facts["findings"][0]["texts"][0]
    write_pair(root / "images" / "x.png", root / "masks" / os.fsdecode(b"k\xf6ln.png"), size=(40, 48))
    (root / "images" / "x.png").unlink()
    call("split", *settings, "labeled=[6]", "dataset.val_share=0.2")
    lists = b"".join((root / "splits" / "6" / f"{part}labeled.txt").read_bytes() for part in ("", "un"))
    assert b"images/k\xf6ln.png" in lists or b"k\xf6lnu.png" in lists


@pytest.mark.nightly
def test_files_of_any_name_are_trained_on_predicted_and_compared(call, tmp_path, recwarn):
    root, run = tmp_path / "data", tmp_path / "run"
    call("split", "dataset=folder", f"dataset.root={root}", "labeled=[3]", "workers=0")
    call(
        *("run", "dataset=folder", f"dataset.root={root}", f"dataset.splits={root / 'splits'}", "dataset.split='3'"),
        *("encoder=tiny", "datamodule.crop=32", "datamodule.workers=0", "datamodule.batch_size=2"),
        *("trainer.max_steps=4", "trainer.val_check_interval=2", "trainer.check_val_every_n_epoch=null"),
        *("trainer.accelerator=cpu", f"hydra.run.dir={run}"),
    )
    assert {"validation.png", "curves.png", "report.html", "summary.json"} <= {path.name for path in run.iterdir()}
    checkpoint, out = next(run.rglob("*.ckpt")), tmp_path / "out"
    settings = [f"checkpoint={checkpoint}", "device=cpu", "threshold=0.01"]
    call("predict", *settings, f"input={root / 'unlabeled'}", f"output={out}")
    assert {path.stem for path in (out / "masks").iterdir()} == {f"{name}u" for name in NAMES}
    assert b"unlabeled/k\xf6lnu.png\t" in (out / "pseudo_labels.txt").read_bytes()
    call("predict", *settings, f"input={root / 'splits' / '3' / 'labeled.txt'}", f"output={tmp_path / 'listed'}")
    assert len(list((tmp_path / "listed" / "masks").iterdir())) == 3
    call("compare", str(run), str(run))
    assert not [warning for warning in recwarn if "lyph" in str(warning.message)]
