import json
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.published import MAKERS, make_ade20k, make_cityscapes, make_coco, make_pascal
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.archives import Member
from unimatch.errors import ConfigError, DataError, WriteError


def stored(path):
    with Image.open(path) as image:
        return np.asarray(image)


def files_of(root):
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("unpacked", [False, True], ids=["archives", "unpacked"])
@pytest.mark.parametrize("dataset", MAKERS)
def test_prepared_masks_are_those_written_by_hand(tmp_path, dataset, unpacked):
    expected = MAKERS[dataset](tmp_path / "source", unpacked)
    convert_archives(dataset, tmp_path / "source", tmp_path / "root", workers=0)
    for name, mask in expected.items():
        assert np.array_equal(stored(tmp_path / "root" / name), mask), name
    assert not any(".part" in name or name.startswith(".") for name in files_of(tmp_path / "root"))


def test_the_trees_hold_what_the_layouts_read_and_nothing_else(tmp_path):
    expected = make_cityscapes(tmp_path / "city")
    convert_archives("cityscapes", tmp_path / "city", tmp_path / "root", workers=0)
    images = {name.replace("gtFine", "leftImg8bit").replace("_labelTrainIds", "") for name in expected}
    coarse = {f"leftImg8bit/train_extra/erfurt/erfurt_00000{i}_000000_leftImg8bit.png" for i in range(3)}
    assert files_of(tmp_path / "root") == {*expected, *images, *coarse, "prepared.json"}

    expected = make_coco(tmp_path / "coco")
    convert_archives("coco", tmp_path / "coco", tmp_path / "coco_root", workers=0)
    parts = {"train2017": (1, 2, 3, 4), "val2017": (5, 6), "unlabeled2017": (70, 71, 72)}
    images = {f"{part}/{i:012d}.jpg" for part, ids in parts.items() for i in ids}
    assert files_of(tmp_path / "coco_root") == {*expected, *images, "prepared.json"}

    expected = make_pascal(tmp_path / "voc")
    convert_archives("pascal", tmp_path / "voc", tmp_path / "voc_root", workers=0)
    names = {"2007_000032", "2007_000039", "2007_000033", "2007_000042", "2008_000002", "2008_000003", "2008_000009"}
    lists = {f"ImageSets/Segmentation/{part}.txt" for part in ("train", "val")}
    assert files_of(tmp_path / "voc_root") == {
        *expected,
        *lists,
        *(f"JPEGImages/{name}.jpg" for name in names),
        "prepared.json",
    }


def test_several_processes_write_the_same(tmp_path):
    make_ade20k(tmp_path / "source")
    convert_archives("ade20k", tmp_path / "source", tmp_path / "one", workers=0)
    convert_archives("ade20k", tmp_path / "source", tmp_path / "two", workers=2)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    for name in files_of(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_interrupted_preparation_goes_on_and_a_finished_one_does_nothing(tmp_path, monkeypatch):
    expected = make_ade20k(tmp_path / "source")
    root = tmp_path / "root"
    with monkeypatch.context() as patch:
        done = []

        def stop_after_five(member, largest=None, read=Member.read):
            if len(done) == 5:
                raise KeyboardInterrupt
            done.append(member.name)
            return read(member)

        patch.setattr(Member, "read", stop_after_five)
        with pytest.raises(KeyboardInterrupt):
            convert_archives("ade20k", tmp_path / "source", root, workers=0)
    assert json.loads((root / "prepared.json").read_text())["finished"] is False
    outcome = convert_archives("ade20k", tmp_path / "source", root, workers=0)
    assert (outcome.written, outcome.kept) == (7, 5)
    assert json.loads((root / "prepared.json").read_text())["finished"] is True
    assert all(np.array_equal(stored(root / name), mask) for name, mask in expected.items())
    times = {name: (root / name).stat().st_mtime_ns for name in expected}
    outcome = convert_archives("ade20k", tmp_path / "source", root, workers=0)
    assert (outcome.written, outcome.kept) == (0, 12)
    assert times == {name: (root / name).stat().st_mtime_ns for name in expected}


def test_files_of_others_stay_unless_told(tmp_path):
    expected = make_ade20k(tmp_path / "source")
    mask = tmp_path / "root" / "annotations/training/ADE_train_00000002.png"
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"ADE_train_00000002\.png: is there already .* overwrite=true"):
        convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert mask.read_bytes() == b"mine"
    assert files_of(tmp_path / "root") == {"annotations/training/ADE_train_00000002.png"}
    convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0, overwrite=True)
    assert np.array_equal(stored(mask), expected["annotations/training/ADE_train_00000002.png"])


