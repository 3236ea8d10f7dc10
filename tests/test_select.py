"""``unimatch.select`` as a command."""

import shutil
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

import unimatch
from unimatch.select import main
from unimatch.selection import select as select_function

COLORS = {"sea": (30, 60, 200), "forest": (20, 120, 30), "brick": (160, 60, 40)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three kinds of places in two folders."""
    root = tmp_path_factory.mktemp("data") / "my photos"
    rng = np.random.default_rng(0)
    for kind, color in COLORS.items():
        for number in range(4):
            photo = np.clip(np.array(color) + rng.normal(0, 12, (40, 56, 3)), 0, 255).astype(np.uint8)
            path = root / f"drive{number % 2}" / f"{kind} {number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(path)
    return root


@pytest.fixture
def select(photos, tmp_path, monkeypatch):
    def call(*overrides, root=photos):
        words = [f"dataset.root='{root}'", f"out={tmp_path / 'out'}", f"features={tmp_path / 'features'}", *overrides]
        monkeypatch.setattr(sys, "argv", ["unimatch.select", *words])
        monkeypatch.chdir(tmp_path)
        main()
        return (tmp_path / "out" / "selected.txt").read_text().splitlines()

    return call


def kinds_of(names):
    return sorted(name.split("/")[-1].split(" ")[0] for name in names)


def test_a_list_a_sheet_and_the_photos_are_written(select, photos, tmp_path, capsys):
    names = select("n=3")
    assert kinds_of(names) == sorted(COLORS)
    out = tmp_path / "out"
    for name in names:
        assert (out / "photos" / name).read_bytes() == (photos / name).read_bytes()
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 1000
    printed = capsys.readouterr().out
    assert "3 of the 12 photos, described by colour and texture" in printed
    assert "unimatch.labels from=EXPORT" in printed


def test_an_archive_can_be_handed_over(select, tmp_path):
    names = select("n=2", "hand_over=zip")
    with zipfile.ZipFile(tmp_path / "out" / "photos.zip") as archive:
        assert archive.namelist() == names
    assert not (tmp_path / "out" / "photos").exists()


@pytest.mark.parametrize("weight", ["0", "0.5"])
def test_the_weight_of_likeness_may_be_a_fraction(select, weight):
    assert len(select("n=2", f"likeness={weight}")) == 2


def test_a_pattern_shares_the_choice_between_folders(select):
    names = select("n=4", "'group=\"([^/]+)/[^/]+$\"'".strip("'"))
    assert sorted(name.split("/")[0] for name in names) == ["drive0", "drive0", "drive1", "drive1"]


def test_a_folder_laid_out_for_training_says_what_is_labelled(select, photos, tmp_path, capsys):
    root = tmp_path / "set"
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        part = root / ("images" if number < 6 else "unlabeled")
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, part / path.name)
        if number < 6 and not path.name.startswith("brick"):
            mask = root / "masks" / f"{path.stem}.png"
            mask.parent.mkdir(exist_ok=True)
            Image.fromarray(np.zeros((40, 56), np.uint8)).save(mask)
    (root / "val").mkdir()
    shutil.copy(path, root / "val" / "kept.jpg")
    assert kinds_of(select("n=1", root=root)) == ["brick"]
    assert "1 of the 8 photos without labels (4 have labels)" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["list", "folder"])
def test_what_is_labelled_can_be_named(select, photos, tmp_path, how):
    labelled = [path for path in sorted(photos.rglob("*.jpg")) if not path.name.startswith("forest")]
    given = tmp_path / "given"
    if how == "list":
        given.write_text("".join(f"{path.relative_to(photos)}\n" for path in labelled))
    else:
        given.mkdir()
        for path in labelled:
            (given / f"{path.stem}.png").touch()
    assert kinds_of(select("n=1", f"given={given}")) == ["forest"]


def test_photos_that_a_model_is_unsure_of_come_first(select, photos, tmp_path):
    unsure = sorted(photos.rglob("*.jpg"))[5]
    for path in photos.rglob("*.jpg"):
        confidence = tmp_path / "predicted" / "confidence" / path.relative_to(photos).with_suffix(".png")
        confidence.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 56), 20 if path == unsure else 254, np.uint8)).save(confidence)
    assert select("n=1", f"scores={tmp_path / 'predicted'}") == [unsure.relative_to(photos).as_posix()]


BAD = {
    "no encoder without weights": (["n=2", "encoder=vits", "encoder.weights=null"], "encoder.weights=null"),
    "weights of no encoder": (["n=2", "encoder.weights=gone"], "encoder.weights=gone: nothing reads this without"),
    "too many": (["n=13"], "n=13: must be 1 to 12"),
    "no way to hand over": (["n=2", "hand_over=mail"], "hand_over=mail"),
    "no list": (["n=2", "given=nowhere.txt"], "given=nowhere.txt: no such list or folder"),
    "no predictions": (["n=2", "scores=nowhere"], "save=[confidence]"),
    "no expression": (["n=2", "group='(['"], "group=([: not a regular expression"),
    "no weight": (["n=2", "likeness=nan"], "likeness=nan: must be a finite number of at least 0"),
    "mistyped": (["n=2", "groups=x"], "did you mean group?"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_reason(case, select, capsys, tmp_path):
    overrides, words = BAD[case]
    with pytest.raises(SystemExit) as stopped:
        select(*overrides)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(select, capsys, tmp_path):
    select("n=2")
    with pytest.raises(SystemExit):
        select("n=3")
    assert "overwrite=true" in capsys.readouterr().err
    names = select("n=3", "overwrite=true")
    assert len(names) == 3
    photos, victim = tmp_path / "out" / "photos", tmp_path / "victim"
    assert sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.jpg")) == sorted(names)
    photos.rename(victim)
    photos.symlink_to(victim)
    select("n=1", "overwrite=true")
    assert sorted(p.relative_to(victim).as_posix() for p in victim.rglob("*.jpg")) == sorted(names)
    assert len(list(photos.rglob("*.jpg"))) == 1
    select("n=1", "overwrite=true", "hand_over=zip")
    assert not photos.exists()


def test_a_name_of_two_lines_is_refused_and_others_are_shown_as_one(select, capsys, tmp_path):
    root = tmp_path / "strangers photos"
    for name in ("a.png", "b\x1b[31m.png"):
        root.mkdir(exist_ok=True)
        (root / name).write_bytes(b"no photo")
    Image.new("RGB", (40, 30), "red").save(root / "c.png")
    select("n=1", root=root)
    said = capsys.readouterr().out
    assert r"b\x1b[31m.png" in said
    assert "\x1b" not in said
    (root / "a\nb.png").write_bytes(b"no photo")
    with pytest.raises(SystemExit) as stopped:
        select("n=1", "overwrite=true", root=root)
    assert stopped.value.code == 2
    assert "a list cannot hold a name with a line break" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_never_written_into(select, capsys, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit):
        select("n=3", "overwrite=true")
    assert "holds no earlier choice" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_the_function_is_there_beside_the_command_of_its_name():
    assert unimatch.select.main is main
    assert unimatch.select.__call__ is select_function


def test_a_folder_that_waits_for_labels_holds_no_photos_yet(select, photos, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(photos, root / "unlabeled")
    for name in ("images", "masks"):
        (root / name).mkdir()
    assert all(name.startswith("unlabeled/") for name in select("n=2", root=root))


def test_an_empty_pool_is_no_fault_and_leaves_nothing_to_choose(select, photos, tmp_path, capsys):
    root = tmp_path / "set"
    shutil.copytree(photos / "drive0", root / "images")
    (root / "unlabeled/drive1").mkdir(parents=True)
    (root / "masks").mkdir()
    for path in (root / "images").iterdir():
        Image.fromarray(np.zeros((40, 56), np.uint8)).save(root / "masks" / f"{path.stem}.png")
    with pytest.raises(SystemExit):
        select("n=1", root=root)
    assert "n=1: all 6 photos are labelled already" in capsys.readouterr().err
