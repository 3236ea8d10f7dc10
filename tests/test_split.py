import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from helpers.class_data import make_image_folder, names_of
from helpers.support import make_camvid, make_change
from unimatch.data import camvid, change_folder, folder, image_folder
from unimatch.split import main


def run_split(monkeypatch, *overrides):
    monkeypatch.setattr(sys, "argv", ["unimatch.split", *overrides])
    main()


def test_help_explains_every_key(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_split(monkeypatch, "--help")
    shown = capsys.readouterr().out
    assert "  workers    processes that read the masks; null: one per core\n" in shown
    assert """'group="([^/]+)/[^/]+$"'""" in shown


def make_root(root, count=12, without_mask=2):
    """Images below images/ in two folders ("scenes"), class 2 in one image only."""
    for i in range(count + without_mask):
        image = root / "images" / f"scene{i % 2}" / f"{i:02d}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6, 3), i, np.uint8)).save(image)
        if i < count:
            mask = root / "masks" / f"scene{i % 2}" / f"{i:02d}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 6), 2 if i == 5 else i % 2, np.uint8)).save(mask)
    return root


def make_folder(root):
    """The folder layout: 6 images with masks, 4 without, 2 validation images."""
    for part, count in (("", 6), ("val", 2)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
            for i in range(count):
                array = np.full((4, 6, 3), 9 * i, np.uint8) if kind == "images" else np.full((4, 6), i % 3, np.uint8)
                Image.fromarray(array).save(root / part / kind / f"{i}.png")
    (root / "unlabeled").mkdir()
    for i in range(4):
        Image.new("RGB", (6, 4), (0, 0, i)).save(root / "unlabeled" / f"u{i}.png")
    (root / "classes.txt").write_text("ground\nleaf\nstone\n")
    return root


def test_a_plain_root_is_split_into_nested_lists(tmp_path, monkeypatch, capsys):
    root = make_root(tmp_path / "own")
    run_split(monkeypatch, f"root={root}", "labeled=[3,6]", "seed=1", "val=2", "workers=0")
    lists = {
        p.relative_to(root / "splits").as_posix(): p.read_text().splitlines() for p in root.glob("splits/**/*.txt")
    }
    assert set(lists) == {"3/labeled.txt", "3/unlabeled.txt", "6/labeled.txt", "6/unlabeled.txt", "val.txt"}
    assert [len(lists[name]) for name in ("3/labeled.txt", "6/labeled.txt", "val.txt")] == [3, 6, 2]
    assert set(lists["3/labeled.txt"]) < set(lists["6/labeled.txt"])
    everything = {p.relative_to(root).as_posix() for p in (root / "images").rglob("*.png")}
    for size in ("3", "6"):
        parts = lists[f"{size}/labeled.txt"] + lists[f"{size}/unlabeled.txt"] + lists["val.txt"]
        assert sorted(line.split()[0] for line in parts) == sorted(everything)
    assert "images/scene1/05.png masks/scene1/05.png" in lists["3/labeled.txt"]  # the only one with class 2
    facts = json.loads((root / "splits" / "split.json").read_text())
    assert facts["lists"]["3/labeled.txt"]["classes"] == {"id 0": 1, "id 1": 1, "id 2": 1}
    assert (facts["seed"], facts["images"], facts["images_without_mask"]) == (1, 12, 2)
    shown = capsys.readouterr().out
    assert "12 images with a mask, 2 without" in shown
    assert "3/labeled.txt" in shown
    assert not (tmp_path / "outputs").exists()


def test_the_lists_train(tmp_path, monkeypatch):
    root = make_camvid(tmp_path / "camvid")
    run_split(monkeypatch, "dataset=camvid", f"root={root}", "labeled=2", "workers=0")
    splits = root / "splits" / "2"
    data = camvid(root, labeled_list=splits / "labeled.txt", unlabeled_list=splits / "unlabeled.txt")
    assert (len(data.labeled), len(data.unlabeled)) == (2, 2)
    named = camvid(root, splits=root / "splits", split=2)
    assert list(named.labeled.pairs) == list(data.labeled.pairs)
    assert list(named.unlabeled.pairs) == list(data.unlabeled.pairs)
    assert json.loads((root / "splits" / "split.json").read_text())["dataset"] == "camvid"


def test_a_dataset_keeps_its_held_out_images_and_names_what_is_missing(tmp_path, monkeypatch, capsys):
    folder_root = make_folder(tmp_path / "photos")
    run_split(
        monkeypatch, "dataset=folder", f"dataset.root={folder_root}", "labeled=1", f"out={tmp_path}/out", "workers=0"
    )
    labeled = (tmp_path / "out" / "1" / "labeled.txt").read_text().splitlines()
    unlabeled = (tmp_path / "out" / "1" / "unlabeled.txt").read_text().splitlines()
    assert len(labeled) == 1
    assert len(unlabeled) == 5 + 4
    assert sum(len(line.split()) == 1 for line in unlabeled) == 4  # images without masks
    assert not any("val/" in line or "test/" in line for line in labeled + unlabeled)
    data = folder(folder_root, labeled_list=tmp_path / "out" / "1" / "labeled.txt")
    assert len(data.labeled) == 1
    for path in (folder_root / "masks").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    capsys.readouterr()
    run_split(monkeypatch, "dataset=folder", f"root={folder_root}", "labeled=[2]", f"out={tmp_path}/b", "workers=0")
    shown = capsys.readouterr().out
    assert "2 classes missing: leaf, stone" in shown
    assert "no mask at all shows: leaf, stone" in shown


def test_scenes_stay_whole(tmp_path, monkeypatch):
    root = make_root(tmp_path / "own", count=12, without_mask=0)
    run_split(monkeypatch, f"root={root}", "labeled=6", 'group="([^/]+)/[^/]+$"', "workers=0")
    labeled = (root / "splits" / "6" / "labeled.txt").read_text().splitlines()
    assert len({line.split("/")[1] for line in labeled}) == 1
    assert len(labeled) == 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["labeled=2"], "root=FOLDER or dataset=NAME is needed"),
        (["root={root}"], "unimatch: labeled=N or labeled=[N,M] is needed"),
        (["root={root}", "labeled=[1,many]"], "labeled="),
        (["root={root}", "labeled=99"], "only 12 images"),
        (["root={root}", "labeled=2", "masks=annotations"], "annotations: no such folder"),
        (["root={root}/nowhere", "labeled=2"], "no such folder"),
        (["root={root}", "labeled=2", "group=x"], "group=x: not found in images/scene0/00.png"),
        (["dataset=digits", "labeled=2"], "not made of files; dataset.labeled=N splits it"),
        (["dataset=digits_classification", "labeled=2"], "not made of files; dataset.labeled_per_class=N splits it"),
        (["dataset=folder", "root={root}/nowhere", "labeled=2"], "unimatch: dataset.root=/"),
        (["dataset=folder", "root={root}", "dataset.val_share=2", "labeled=2"], "unimatch: dataset.val_share=2: must"),
        (["root={root}", "labled=2"], "did you mean labeled?"),
        (["root={root}", "labeled=2", "workers=-1"], "workers=-1"),
    ],
)
def test_bad_input_is_one_message_and_status_2(tmp_path, monkeypatch, capsys, overrides, message):
    root = make_root(tmp_path / "own")
    with pytest.raises(SystemExit) as stopped:
        run_split(monkeypatch, *(o.format(root=root) for o in overrides))
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (root / "splits").exists()


