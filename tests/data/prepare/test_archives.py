import json
import os
import shutil
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.published import MAKERS, make_ade20k, make_cityscapes, make_coco, make_pascal, pack, photo, png
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.archives import Archive, Member, Published, members
from unimatch.data.prepare.jobs import Job, run
from unimatch.errors import ConfigError, DataError


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


def test_images_are_copied_byte_by_byte(tmp_path):
    make_ade20k(tmp_path / "source")
    convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert (tmp_path / "root/images/training/ADE_train_00000001.jpg").read_bytes() == photo(0)


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


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    replace = os.replace

    def fail(path, target):
        if target.suffix == ".png":
            raise OSError("disk full")
        replace(path, target)

    monkeypatch.setattr("unimatch.disk.os.replace", fail)
    with pytest.raises(DataError, match=r"a\.png: cannot be written \(disk full\)"):
        run([Job("a/a.png", b"0123456789ABC".upper, 13)], tmp_path, {"dataset": "x"}, workers=0)
    assert not list((tmp_path / "a").iterdir())


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
    with pytest.raises(DataError, match=r"GB are needed there and 0\.1 GB are free"):
        convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert not (tmp_path / "root").exists()


UNSAFE = ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png", "a\\..\\..\\evil.png"]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("archive", ["ADEChallengeData2016.zip", "VOCtrainval_11-May-2012.tar", "benchmark.tgz"])
def test_archives_that_lead_out_of_their_folder_are_refused_by_name(tmp_path, name, archive):
    pack(tmp_path / "source", archive, {"images/training/a.jpg": b"x", name: b"evil"})
    with pytest.raises(DataError, match="leads out of the archive's folder") as caught:
        list(members(tmp_path / "source" / archive, tmp_path / "scratch"))
    assert repr(name) in str(caught.value)
    assert not list(tmp_path.rglob("evil*"))


def test_links_in_archives_are_refused_by_name(tmp_path):
    """A mask that is a link to some file of this machine."""
    make_ade20k(tmp_path / "source")
    with zipfile.ZipFile(tmp_path / "source" / "ADEChallengeData2016.zip", "a") as archive:
        info = zipfile.ZipInfo("ADEChallengeData2016/annotations/training/zz.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"annotations/training/zz\.png is a link"):
        convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_tar_archives_are_refused_by_name(tmp_path, kind):
    make_pascal(tmp_path / "source")
    with tarfile.open(tmp_path / "source" / "VOCtrainval_11-May-2012.tar", "a") as archive:
        info = tarfile.TarInfo("VOCdevkit/VOC2012/JPEGImages/zz.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"JPEGImages/zz\.jpg is a link or a device"):
        convert_archives("pascal", tmp_path / "source", tmp_path / "root", workers=0)


def test_members_larger_than_they_may_be_or_than_they_say_are_refused(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(3_000_000))
    member = next(members(bomb, tmp_path))
    with pytest.raises(DataError, match=r"a\.png has 3000000 bytes; at most 1000000 are expected"):
        member.read(largest=1_000_000)
    # The directory of the archive lies: it says ten bytes.
    lying = Member(bomb, "a.png", 10)
    with pytest.raises(DataError, match=r"a\.png has not the 10 bytes declared"):
        lying.read()


def test_archives_that_expand_without_end_are_refused(tmp_path, monkeypatch):
    make_pascal(tmp_path)
    monkeypatch.setattr("unimatch.data.prepare.archives.LARGEST_TAR", 1000)
    with pytest.raises(DataError, match=r"benchmark\.tgz: more than 0 GB when decompressed"):
        convert_archives("pascal", tmp_path, tmp_path / "root", workers=0)
    assert not list(tmp_path.rglob("*.part"))


def test_large_files_of_matlab_are_refused(tmp_path):
    make_pascal(tmp_path, unpacked=True)
    with (tmp_path / "benchmark_RELEASE/dataset/cls/2008_000002.mat").open("ab") as file:
        file.truncate(2_000_000)
    with pytest.raises(DataError, match=r"2008_000002\.mat has 2000000 bytes; at most 1048576 are expected"):
        convert_archives("pascal", tmp_path, tmp_path / "root", workers=0)


@pytest.mark.parametrize("archive", ["ADEChallengeData2016.zip", "VOCtrainval_11-May-2012.tar", "benchmark.tgz"])
@pytest.mark.parametrize("damage", ["cut", "zeros", "text"])
def test_damaged_archives_are_named(tmp_path, archive, damage):
    make_ade20k(tmp_path), make_pascal(tmp_path)
    path = tmp_path / archive
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "zeros": bytes(len(content)), "text": b"<html>"}[damage])
    dataset = "ade20k" if "ADE" in archive else "pascal"
    with pytest.raises(DataError) as caught:
        convert_archives(dataset, tmp_path, tmp_path / "root", workers=0)
    assert archive in str(caught.value)


