"""``unimatch.round`` as a command, with a simulated annotator."""

import csv
import json
import shutil
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.support import make_camvid, save_run
from unimatch import labels, round
from unimatch.data.catalog import CAMVID


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """``photos/`` with two labelled photos and six in a pool, one of them in a folder, and a model."""
    root = tmp_path_factory.mktemp("made")
    camvid = make_camvid(root / "camvid", train=8)
    files = sorted((camvid / "train").iterdir())
    for number, file in enumerate(files):
        part = root / "photos" / ("images" if number < 2 else "unlabeled/drive" if number == 7 else "unlabeled")
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, part)
        if number < 2:
            (root / "photos/masks").mkdir(exist_ok=True)
            shutil.copy(camvid / "trainannot" / f"{file.stem}.png", root / "photos/masks")
    (root / "photos/classes.txt").write_text("\n".join(CAMVID.classes) + "\n")
    save_run(root / "best.ckpt", camvid)
    return root


@pytest.fixture
def call(made, tmp_path, monkeypatch):
    """Runs a command on a copy of the photos; ``round`` unless another is named."""
    shutil.copytree(made / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)

    def run(*overrides, command=round):
        given = [f"checkpoint={made}/best.ckpt", "dataset.root=photos", "to=labelme", "features=features", "workers=0"]
        keys = {word.partition("=")[0] for word in overrides}
        words = [word for word in given if word.partition("=")[0] not in keys] if command is round else ["workers=0"]
        monkeypatch.setattr(sys, "argv", [f"unimatch.{command.__name__}", *words, *overrides])
        command.main()

    return run


def test_a_round_is_made_corrected_and_added_to_what_is_labelled(call, made, tmp_path, capsys):
    call("n=2")
    shown = capsys.readouterr().out
    assert "2 of the 6 photos without labels (2 have labels), described by tiny of the model" in shown
    names = (tmp_path / "round/selected.txt").read_text().splitlines()
    assert len(names) == 2
    assert all(name.startswith("unlabeled/") for name in names)
    with Image.open(tmp_path / "round/contact_sheet.png") as sheet:
        assert sheet.width > 500
    # The annotator gets the photos with the model's masks, and corrects the first: all sky.
    notes = sorted((tmp_path / "round/to_correct").rglob("*.json"))
    assert len(notes) == 2
    first = next(note for note in notes if note.stem == names[0].rpartition("/")[2].partition(".")[0])
    content = json.loads(first.read_text())
    everything = {"label": "sky", "points": [[0, 0], [48, 0], [48, 36], [0, 36]], "shape_type": "polygon"}
    first.write_text(json.dumps({**content, "shapes": [everything]}))
    kept = {path.name: path.read_bytes() for path in (tmp_path / "photos/masks").iterdir()}
    call("from=round/to_correct", "to=photos", command=labels)
    below = [name.removeprefix("unlabeled/") for name in names]
    for name in below:
        assert (tmp_path / "photos/images" / name).is_file()
        assert not (tmp_path / "photos/unlabeled" / name).exists()
    assert np.unique(np.asarray(Image.open(tmp_path / f"photos/masks/{below[0][:-4]}.png"))).tolist() == [0]
    predicted = np.asarray(Image.open(tmp_path / f"round/predicted/masks/unlabeled/{below[1][:-4]}.png"))
    came_back = np.asarray(Image.open(tmp_path / f"photos/masks/{below[1][:-4]}.png"))
    assert (predicted == came_back).mean() > 0.99
    assert all((tmp_path / "photos/masks" / name).read_bytes() == content for name, content in kept.items())
    call("n=4", "out=last")  # what is labelled now is not chosen again
    assert not set((tmp_path / "last/selected.txt").read_text().splitlines()) & set(names)


def test_the_photos_that_the_model_is_least_sure_of_are_chosen(call, tmp_path, monkeypatch):
    """The likeness and the kinds are those of all; among photos that all look the same, confidence alone decides."""
    content = (tmp_path / "photos/unlabeled/002.jpg").read_bytes()
    for path in (tmp_path / "photos/unlabeled").rglob("*.jpg"):
        path.write_bytes(content)
    unsure = lambda folder, photos: {path: 0.1 + 0.8 * (path.stem == "005") for path in photos.files}  # noqa: E731
    monkeypatch.setattr(round, "unsureness", unsure)
    call("n=1")
    assert (tmp_path / "round/selected.txt").read_text() == "unlabeled/005.jpg\n"


