import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from helpers import exports
from helpers.class_data import make_image_folder
from helpers.places import ROOT, SHARED
from helpers.rasters import rewritten, twelve_bits
from helpers.support import at_night, make_camvid, make_change, make_folder
from unimatch.check import main, misfits_of
from unimatch.data import digits
from unimatch.data.check import FAULTS, WARNINGS

DOCS = (ROOT / "docs" / "preparation.md").read_text()
SHARED = SHARED / "data"


def run_check(monkeypatch, *overrides):
    """The exit status."""
    monkeypatch.setattr(sys, "argv", ["unimatch.check", *overrides])
    try:
        main()
    except SystemExit as stopped:
        return stopped.code
    return 0


def make_distinct_camvid(root):
    """CamVid's layout with every class in every part."""
    make_camvid(root, train=4, val=2)
    for i, path in enumerate(sorted(root.glob("*annot/*.png"))):
        ids = np.arange(i, i + 12).reshape(3, 4) % 12
        Image.fromarray(ids.repeat(12, 0).repeat(12, 1).astype(np.uint8)).save(path)
    return root


def test_a_faultless_data_set_is_reported_with_status_0(tmp_path, monkeypatch, capsys):
    root = make_distinct_camvid(tmp_path / "camvid")
    settings = ["dataset=camvid", f"dataset.root={root}", "dataset.labeled=3", "workers=0", f"out={tmp_path}/out"]
    assert run_check(monkeypatch, *settings) == 0
    shown = capsys.readouterr().out
    for part in ("labelled", "unlabelled", "validation", "test", "48 x 36 (3)", "bicyclist", "8.33 %", "no faults"):
        assert part in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"check.json", "contact_sheet.png"}
    facts = json.loads((tmp_path / "out" / "check.json").read_text())
    assert (facts["wrong"], facts["findings"]) == (False, [])
    assert [text for text in facts["unfit"] if f"note: with the settings here, {text}" in shown] == facts["unfit"]
    assert [text.split()[0] for text in facts["unfit"]] == ["2"]  # validation images; it is too small for a batch
    assert facts["parts"]["labelled"]["masks_showing"]["sky"] == 3
    assert facts["parts"]["labelled"]["pixels"]["sky"] == 3 * 144
    assert facts["parts"]["validation"]["pixels_ignored"] == 2 * 144
    assert Image.open(tmp_path / "out" / "contact_sheet.png").width > 1000


@pytest.mark.parametrize(
    ("length", "steps"),
    [((3, -1), 9), ((3, 4), 4), ((3, 400), 9), ((-1, 7), 7), ((None, 7), 7), ((3, None), 9), ((-1, -1), None)],
)
def test_the_length_that_is_judged_is_that_of_the_training(length, steps, monkeypatch):
    config = OmegaConf.create({"trainer": dict(zip(("max_epochs", "max_steps"), length, strict=True))})
    config.recipe = {"batch_size": 2, "unlabeled_ratio": 3, "ema_decay": 0.9, "crop": 16, "scale": [1, 1]}
    monkeypatch.setattr("unimatch.check.misfits", lambda data, *, steps, **others: steps)
    assert misfits_of(config, SimpleNamespace(unlabeled=range(20))) == steps  # three batches an epoch