def test_published_masks_are_never_replaced_by_converted_ones_in_their_own_place(tmp_path):
    make_ade20k(tmp_path, unpacked=True)
    root = tmp_path / "ADEChallengeData2016"
    before = {name: (root / name).read_bytes() for name in files_of(root)}
    for overwrite in (False, True):
        with pytest.raises(DataError, match="published file would be replaced"):
            convert_archives("ade20k", root, root, workers=0, overwrite=overwrite)
    assert before == {name: (root / name).read_bytes() for name in before}


@pytest.mark.parametrize(("dataset", "place"), [("cityscapes", ""), ("coco", ""), ("pascal", "VOCdevkit/VOC2012")])
def test_others_may_be_prepared_where_they_were_unpacked(tmp_path, dataset, place):
    expected = MAKERS[dataset](tmp_path / "all", unpacked=True)
    root = tmp_path / "all" / place
    if dataset == "pascal":
        shutil.move(tmp_path / "all" / "benchmark_RELEASE", root)
    before = {name: (root / name).read_bytes() for name in files_of(root)}
    for _ in range(2):
        convert_archives(dataset, root, root, workers=0)
        assert all(np.array_equal(stored(root / name), mask) for name, mask in expected.items())
        assert before == {name: (root / name).read_bytes() for name in before}


def test_a_root_inside_the_source_is_not_taken_for_the_source(tmp_path):
    expected = make_ade20k(tmp_path, unpacked=True)
    root = tmp_path / "prepared"
    for _ in range(2):
        convert_archives("ade20k", tmp_path, root, workers=0)
        assert all(np.array_equal(stored(root / name), mask) for name, mask in expected.items())


def test_two_copies_in_the_source_are_refused(tmp_path):
    make_ade20k(tmp_path / "source" / "a", unpacked=True)
    make_ade20k(tmp_path / "source" / "b", unpacked=True)
    with pytest.raises(DataError, match=r"two of its files would become images/training/ADE_train_00000001\.jpg"):
        convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)


def test_a_root_of_another_data_set_is_refused(tmp_path):
    make_ade20k(tmp_path / "source")
    make_pascal(tmp_path / "source")
    convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    with pytest.raises(DataError, match="data set ade20k was prepared here"):
        convert_archives("pascal", tmp_path / "source", tmp_path / "root", workers=0)


def test_missing_archives_are_all_named_with_where_to_get_them(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(DataError) as caught:
        convert_archives("coco", tmp_path / "source", tmp_path / "root", workers=0)
    message = str(caught.value)
    for name in ("train2017.zip", "val2017.zip", "annotations_trainval2017.zip"):
        assert f"{name} (" in message
    assert "http://images.cocodataset.org/zips/train2017.zip, and download=true fetches it" in message
    assert "unlabeled2017" not in message
    with pytest.raises(
        DataError, match=r"gtFine_trainvaltest\.zip .*cityscapes-dataset\.com/downloads/, behind an account"
    ):
        convert_archives("cityscapes", tmp_path / "source", tmp_path / "root", workers=0)
    with pytest.raises(DataError, match="no such folder"):
        convert_archives("ade20k", tmp_path / "nowhere", tmp_path / "root", workers=0)
    with pytest.raises(ConfigError, match="dataset=camvid: nothing to prepare; there are: ade20k"):
        convert_archives("camvid", tmp_path / "source", tmp_path / "root", workers=0)
    assert not (tmp_path / "root").exists()


def test_optional_archives_may_be_absent(tmp_path):
    make_coco(tmp_path / "coco", extra=False)
    make_cityscapes(tmp_path / "city", coarse=False)
    convert_archives("coco", tmp_path / "coco", tmp_path / "a", workers=0)
    convert_archives("cityscapes", tmp_path / "city", tmp_path / "b", workers=0)
    assert not (tmp_path / "a" / "unlabeled2017").exists()


def test_too_little_room_is_known_before_anything_is_written(tmp_path, monkeypatch):
    make_ade20k(tmp_path / "source")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=2**26 + 100))
    with pytest.raises(WriteError, match=r"GB are needed there and 0\.1 GB are free"):
        convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert not (tmp_path / "root").exists()


def test_archives_of_another_size_than_published_are_noted(tmp_path, caplog):
    make_ade20k(tmp_path)
    convert_archives("ade20k", tmp_path, tmp_path / "root", workers=0)
    size = (tmp_path / "ADEChallengeData2016.zip").stat().st_size
    assert f"ADEChallengeData2016.zip has {size} bytes, the published file 967382037" in caplog.text