def test_existing_lists_stay_unless_told(tmp_path, monkeypatch, capsys):
    root = make_root(tmp_path / "own")
    run_split(monkeypatch, f"root={root}", "labeled=2", "workers=0")
    before = (root / "splits" / "2" / "labeled.txt").read_text()
    with pytest.raises(SystemExit):
        run_split(monkeypatch, f"root={root}", "labeled=2", "seed=3", "workers=0")
    assert "overwrite=true" in capsys.readouterr().err
    assert (root / "splits" / "2" / "labeled.txt").read_text() == before
    run_split(monkeypatch, f"root={root}", "labeled=2", "seed=3", "workers=0", "overwrite=true")
    assert json.loads((root / "splits" / "split.json").read_text())["seed"] == 3


def test_names_with_blanks_are_written_so_that_they_can_be_read(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "my photos")
    for kind in ("images", "masks"):
        for i in range(3):
            (root / kind / f"{i}.png").rename(root / kind / f"photo {i}.png")
    (root / "unlabeled" / "u0.png").rename(root / "unlabeled" / "u 0.png")
    run_split(monkeypatch, "dataset=folder", f'root="{root}"', "labeled=4", "workers=0")
    lists = root / "splits" / "4"
    data = folder(root, labeled_list=lists / "labeled.txt", unlabeled_list=lists / "unlabeled.txt")
    assert (len(data.labeled), len(data.unlabeled)) == (4, 2 + 4)
    for source in (data.labeled, data.unlabeled):
        for i in range(len(source)):
            assert source.image(i).shape == (4, 6, 3)
            assert (source.mask(i) is None) == ("unlabeled" in source.name(i))


def test_names_a_list_cannot_hold_are_named(tmp_path, monkeypatch, capsys):
    root = make_root(tmp_path / "own")
    (root / "images" / "scene0" / "00.png").rename(root / "images" / "scene0" / "a\tb.png")
    with pytest.raises(SystemExit):
        run_split(monkeypatch, f"root={root}", "labeled=2", "workers=0")
    assert "a\tb.png: a list cannot hold a name with a tab" in capsys.readouterr().err


NAMES = [f"t{i}.png" for i in range(12)]


def parts(data):
    sources = (data.labeled, data.unlabeled, data.val, data.test or ())
    return [{source.name(i).rpartition("/")[2] for i in range(len(source))} for source in sources]