def test_several_models_are_asked_where_they_disagree(call, made, tmp_path, capsys):
    save_run(tmp_path / "other.ckpt", made / "camvid", seed=1)
    call("n=2", f"checkpoint=[{made}/best.ckpt,other.ckpt]")
    assert "pixels on which the models disagree: " in capsys.readouterr().out
    predicted = tmp_path / "round/predicted"
    assert not (predicted / "confidence").exists()
    with (predicted / "areas.csv").open() as file:
        areas = {row["image"]: float(row["disagreement"]) for row in csv.DictReader(file)}
    assert len(areas) == 6
    found = round.unsureness(predicted, round.photos_below("photos"))
    assert {path.stem: value for path, value in found.items()} == pytest.approx(
        {name.rpartition("/")[2]: value for name, value in areas.items()}, abs=1e-5
    )
    assert len(set(found.values())) > 1


@pytest.mark.nightly
def test_an_interrupted_round_goes_on_and_ends_the_same(call, tmp_path, monkeypatch, capsys):
    call("n=3", "out=whole", "hand_over=zip", "to=cvat")
    predict = round.predict_photos

    def killed(*arguments):
        predict(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(round, "predict_photos", killed)
    with pytest.raises(SystemExit, match="130"):
        call("n=3", "hand_over=zip", "to=cvat")
    monkeypatch.setattr(round, "predict_photos", predict)
    (tmp_path / "round/to_correct").mkdir()  # or while it wrote what is to be corrected
    (tmp_path / "round/to_correct/half.json").write_text("{")
    (tmp_path / "round/to_correct.zip").write_bytes(b"half")
    capsys.readouterr()
    call("n=3", "hand_over=zip", "to=cvat")
    assert "6 of 6 images predicted (6 of them earlier)" in capsys.readouterr().out
    for name in ("selected.txt", "to_correct.zip"):
        assert (tmp_path / "round" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with zipfile.ZipFile(tmp_path / "round/to_correct.zip") as archive:
        assert len([name for name in archive.namelist() if name.startswith("SegmentationClass/")]) == 3
    assert not (tmp_path / "round/to_correct").exists()
    with pytest.raises(SystemExit):
        call("n=1", "hand_over=zip", "to=cvat")
    assert "holds a round already" in capsys.readouterr().err
    call("n=1", "overwrite=true")
    assert sorted(p.name for p in (tmp_path / "round").iterdir()) == [
        "contact_sheet.png", "predicted", "selected.txt", "to_correct",
    ]  # fmt: skip


def test_a_photo_that_cannot_be_read_is_named_and_left_out(call, tmp_path, capsys):
    (tmp_path / "photos/unlabeled/003.jpg").write_bytes(b"no photo")
    call("n=5")
    names = (tmp_path / "round/selected.txt").read_text().splitlines()
    assert len(names) == 5
    assert "unlabeled/003.jpg" not in names
    assert "003" in capsys.readouterr().err


BAD = {
    "too many": (["n=7"], "n=7: must be 1 to 6"),
    "another tool": (["n=1", "to=paint"], "to=paint"),
    "no expression": (["n=1", "group='(['"], "group=([: not a regular expression"),
    "mistyped": (["n=1", "tolerances=1"], "did you mean tolerance?"),
    "another key of an encoder": (["n=1", "encoder=vits", "+encoder.freeze=true"], "encoder.freeze"),
    "tolerance": (["n=1", "tolerance=-1.0"], "tolerance=-1.0"),
    "none of two models": (["n=1", "checkpoint=[a.ckpt,b.ckpt]"], "a.ckpt"),
    "no models": (["n=1", "checkpoint=[]"], "checkpoint=[]: no model is named"),
    "no model": (["n=1", "checkpoint=nowhere.ckpt"], "nowhere.ckpt"),
    "a folder of something else": (["n=1", "out=photos"], "holds no round"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_before_anything_is_predicted(case, call, capsys, tmp_path):
    overrides, words = BAD[case]
    with pytest.raises(SystemExit) as stopped:
        call(*overrides)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "round").exists()


def test_a_model_of_other_classes_is_refused(call, tmp_path, capsys):
    (tmp_path / "photos/classes.txt").write_text("background\nnucleus\n")
    with pytest.raises(SystemExit):
        call("n=1")
    assert "names the classes background, nucleus, and the model knows sky" in capsys.readouterr().err