def test_archives_of_another_size_than_published_are_noted(tmp_path, caplog):
    make_ade20k(tmp_path)
    convert_archives("ade20k", tmp_path, tmp_path / "root", workers=0)
    size = (tmp_path / "ADEChallengeData2016.zip").stat().st_size
    assert f"ADEChallengeData2016.zip has {size} bytes, the published file 967382037" in caplog.text


def test_damaged_masks_are_named(tmp_path):
    expected = make_ade20k(tmp_path, unpacked=True)
    name = next(iter(expected))
    mask = tmp_path / "ADEChallengeData2016" / name
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(DataError, match=f"{name} cannot be read as a mask"):
        convert_archives("ade20k", tmp_path, tmp_path / "root", workers=0)
    mask.write_bytes(png(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(DataError, match=f"{name} is no 8-bit index image"):
        convert_archives("ade20k", tmp_path, tmp_path / "root", workers=0)


def test_a_mask_of_sbd_that_is_none_is_named(tmp_path):
    make_pascal(tmp_path, unpacked=True)
    mask = tmp_path / "benchmark_RELEASE/dataset/cls/2008_000002.mat"
    mask.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"2008_000002\.mat has no GTcls\.Segmentation"):
        convert_archives("pascal", tmp_path, tmp_path / "root", workers=0)


def test_annotations_that_are_none_are_named(tmp_path):
    make_coco(tmp_path, unpacked=True)
    notes = tmp_path / "annotations" / "instances_val2017.json"
    for content in (b"[", b"[]", b'{"categories": [], "images": [], "annotations": [{"image_id": 3}]}'):
        notes.write_bytes(content)
        with pytest.raises(DataError, match=r"instances_val2017\.json is no file of instance annotations"):
            convert_archives("coco", tmp_path, tmp_path / "root", workers=0)
    notes.write_bytes(b'{"categories": [], "images": [], "annotations": []}')
    with pytest.raises(DataError, match=r"instances_val2017\.json does not know the image val2017/000000000005\.jpg"):
        convert_archives("coco", tmp_path, tmp_path / "root", workers=0)


def test_coco_without_pycocotools_says_what_to_install(tmp_path, monkeypatch):
    make_coco(tmp_path / "source")
    monkeypatch.setattr("unimatch.data.prepare.coco.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'unimatch\[coco\]'"):
        convert_archives("coco", tmp_path / "source", tmp_path / "root", workers=0)


def test_files_of_macos_in_archives_are_passed_over(tmp_path):
    expected = make_ade20k(tmp_path / "source")
    with zipfile.ZipFile(tmp_path / "source" / "ADEChallengeData2016.zip", "a") as archive:
        archive.writestr("__MACOSX/ADEChallengeData2016/annotations/training/._ADE_train_00000001.png", b"junk")
    convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert {name for name in files_of(tmp_path / "root") if "annotations" in name} == set(expected)


def test_folders_are_searched_without_running_in_circles(tmp_path):
    make_ade20k(tmp_path / "source", unpacked=True)
    (tmp_path / "source" / "again").symlink_to(tmp_path / "source")
    published = Published(tmp_path / "source", [Archive("x.zip", "", "")], tmp_path / "root", tmp_path)
    assert len(published.match("x.zip", r"images/training/[^/]+\.jpg")) == 4