@pytest.mark.parametrize("setting", ["trainer.max_epochs=0", "trainer.max_steps=-2"])
def test_a_length_that_no_training_has_is_refused(setting, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_check(monkeypatch, "dataset=digits", setting) == 2
    assert f"{setting}: must be at least 1, or -1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("crop", "judged"), [(16, 16), ("auto", 96)])
def test_the_crop_that_is_judged_is_that_of_the_training(crop, judged, monkeypatch):
    config = OmegaConf.create({"trainer": {"max_epochs": 1, "max_steps": -1}})
    config.recipe = {"batch_size": 2, "unlabeled_ratio": 1, "ema_decay": None, "crop": crop, "scale": [1, 1]}
    monkeypatch.setattr("unimatch.check.misfits", lambda data, *, crop, **others: crop)
    assert misfits_of(config, digits(labeled=2, train=6, val=2, size=96)) == judged


def test_a_picture_that_cannot_be_drawn_ends_no_check(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise RuntimeError("no font")

    monkeypatch.setattr("unimatch.check.draw_contact_sheet", fail)
    root = make_distinct_camvid(tmp_path / "camvid")
    assert run_check(monkeypatch, "dataset=camvid", f"dataset.root={root}", "workers=0", f"out={tmp_path}/out") == 0
    assert "contact_sheet.png was not drawn: no font" in capsys.readouterr().out
    assert (tmp_path / "out" / "check.json").is_file()


def test_what_was_passed_over_is_listed(tmp_path, monkeypatch, capsys):
    root = make_folder(tmp_path / "photos", labeled=4, unlabeled=1, val=1)
    (root / "images" / "a0.png").unlink()
    assert run_check(monkeypatch, "dataset=folder", f"dataset.root={root}", "workers=0", f"out={tmp_path}/out") == 0
    assert "note: files: masks without image" in capsys.readouterr().out
    (finding,) = json.loads((tmp_path / "out" / "check.json").read_text())["findings"]
    assert "1 mask with the name of no image" in finding["texts"][0]


def test_a_range_that_is_hardly_used_is_in_the_report(tmp_path, monkeypatch, capsys):
    photos = make_folder(tmp_path / "photos", labeled=4, unlabeled=1, val=1)
    root = rewritten(photos, tmp_path / "deep", twelve_bits, ".png")
    settings = ["dataset=folder", f"dataset.root={root}", "dataset.value_range=[0,65535]", f"out={tmp_path}/out"]
    assert run_check(monkeypatch, *settings, "workers=0") == 0
    assert "note: files: range hardly used" in capsys.readouterr().out
    findings = json.loads((tmp_path / "out" / "check.json").read_text())["findings"]
    assert [(f["kind"], len(f["texts"])) for f in findings] == [("range hardly used", 3)]


def test_faults_are_reported_with_status_1(tmp_path, monkeypatch, capsys):
    root = make_distinct_camvid(tmp_path / "camvid")
    for i in range(4):
        (root / "trainannot" / f"{i:03d}.png").write_bytes(b"")
    (root / "train" / "001.jpg").write_bytes((root / "val" / "000.jpg").read_bytes())
    (root / "valannot" / "001.png").unlink()
    settings = ["dataset=camvid", f"dataset.root={root}", "workers=0", f"out={tmp_path}/out"]
    assert run_check(monkeypatch, *settings) == 1
    shown = capsys.readouterr().out
    assert "WRONG: labelled: unreadable" in shown
    assert "WRONG: labelled: same content" in shown
    assert "WRONG: validation: no mask" in shown
    assert f"{root}/valannot/001.png" in shown
    assert "camvid: 3 kinds of faults; training would be wrong" in shown
    facts = json.loads((tmp_path / "out" / "check.json").read_text())
    assert facts["wrong"] is True
    assert [len(f["texts"]) for f in facts["findings"] if f["kind"] == "unreadable"] == [4]


def test_warnings_alone_have_status_0(tmp_path, monkeypatch, capsys):
    root = make_distinct_camvid(tmp_path / "camvid")
    for path in root.glob("trainannot/*.png"):
        Image.fromarray(np.minimum(np.asarray(Image.open(path)), 4)).save(path)
    settings = ["dataset=camvid", f"dataset.root={root}", "workers=0", f"out={tmp_path}/out"]
    assert run_check(monkeypatch, *settings) == 0
    shown = capsys.readouterr().out
    assert "note: labelled: class never labelled" in shown
    assert "    tree\n" in shown
    assert "and 1 more" in shown


def test_pairs_and_folders_of_classes_are_checked(tmp_path, monkeypatch, capsys):
    root = make_change(tmp_path / "pairs", [f"{i}.png" for i in range(6)])
    settings = ["dataset=change_folder", f"dataset.root={root}", "workers=0", f"out={tmp_path}/out"]
    assert run_check(monkeypatch, *settings) == 0
    shown = capsys.readouterr().out
    assert "24 x 20 (5)" in shown
    assert f"{100 * 64 / 480:.2f} %" in shown  # of the pixels are changed
    (root / "B" / "4.png").unlink()
    assert run_check(monkeypatch, *settings) == 1
    assert f"{root}/B/4.png: no such file; it is the second date of" in capsys.readouterr().out
    animals = make_image_folder(tmp_path / "animals")
    settings = ["dataset=image_folder", f"dataset.root={animals}", "dataset.val_per_class=1", "workers=0"]
    settings += [f"out={tmp_path}/classes", "dataset.labeled_per_class=1"]
    assert run_check(monkeypatch, *settings) == 0
    shown = capsys.readouterr().out
    assert "image_folder: no faults" in shown
    assert "labelled images, share" in shown
    facts = json.loads((tmp_path / "classes" / "check.json").read_text())
    assert facts["parts"]["labelled"]["images_of_class"] == {"ant": 1, "bee": 1}
    assert Image.open(tmp_path / "classes" / "contact_sheet.png").width > 1000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "dataset=NAME is needed"),
        (["dataset=camvid", "dataset.root={tmp}/nowhere"], "unimatch: dataset.root=/"),
        (["dataset=camvid", "dataset.root={tmp}"], ": no such folder ("),
        (["dataset=camvid", "dataset.rot={tmp}"], "did you mean dataset.root?"),
        (["dataset=digits", "recipe.crop=wide"], "recipe.crop=wide: must be a whole number or auto"),
        at_night(["dataset=digits", "recipe.crop=0"], "recipe.crop=0: must be at least 1"),
        at_night(["dataset=digits", "recipe.batch_size=0"], "recipe.batch_size=0: must be at least 1"),
        at_night(["dataset=digits", "recipe.scale=[2]"], "recipe.scale=[2]: lowest and highest factor"),
        at_night(["dataset=digits", "recipe.ema_decay=1"], "recipe.ema_decay=1: must be at least 0 and below 1"),
        (["dataset=digits", "trainer.max_steps=few"], "trainer.max_steps=few: must be a whole number or null"),
    ],
)
def test_settings_that_cannot_be_have_status_2(tmp_path, monkeypatch, capsys, overrides, message):
    monkeypatch.chdir(tmp_path)
    assert run_check(monkeypatch, *(o.format(tmp=tmp_path) for o in overrides)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_with_neither_class_names_nor_masks_is_told_so(tmp_path, monkeypatch, capsys):
    """Not: let the check write a classes.txt, which is what has just been tried."""
    root = make_folder(tmp_path / "photos", labeled=1)
    for path in (root / "classes.txt", root / "masks" / "a0.png"):
        path.unlink()
    assert run_check(monkeypatch, "dataset=folder", f"dataset.root={root}", f"out={tmp_path}/out") == 2
    assert f"no classes.txt, and no masks in {root / 'masks'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    inner = make_folder(tmp_path / "outer" / "photos", labeled=1)
    assert run_check(monkeypatch, "dataset=folder", f"dataset.root={inner.parent}", f"out={tmp_path}/out") == 2
    assert f"set dataset.root={inner}" in capsys.readouterr().err


def test_an_export_of_a_label_tool_is_told_what_makes_masks_of_it(tmp_path, monkeypatch, capsys):
    exports.coco(tmp_path)
    assert run_check(monkeypatch, "dataset=folder", f"dataset.root={tmp_path}") == 2
    assert f"python -m unimatch.labels from={tmp_path} to=FOLDER" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.skipif(not (SHARED / "nuclei").is_dir(), reason="the nuclei images are not here")
def test_nuclei_pass(tmp_path, monkeypatch, capsys):
    root = SHARED / "nuclei"
    assert run_check(monkeypatch, "dataset=folder", f"dataset.root={root}", f"out={tmp_path}") == 0
    assert "no faults" in capsys.readouterr().out


def test_the_documentation_lists_every_kind_of_finding():
    for kind, meaning in {**FAULTS, **WARNINGS}.items():
        assert f"| {kind} | {meaning} |" in DOCS


def test_a_folder_without_class_names_gets_them_in_one_call(tmp_path, monkeypatch, capsys):
    root = make_folder(tmp_path / "photos", labeled=4)
    colors = np.array([(0, 0, 0), (200, 10, 10)], np.uint8)
    for path in (root / "masks").iterdir():
        Image.fromarray(colors[np.asarray(Image.open(path))]).save(path)
    (root / "classes.txt").unlink()
    settings = ["dataset=folder", f"dataset.root={root}", "workers=0", f"out={tmp_path}/out"]
    (tmp_path / "own").mkdir()
    assert run_check(monkeypatch, "--config-dir", f"{tmp_path}/own", *settings) == 1
    shown = capsys.readouterr().out
    assert f"{root / 'masks'}: 4 masks in colours (RGB)" in shown
    text = (tmp_path / "out" / "classes.txt").read_text()
    assert text in shown
    copied, again = shown.splitlines()[-2:]
    assert copied == f"  cp {tmp_path}/out/classes.txt {root}/classes.txt"
    start = f"  python -m unimatch.check --config-dir {tmp_path}/own"
    assert again == f"{start} {' '.join(settings)} dataset.colors=palette"
    (root / "classes.txt").write_text(text)
    assert run_check(monkeypatch, *settings) == 1
    shown = capsys.readouterr().out
    assert "Add to your commands: dataset.colors=palette" in shown
    assert f"{root / 'classes.txt'} has colours already" in shown
    assert "class_N" not in shown
    assert run_check(monkeypatch, *settings, "dataset.colors=palette") == 0
    ids = np.zeros((24, 32), np.uint8)
    Image.fromarray(ids + np.eye(24, 32, dtype=np.uint8)).save(root / "masks" / "a0.png")
    assert run_check(monkeypatch, *settings, "dataset.colors=palette") == 1
    assert "Save these 1 as the others are" in capsys.readouterr().out
