"""Pairs of dates out of files, by lists and by folders."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.support import make_change
from unimatch import ConfigError, DataError
from unimatch.data import change_folder, levir, whu
from unimatch.data.check import full_check
from unimatch.data.check.before_training import verify
from unimatch.images.bands import PHOTOS
from unimatch.images.folders import notes_taken
from unimatch.inference.inputs import find_pairs

NAMES = [f"t{i}.png" for i in range(10)]


@pytest.fixture
def root(tmp_path):
    """Ten pairs with lists: six to train, two of them labelled, two to validate, two to test."""
    root = make_change(tmp_path / "levir", NAMES)
    lists = {
        "train": NAMES[:6],
        "val": NAMES[6:8],
        "test": NAMES[8:],
        "5%/labeled": NAMES[:2],
        "5%/unlabeled": NAMES[2:6],
    }
    for name, lines in lists.items():
        path = tmp_path / "lists" / "levir" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return root


def names(source):
    return [source.pairs[i].image.name for i in range(len(source))]


def parts(data):
    return [names(source) for source in (data.labeled, data.unlabeled, data.val, data.test)]


def test_an_image_is_both_dates_and_a_label_is_0_and_1(root):
    data = levir(root, splits=root.parent / "lists", split="5%")
    for i, name in enumerate(NAMES[:2]):
        dates, label = data.labeled.image(i), data.labeled.mask(i)
        assert dates.shape == (2, 20, 24, 3)
        for date, folder in zip(dates, "AB", strict=True):
            assert np.array_equal(date, np.asarray(Image.open(root / folder / name)))
        stored = np.asarray(Image.open(root / "label" / name))
        assert set(np.unique(stored)) == {0, 255}
        assert np.array_equal(label, stored // 255)
        assert np.array_equal(label == 1, (dates[0] != dates[1]).any(-1))


@pytest.mark.parametrize("stored", [1, 255])
def test_1_and_255_both_mean_changed(tmp_path, stored):
    data = change_folder(make_change(tmp_path / "a", NAMES, changed=stored))
    assert set(np.unique(data.labeled.mask(0))) == {0, 1}


def test_published_lists_choose_each_part(root):
    lists = root.parent / "lists"
    assert parts(levir(root, splits=lists, split="5%")) == [NAMES[:2], NAMES[2:6], NAMES[6:8], NAMES[8:]]
    everything = levir(root, splits=lists)
    assert (names(everything.labeled), names(everything.val)) == (NAMES[:6], NAMES[6:8])
    assert len(everything.unlabeled) == 0
    some = levir(root, splits=lists, labeled=3)
    assert len(some.labeled) == 3
    assert sorted(names(some.labeled) + names(some.unlabeled)) == NAMES[:6]


def test_a_folder_of_lists_below_the_root_is_found(root):
    (root.parent / "lists" / "levir").rename(root / "list")
    data = whu(root, labeled=2)
    assert sorted(names(data.labeled) + names(data.unlabeled)) == NAMES[:6]
    assert (names(data.val), names(data.test)) == (NAMES[6:8], NAMES[8:])


def test_best_is_chosen_on_val_unless_the_published_way_is_asked_for(root):
    lists = root.parent / "lists"
    data = levir(root, splits=lists, split="5%", choose_best_on="test")
    assert (names(data.val), names(data.test)) == (NAMES[8:], NAMES[8:])
    with pytest.raises(ConfigError, match="choose_best_on=all"):
        levir(root, splits=lists, choose_best_on="all")
    with pytest.raises(ConfigError, match="there are no test pairs"):
        change_folder(root, choose_best_on="test")


def test_folders_say_what_is_for_what(tmp_path):
    for part, chosen in (("train", NAMES[:6]), ("val", NAMES[6:8]), ("test", NAMES[8:]), ("unlabeled", ["u0.png"])):
        make_change(tmp_path / part, chosen)
    data = change_folder(tmp_path, labeled=2)
    assert (sorted(names(data.labeled) + names(data.unlabeled)), names(data.val)) == (
        [*NAMES[:6], "u0.png"],
        NAMES[6:8],
    )
    assert names(data.test) == NAMES[8:]
    (tmp_path / "unlabeled/A/u0.png").unlink()  # all are labelled now
    assert sorted(names(change_folder(tmp_path, labeled=2).unlabeled) + names(data.labeled)) == NAMES[:6]


def test_some_are_held_out_where_nothing_says_which(tmp_path):
    data = change_folder(make_change(tmp_path / "a", NAMES), val_share=0.3)
    assert (len(data.labeled), len(data.val), data.test) == (7, 3, None)
    assert sorted(names(data.labeled) + names(data.val)) == NAMES


def test_whole_groups_are_held_out(tmp_path, root):
    cities = [f"{city}_{i}.png" for city in ("york", "bath", "ely") for i in range(3)]
    data = change_folder(make_change(tmp_path / "a", cities), val_share=0.4, val_group=r"A/(\w+)_")
    held, kept = ({name.split("_")[0] for name in names(part)} for part in (data.val, data.labeled))
    assert (len(data.val), len(data.labeled), held & kept) == (3, 6, set())
    with pytest.raises(ConfigError, match=r"^val_group=t: no images are held out, as .*val\.txt has those"):
        levir(root, splits=root.parent / "lists", split="5%", val_group="t")


def test_a_pool_of_another_root_has_both_dates(tmp_path, root):
    other = make_change(tmp_path / "other", ["x.png", "y.png"])
    data = levir(root, splits=root.parent / "lists", split="5%", unlabeled=["rest", {"root": str(other)}])
    assert names(data.unlabeled) == [*NAMES[2:6], "x.png", "y.png"]
    assert data.unlabeled.image(5).shape == (2, 20, 24, 3)
    assert data.unlabeled.mask(5) is None  # truth of pairs elsewhere is none of ours
    assert data.unlabeled.mask(0) is not None


def grow(path):
    Image.open(path).resize((30, 20), Image.Resampling.NEAREST).save(path)


def set_id(path):
    label = np.asarray(Image.open(path)).copy()
    label[0, :3] = 7
    Image.fromarray(label).save(path)


@pytest.mark.parametrize(
    ("spoil", "file", "message"),
    [
        (lambda path: path.unlink(), "B/t1.png", "B/t1.png: no such file; it is the second date of .*A/t1.png"),
        (
            lambda path: path.rename(path.with_suffix(".jpg")),
            "B/t1.png",
            r"B/t1.png: no such file \(but 't1.jpg' is there; both dates need one name\); it is .*A/t1.png",
        ),
        (grow, "B/t1.png", "B/t1.png: the second date is 30 x 20 pixels and the first, .*A/t1.png, 24 x 20"),
        (grow, "label/t1.png", "label/t1.png: the mask is 30 x 20 pixels and its image 24 x 20"),
        (
            set_id,
            "label/t1.png",
            r"label/t1.png: id 7 \(3 pixels\) outside 0 \(unchanged\), 1 \(changed\), 255 \(changed\); correct",
        ),
        (lambda path: path.write_bytes(b"no image"), "B/t1.png", "B/t1.png: cannot be read"),
    ],
)
def test_faults_are_named_before_training_and_by_check(root, spoil, file, message):
    spoil(root / file)
    data = levir(root, splits=root.parent / "lists", split="5%")
    with pytest.raises(DataError, match=message):
        verify(data, needs_unlabeled=True)
    report = full_check(data, workers=0, progress=False)
    assert report.wrong
    assert {finding.part for finding in report.findings if finding.wrong} == {"labelled"}


def test_without_lists_a_missing_second_date_is_found_at_once(tmp_path):
    root = make_change(tmp_path / "a", NAMES)
    (root / "B" / "t3.png").unlink()
    (root / "B" / "t4.png").unlink()
    with pytest.raises(DataError, match=r"B/t3.png: no such file.* \(and 1 more"):
        change_folder(root)


@pytest.mark.parametrize("folder", ["A", "label"])
def test_a_folder_that_is_missing_is_named_with_those_there_must_be(tmp_path, folder):
    root = make_change(tmp_path / "a", NAMES)
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(DataError, match=rf"{folder}: no such folder .*; pairs lie in A/ B/ label/ below the root"):
        change_folder(root)


def test_a_label_in_colours_is_told_what_to_be(root):
    path = root / "label" / "t1.png"
    red = np.asarray(Image.open(path).convert("RGB")) * np.uint8([1, 0, 0])
    Image.fromarray(red).save(path)
    data = levir(root, splits=root.parent / "lists", split="5%")
    with pytest.raises(DataError, match=r"this one is RGB; save class ids \(of changes 0 and 255\) in one channel"):
        verify(data, needs_unlabeled=True)


def test_a_whole_data_set_has_no_faults(root):
    data = levir(root, splits=root.parent / "lists", split="5%")
    verify(data, needs_unlabeled=True)
    report = full_check(data, workers=0, progress=False)
    assert not report.wrong
    assert [part.images for part in report.parts] == [2, 4, 2, 2]
    assert dict(report.parts[0].shapes) == {(20, 24): 2}


def test_a_pair_that_is_labelled_and_tested_is_refused(root):
    (root.parent / "labeled.txt").write_text(f"{NAMES[0]}\n{NAMES[9]}\n")
    data = levir(root, splits=root.parent / "lists", labeled_list=root.parent / "labeled.txt")
    with pytest.raises(DataError, match="1 image in the labelled and in the test list"):
        verify(data, needs_unlabeled=False)


DATES = {
    "DSIFN": ("t1", "t2", "mask"),
    "SYSU": ("time1", "time2", "label"),
    "S2Looking": ("Image1", "Image2", "label"),
    "capitals": ("T1", "T2", "GT"),
    "words": ("Before", "After", "labels"),
    "small": ("a", "b", "annotations"),
}


def renamed(root, first, second, label):
    """The pairs below a folder, in folders of other names."""
    for old, new in (("A", first), ("B", second), ("label", label)):
        (root / old).rename(root / "passing")  # on some file systems a is A
        (root / "passing").rename(root / new)


@pytest.mark.parametrize("called", DATES.values(), ids=DATES)
def test_dates_and_labels_may_be_called_as_published_sets_call_them(tmp_path, called):
    plain, root = make_change(tmp_path / "plain", NAMES), make_change(tmp_path / "A" / "pairs", NAMES)
    renamed(root, *called)
    with notes_taken() as notes:
        data, expected = change_folder(root, labeled=3), change_folder(plain, labeled=3)
    assert not notes
    for part in ("labeled", "unlabeled", "val"):
        found, same = getattr(data, part), getattr(expected, part)
        assert names(found) == names(same)
        assert all((found.image(i) == same.image(i)).all() for i in range(len(same)))
    assert all((data.val.mask(i) == expected.val.mask(i)).all() for i in range(len(data.val)))
    lines = [photo.name for photo in find_pairs(root, PHOTOS)]
    assert lines == [name.removesuffix(".png") for name in NAMES]
    assert (find_pairs(root, PHOTOS)[2].load() == find_pairs(plain, PHOTOS)[2].load()).all()
    (root / "labeled.txt").write_text("t1.png\n")
    assert names(change_folder(root, labeled_list=root / "labeled.txt").labeled) == ["t1.png"]


def test_parts_and_pools_may_call_them_otherwise(tmp_path):
    parts = {"Training": NAMES[:6], "valid": NAMES[6:8], "Testing": NAMES[8:], "unlabelled": ["u0.png"]}
    called = dict(zip(parts, DATES.values(), strict=False))
    for part, chosen in parts.items():
        make_change(tmp_path / "pairs" / part, chosen)
        renamed(tmp_path / "pairs" / part, *called[part])
    make_change(tmp_path / "pool", ["x.png"])
    renamed(tmp_path / "pool", "pre", "post", "truth")
    pools = ["rest", {"root": str(tmp_path / "pool")}]
    with notes_taken() as notes:
        data = change_folder(tmp_path / "pairs", labeled=2, unlabeled=pools)
    assert not notes
    assert sorted(names(data.labeled) + names(data.unlabeled)) == sorted([*NAMES[:6], "u0.png", "x.png"])
    assert (names(data.val), names(data.test)) == (NAMES[6:8], NAMES[8:])
    assert all(data.unlabeled.image(i).shape[0] == 2 for i in range(len(data.unlabeled)))


def test_a_second_date_that_is_missed_is_named_in_its_folder(tmp_path):
    root = make_change(tmp_path, NAMES)
    renamed(root, "t1", "t2", "mask")
    (root / "t2" / NAMES[0]).rename(root / "t2" / "other.png")
    with pytest.raises(DataError, match=rf"t2/{NAMES[0]}: no such file; it is the second date of .*t1/{NAMES[0]}"):
        change_folder(root)
    (root / "t1" / NAMES[0]).unlink()
    (root / "mask" / NAMES[0]).unlink()
    with notes_taken() as notes:
        change_folder(root)
    assert [kind for kind, _ in notes] == ["second dates alone"]
    assert f"{root / 't2'}: 1 image with the name of none in {root / 't1'}, such as other.png" in notes[0][1]
    (root / "t2").rename(root / "t3")
    with pytest.raises(DataError, match=r"A: no such folder \(.* has mask, t1, t3\); pairs lie in A/ B/ label/"):
        change_folder(root)
    with pytest.raises(DataError, match=r"with A/ and B/, .*, or such as t1/ and t2/ \(.* has mask, t1, t3\)"):
        find_pairs(root, PHOTOS)


@pytest.mark.parametrize("outside", [False, True])
def test_other_folders_may_be_called_like_dates(tmp_path, outside):
    """Those above the data set, which have a neighbour with the same files, and those below the folders of dates."""
    names_of = [f"{place}{i}.png" for place in ("pre/", "post/", "") for i in range(2)]
    plain = make_change(tmp_path / "plain", [name.replace("/", "_") for name in names_of])
    for root in (tmp_path / "before" / "pairs", tmp_path / "after" / "pairs"):
        for kind in ("A", "B", "label"):
            for name in names_of:
                (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(plain / kind / name.replace("/", "_"), root / kind / name)
        for name in ("before", "after", "masks"):
            (root / name).mkdir()
    for file in (tmp_path / "after" / "pairs").rglob("*.png"):  # which would be seen
        Image.new("RGB" if "label" not in file.parts else "L", (24, 20), 0).save(file)
    root = tmp_path / "before" / "pairs"
    (root / "labeled.txt").write_text("\n".join(names_of[1:]))
    (root / "val.txt").write_text(names_of[0])
    lists = {"labeled_list": root / "labeled.txt", "val_list": root / "val.txt"}
    if outside:
        shutil.rmtree(tmp_path / "after")
    data = change_folder(root, **lists, allow_outside=outside)
    assert len(data.labeled) == 5
    for i in range(5):
        first, second = data.labeled.image_paths(i)
        assert second == root / "B" / first.relative_to(root / "A")
    found = {photo.name: photo for photo in find_pairs(root, PHOTOS)}
    expected = np.stack([np.asarray(Image.open(root / kind / "pre" / "0.png")) for kind in "AB"])
    assert (found["pre/0"].load() == expected).all()


@pytest.mark.parametrize("pool", ["train/unlabelled/{0}", "train/{0}/unlabeled", "unlabeled/{0}"])
def test_unlabelled_pairs_may_lie_among_the_training_pairs(tmp_path, pool):
    root = make_change(tmp_path, [f"t{i}.png" for i in range(6)])
    (root / "train").mkdir()
    for kind in ("A", "B", "label"):
        (root / kind).rename(root / "train" / kind)
    for kind in ("A", "B"):
        (root / pool.format(kind)).mkdir(parents=True)
        (root / "train" / kind / "t5.png").rename(root / pool.format(kind) / "t5.png")
    (root / "train" / "label" / "t5.png").unlink()
    data = change_folder(root)
    assert len(data.labeled) + len(data.val) == 5
    assert [Path(data.unlabeled.name(i)).name for i in range(len(data.unlabeled))] == ["t5.png"]
    assert data.unlabeled.image(0).shape[0] == 2


def test_folders_of_images_beside_those_of_pairs_are_said_not_to_be_used(tmp_path):
    root = make_change(tmp_path, NAMES[:4])
    shutil.copytree(root / "A", root / "C")
    with notes_taken() as notes:
        change_folder(root)
    assert [text.partition(";")[0] for _, text in notes] == [f"{root}: not used: C"]
    (root / "names.txt").write_text("\n".join(NAMES[:2]) + "\n")
    with notes_taken() as notes:
        change_folder(root, labeled_list=root / "names.txt")
    assert not notes


def test_parts_may_lie_within_the_folders_of_dates(tmp_path):
    parts = {"train": NAMES[:5], "val": NAMES[5:7], "test": NAMES[7:9], "unlabeled": NAMES[9:]}
    for part, chosen in parts.items():
        plain = make_change(tmp_path / part, chosen)
        for kind in ("A", "B", "label"):
            (tmp_path / "pairs" / kind).mkdir(parents=True, exist_ok=True)
            (plain / kind).rename(tmp_path / "pairs" / kind / part)
    root = tmp_path / "pairs"
    shutil.rmtree(root / "label" / "unlabeled")
    with notes_taken() as notes:
        data = change_folder(root)
    assert not notes
    found = (data.labeled, data.val, data.test, data.unlabeled)
    assert [names(part) for part in found] == list(parts.values())
    assert data.val.image_paths(0) == [root / kind / "val" / NAMES[5] for kind in "AB"]
    assert data.val.mask(0).max() == 1
    (root / "list").mkdir()
    for part in ("train", "val"):  # lists hold names below A
        (root / "list" / f"{part}.txt").write_text("".join(f"{part}/{name}\n" for name in parts[part]))
    assert names(change_folder(root).labeled) == NAMES[:5]
    shutil.rmtree(root / "list")
    shutil.rmtree(root / "label" / "test")
    (root / "A" / "train" / NAMES[0]).unlink()
    (root / "label" / "train" / NAMES[0]).unlink()
    with notes_taken() as notes:
        assert change_folder(root).test is None
    assert sorted(kind for kind, _ in notes) == ["folder not used", "second dates alone"]
    assert f"{root / 'A' / 'test'}: not used; it needs labels in label/test" in dict(notes)["folder not used"]


@pytest.mark.parametrize("file", ["test.txt", "lists/val.txt"])
def test_lists_that_lie_elsewhere_are_said_not_to_be_used(tmp_path, file):
    root = make_change(tmp_path, NAMES)
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(NAMES[0])
    with notes_taken() as notes:
        change_folder(root)
    (found,) = notes
    assert found[0] == "list not used"
    assert found[1].startswith(f"{root / file}: is not used; lists lie in {root / 'list'}, or in a folder that")
    with notes_taken() as notes:
        change_folder(root, splits=(root / file).parent)
    assert not notes


@pytest.mark.parametrize("share", [-1, 0, 1.0, float("nan")])
def test_a_share_held_out_leaves_some_on_both_sides(tmp_path, share):
    with pytest.raises(ConfigError, match=r"val_share=.*: must be above 0 and below 1"):
        change_folder(make_change(tmp_path, NAMES[:4]), val_share=share)