@pytest.mark.parametrize("layout", ["one folder", "lists", "folders"])
def test_lists_of_pairs_are_those_that_the_data_set_reads(tmp_path, monkeypatch, capsys, layout):
    root = tmp_path / "pairs"
    held = 0 if layout == "one folder" else 4
    if layout == "folders":
        for part, names in (
            ("train", NAMES[:8]),
            ("val", NAMES[8:10]),
            ("test", NAMES[10:]),
            ("unlabeled", ["u0.png"]),
        ):
            make_change(root / part, names)
    else:
        make_change(root, NAMES)
    if layout == "lists":
        (root / "list").mkdir()
        for part, names in (("train", NAMES[:8]), ("val", NAMES[8:10]), ("test", NAMES[10:])):
            (root / "list" / f"{part}.txt").write_text("\n".join(names))
    arguments = [] if held else ["dataset.val_share=0.1", "val=2"]
    run_split(monkeypatch, "dataset=change_folder", f"root={root}", "labeled=[2,5]", "workers=0", *arguments)
    shown = capsys.readouterr().out
    assert ("1 pair of" in shown) == (layout == "folders")
    pools = ["rest", {"root": str(root / "unlabeled")}] if layout == "folders" else "rest"
    few, more = (parts(change_folder(root, splits=root / "splits", split=size, unlabeled=pools)) for size in (2, 5))
    assert len(few[0]) == 2
    assert few[0] < more[0]
    assert len(more[0]) == 5
    if held:
        assert few[0] | few[1] == {*NAMES[:8], *(["u0.png"] if layout == "folders" else [])}
        assert few[2:] == more[2:] == [set(NAMES[8:10]), set(NAMES[10:])]
    else:
        assert len(few[2]) == 2
        assert len(few[0] | few[1] | few[2]) == 11  # one was held out before, by dataset.val_share
    assert not few[0] & few[1]
    assert not few[2] & (few[0] | few[1])


def test_lists_of_classes_are_balanced_and_those_that_the_data_set_reads(tmp_path, monkeypatch, capsys):
    root = make_image_folder(tmp_path / "animals", per_class=6)
    settings = ["dataset=image_folder", f"root={root}", "dataset.val_per_class=1", "labeled=[1,3]", "val=2"]
    run_split(monkeypatch, *settings)
    assert "12 images with a class" in capsys.readouterr().out
    lists = root / "splits"
    written = sorted(path.relative_to(lists).as_posix() for path in lists.rglob("*.*"))
    assert written == ["1/labeled.txt", "3/labeled.txt", "split.json", "val.txt"]
    few, more = (
        image_folder(root, labeled_list=lists / size / "labeled.txt", val_list=lists / "val.txt", unlabeled="rest")
        for size in "13"
    )
    for data, count in ((few, 1), (more, 3)):
        assert np.bincount(data.labeled.labels).tolist() == [count, count]
        assert np.bincount(data.val.labels).tolist() == [2, 2]
        assert len(data.unlabeled) == 12 - 2 * count - 4 + 4
    assert set(names_of(few.labeled)) < set(names_of(more.labeled))
    assert json.loads((lists / "split.json").read_text())["lists"]["3/labeled.txt"]["classes"] == {"ant": 3, "bee": 3}


def test_a_data_set_of_other_folders_is_split_as_it_lies(tmp_path, monkeypatch):
    root = make_folder(tmp_path)
    for kind, other in (("images", "train/imgs"), ("masks", "train/labels")):
        (root / "train").mkdir(exist_ok=True)
        (root / kind).rename(root / other)
    run_split(monkeypatch, f"root={root}", "labeled=2", "workers=0")
    lines = (root / "splits" / "2" / "labeled.txt").read_text().splitlines()
    assert all(line.startswith("train/imgs/") and " train/labels/" in line for line in lines)
    lists = {f"{part}_list": root / "splits" / "2" / f"{part}.txt" for part in ("labeled", "unlabeled")}
    assert len(folder(root, **lists).labeled) == 2
    (root / "train" / "labels").rename(root / "train" / "drawn")
    run_split(
        monkeypatch,
        f"root={root}",
        "labeled=2",
        "workers=0",
        "images=train/imgs",
        "masks=train/drawn",
        f"out={tmp_path / 'out'}",
    )
    with pytest.raises(SystemExit):
        run_split(monkeypatch, f"root={root}", "labeled=2", "workers=0", f"out={tmp_path / 'other'}")


def test_classes_below_the_root_are_split(tmp_path, monkeypatch):
    root = make_image_folder(tmp_path / "animals", per_class=6)
    (root / "unlabeled").rename(root / "Unlabelled")
    shutil.rmtree(root / "test")
    for name in ("ant", "bee"):
        (root / "train" / name).rename(root / name)
    (root / "train").rmdir()
    run_split(monkeypatch, "dataset=image_folder", f"root={root}", "labeled=1", "val=2", "dataset.val_per_class=1")
    lists = root / "splits"
    assert sorted(line.split("/")[0] for line in (lists / "1" / "labeled.txt").read_text().split()) == ["ant", "bee"]
    data = image_folder(root, labeled_list=lists / "1" / "labeled.txt", val_list=lists / "val.txt", unlabeled="rest")
    assert (len(data.labeled), len(data.val), len(data.unlabeled)) == (2, 4, 6 + 4)
