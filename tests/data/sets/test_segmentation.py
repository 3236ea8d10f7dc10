import json
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.places import SHARED
from unimatch.data import ade20k, camvid, cityscapes, coco, folder, pascal
from unimatch.data.check.before_training import verify
from unimatch.data.sources.files import Tree
from unimatch.errors import ConfigError, DataError
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.images.folders import notes_taken

SHARED = SHARED / "data"


def stems(source):
    return [pair.image.stem for pair in source.pairs]


def mask_stems(source):
    return [pair.mask and pair.mask.stem for pair in source.pairs]


def test_camvid_pairs_by_stem_whatever_the_extension(camvid_root):
    data = camvid(camvid_root, labeled=3)
    assert (len(data.labeled), len(data.unlabeled), len(data.val), len(data.test)) == (3, 5, 3, 2)
    assert data.info.num_classes == 11
    assert sorted(stems(data.labeled) + stems(data.unlabeled)) == [f"train_{i}" for i in range(8)]
    for source in (data.labeled, data.unlabeled, data.val, data.test):
        assert stems(source) == mask_stems(source)
        for i in range(len(source)):
            assert source.image(i).shape[:2] == source.mask(i).shape


def test_camvid_void_is_255(camvid_root):
    source = camvid(camvid_root).labeled
    for i, pair in enumerate(source.pairs):
        stored = np.asarray(Image.open(pair.mask))
        mask = source.mask(i)
        assert {11, 255} <= set(np.unique(stored))
        assert np.array_equal(mask, np.where((stored == 11) | (stored == 255), 255, stored))


def test_camvid_without_test_folder_has_no_test_images(camvid_root):
    (camvid_root / "test").rename(camvid_root / "elsewhere")
    assert camvid(camvid_root).test is None


def test_labeled_and_unlabeled_parts_are_disjoint_nested_and_seeded(camvid_root):
    few, more = camvid(camvid_root, labeled=2), camvid(camvid_root, labeled=5)
    assert set(stems(few.labeled)) < set(stems(more.labeled))
    assert not set(stems(few.labeled)) & set(stems(few.unlabeled))
    assert stems(few.labeled) == stems(camvid(camvid_root, labeled=2).labeled)
    assert len({tuple(stems(camvid(camvid_root, labeled=2, split_seed=seed).labeled)) for seed in range(10)}) > 5


def test_pool_may_be_all_training_images(camvid_root):
    data = camvid(camvid_root, labeled=2, unlabeled="train")
    assert stems(data.unlabeled) == [f"train_{i}" for i in range(8)]


def test_all_images_are_labeled_by_default(camvid_root):
    data = camvid(camvid_root)
    assert len(data.labeled) == 8
    assert len(data.unlabeled) == 0


def test_lists_choose_the_parts(camvid_root):
    labeled = camvid_root / "labeled.txt"
    labeled.write_text("train/train_1.jpg trainannot/train_1.png\ntrain/train_0.png trainannot/train_0.png\n")
    data = camvid(camvid_root, labeled_list=labeled)
    assert stems(data.labeled) == ["train_1", "train_0"]
    assert stems(data.unlabeled) == [f"train_{i}" for i in range(2, 8)]
    unlabeled = camvid_root / "unlabeled.txt"
    unlabeled.write_text("train/train_5.jpeg\n")
    data = camvid(camvid_root, labeled_list=str(labeled), unlabeled_list=str(unlabeled))
    assert stems(data.unlabeled) == ["train_5"]
    data = camvid(camvid_root, labeled=3, unlabeled_list=unlabeled)
    assert len(data.labeled) == 3
    assert stems(data.unlabeled) == ["train_5"]


def test_number_and_list_at_once_are_refused(camvid_root):
    with pytest.raises(ConfigError, match=r"labeled and labeled_list all choose .*give one"):
        camvid(camvid_root, labeled=2, labeled_list=camvid_root / "labeled.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labeled": 0}, r"labeled=0: at least one"),
        ({"labeled": 2, "split_seed": 2**32}, r"^split_seed=4294967296: must be at least 0 and below"),
        ({"labeled": 9}, r"labeled=9: .* only 8 images"),
        ({"unlabeled": "all"}, r"unlabeled=all: must be 'rest', 'train', "),
    ],
)
def test_impossible_settings_are_refused_with_their_key(camvid_root, arguments, message):
    with pytest.raises(ConfigError, match=message):
        camvid(camvid_root, **arguments)


@pytest.mark.parametrize("layout", [camvid, folder])
def test_missing_root_is_named_with_its_key(tmp_path, layout):
    with pytest.raises(DataError, match=r"root=.*nowhere: no such folder") as caught:
        layout(tmp_path / "nowhere")
    assert str((tmp_path / "nowhere").resolve()) in str(caught.value)


@pytest.mark.parametrize("part", ["train", "trainannot", "val", "valannot", "testannot"])
def test_missing_folder_is_named(camvid_root, part):
    (camvid_root / part).rename(camvid_root / "elsewhere")
    with pytest.raises(DataError, match="no such folder") as caught:
        camvid(camvid_root)
    assert str(camvid_root / part) in str(caught.value)


def test_folder_without_images_is_named_with_the_known_extensions(camvid_root):
    for path in (camvid_root / "val").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(DataError, match=r"no images \(.*\.png.*\)") as caught:
        camvid(camvid_root)
    assert str(camvid_root / "val") in str(caught.value)


def test_image_without_mask_is_named_with_the_remedy(camvid_root):
    (camvid_root / "trainannot" / "train_4.png").unlink()
    with pytest.raises(DataError, match="add it, or move the image to the unlabelled images") as caught:
        camvid(camvid_root)
    assert str(camvid_root / "train" / "train_4.tif") in str(caught.value)
    assert str(camvid_root / "trainannot" / "train_4.png") in str(caught.value)


@pytest.mark.parametrize(("part", "twin", "other"), [("train", "train_1.png", "train_1.jpg")])
def test_two_images_of_one_stem_are_named(camvid_root, write_pair, part, twin, other):
    write_pair(camvid_root / part / twin, None)
    with pytest.raises(DataError, match="same stem; rename one of the two") as caught:
        camvid(camvid_root)
    assert twin in str(caught.value)
    assert other in str(caught.value)


def test_two_masks_of_one_stem_are_named(camvid_root, write_pair):
    write_pair(camvid_root / "trainannot" / "train_1.bmp", None)
    with pytest.raises(DataError, match="same stem; keep one of the two masks") as caught:
        camvid(camvid_root)
    assert "train_1.bmp" in str(caught.value)
    assert "train_1.png" in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_image_extension_is_paired(tmp_path, write_pair, suffix):
    image, mask = tmp_path / "images" / f"some.name{suffix}", tmp_path / "masks" / "some.name.png"
    write_pair(image, mask)
    (tmp_path / "images" / "Thumbs.db").touch()
    (pair,) = Tree("images", "masks").pairs(tmp_path)
    assert (pair.image, pair.mask) == (image, mask)


def test_folder_layout_finds_every_part(folder_root):
    data = folder(folder_root, labeled=2, name="plants")
    assert data.info.name == "plants"
    assert data.info.classes == ("ground", "leaf", "stone")
    assert len(data.info.palette) == 3
    assert len(data.labeled) == 2
    assert len(data.unlabeled) == 4 + 4
    assert stems(data.val) == mask_stems(data.val) == ["v0", "v1", "v2"]
    assert stems(data.test) == mask_stems(data.test) == ["t0", "t1"]
    for i, pair in enumerate(data.unlabeled.pairs):
        assert (data.unlabeled.mask(i) is None) == pair.image.stem.startswith("u")


def test_folder_layout_uses_the_unlabeled_folder_when_all_images_are_labeled(folder_root):
    assert stems(folder(folder_root).unlabeled) == ["u0", "u1", "u2", "u3"]
    assert len(folder(folder_root, unlabeled="train").unlabeled) == 6 + 4


def test_folder_layout_needs_neither_unlabeled_nor_test(folder_root):
    (folder_root / "unlabeled").rename(folder_root / "elsewhere")
    (folder_root / "test").rename(folder_root / "elsewhere_too")
    data = folder(folder_root, labeled=2)
    assert len(data.unlabeled) == 4
    assert data.test is None


def test_a_pool_is_empty_once_all_its_images_are_labelled(folder_root):
    """Folders of it and a system's own files may stay; photos that cannot be read are no empty pool."""
    for image in (folder_root / "unlabeled").iterdir():
        image.unlink()
    (folder_root / "unlabeled/drive").mkdir()
    (folder_root / "unlabeled/.DS_Store").touch()
    assert len(folder(folder_root).unlabeled) == 0
    assert len(folder(folder_root, unlabeled="train").unlabeled) == 6
    (folder_root / "unlabeled/drive/a.heic").touch()
    with pytest.raises(DataError, match=r"unlabeled: no images .*heic"):
        folder(folder_root)


def test_folder_layout_reads_lists_relative_to_the_root(folder_root, tmp_path):
    labeled = tmp_path / "chosen.txt"
    labeled.write_text("images/a5.png masks/a5.png\n")
    data = folder(folder_root, labeled_list=labeled)
    assert stems(data.labeled) == ["a5"]
    assert stems(data.unlabeled) == ["a0", "a1", "a2", "a3", "a4", "u0", "u1", "u2", "u3"]


def test_lists_of_all_images_need_no_folder_of_images(tmp_path, write_pair):
    """Such as photos and masks side by side under any names, in folders of any names."""
    for number in range(5):
        write_pair(tmp_path / f"photos/{number}_sat.jpg", tmp_path / f"photos/{number}_cover.png")
    (tmp_path / "classes.txt").write_text("ground\nroad\n")
    for name, numbers in (("train", (0, 1)), ("val", (2,)), ("unlabeled", (3, 4))):
        lines = [f"photos/{number}_sat.jpg photos/{number}_cover.png\n" for number in numbers]
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    lists = {"labeled_list": tmp_path / "train.txt", "val_list": tmp_path / "val.txt"}
    data = folder(tmp_path, **lists)
    assert [len(part) for part in (data.labeled, data.unlabeled, data.val)] == [2, 0, 1]
    assert len(folder(tmp_path, **lists, unlabeled_list=tmp_path / "unlabeled.txt").unlabeled) == 2
    assert len(folder(tmp_path, **lists, without_mask="unlabeled").unlabeled) == 0
    write_pair(tmp_path / "unlabeled/a.jpg", None)
    assert len(folder(tmp_path, **lists).unlabeled) == 1
    for options in ({}, {"labeled": 1}, {**lists, "unlabeled": "train"}, {"labeled_list": lists["labeled_list"]}):
        with pytest.raises(
            DataError, match=r"images: no such folder .* or all files, in lists \(dataset\.labeled_list"
        ):
            folder(tmp_path, **options)


def test_root_may_be_below_the_home_folder(folder_root, monkeypatch):
    monkeypatch.setenv("HOME", str(folder_root.parent))
    assert len(folder("~/photos").labeled) == 6


def test_missing_class_names_are_explained(folder_root):
    (folder_root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no classes\.txt; write one class name a line") as caught:
        folder(folder_root)
    assert str(folder_root) in str(caught.value)


@pytest.mark.nightly
@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="CamVid is not here")
def test_camvid_itself_is_complete():
    data = camvid(SHARED / "camvid", unlabeled="train")
    assert (len(data.labeled), len(data.val), len(data.test)) == (367, 101, 233)
    verify(data, needs_unlabeled=False)


@pytest.mark.skipif(not (SHARED / "nuclei").is_dir(), reason="the nuclei images are not here")
@pytest.mark.nightly
def test_nuclei_images_are_complete():
    data = folder(SHARED / "nuclei", unlabeled="train")
    assert (len(data.labeled), len(data.val), len(data.test)) == (464, 100, 100)
    verify(data, needs_unlabeled=False)


def test_lists_written_elsewhere_a_byte_order_mark_and_detours(tmp_path):
    root = tmp_path / "own"
    for part in ("", "val/"):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
            for i in range(3):
                array = np.zeros((4, 4, 3) if kind == "images" else (4, 4), np.uint8)
                Image.fromarray(array).save(root / part / kind / f"{i}.png")
    (root / "images" / "._0.png").write_bytes(b"metadata of another system")
    (root / "classes.txt").write_text("\ufeffsoil\nplant\n", encoding="utf-8")
    (tmp_path / "list.txt").write_text("\ufeffimages/../images/0.png masks/0.png\n", encoding="utf-8")
    data = folder(root, labeled_list=tmp_path / "list.txt")
    assert data.info.classes == ("soil", "plant")
    assert (len(data.labeled), len(data.unlabeled)) == (1, 2)


LAYOUTS = {"pascal": pascal, "cityscapes": cityscapes, "ade20k": ade20k, "coco": coco}


def lines_of(source, root):
    return [f"{pair.image.relative_to(root)} {pair.mask.relative_to(root)}" for pair in source.pairs]


def test_published_tree_gives_its_parts(published):
    name, root, train, val = published
    data = LAYOUTS[name](root)
    assert data.info.name == name
    assert lines_of(data.labeled, root) == train
    assert lines_of(data.val, root) == val
    assert len(data.unlabeled) == 0
    for i in range(len(train)):
        assert data.labeled.image(i).shape[:2] == data.labeled.mask(i).shape
    few = LAYOUTS[name](root, labeled=2)
    assert sorted(lines_of(few.labeled, root) + lines_of(few.unlabeled, root)) == train


@pytest.mark.parametrize(("split", "count"), [("1_16", 1), (116, 1), ("12", 2), (12, 2)])
def test_published_lists_are_found_by_name(published, published_splits, split, count):
    """A number stands for the name too: Hydra reads dataset.split=1_16 as 116."""
    name, root, train, val = published
    for splits in (published_splits, published_splits / name):
        data = LAYOUTS[name](root, splits=splits, split=split)
        assert lines_of(data.labeled, root) == train[:count]
        assert lines_of(data.unlabeled, root) == train[count:]
        assert lines_of(data.val, root) == val


def test_lists_of_one_folder_need_no_name(published, published_splits):
    name, root, train, val = published
    lists = published_splits / name / "12"
    (lists.parent / "val.txt").rename(lists / "val.txt")
    for arguments in ({"splits": lists}, {"splits": published_splits, "split": "12"}):
        data = LAYOUTS[name](root, **arguments)
        assert lines_of(data.labeled, root) == train[:2]
        assert lines_of(data.unlabeled, root) == train[2:]
        assert lines_of(data.val, root) == val


def test_lists_alone_need_no_search_of_folders(published, published_splits, monkeypatch):
    name, root, *_ = published
    monkeypatch.setattr(
        "unimatch.data.sources.files.find_images", lambda *arguments: pytest.fail("a folder was searched")
    )
    LAYOUTS[name](root, splits=published_splits, split="12")


def test_split_without_unlabeled_list_leaves_the_other_training_images(published, published_splits):
    name, root, train, _ = published
    (published_splits / name / "12" / "unlabeled.txt").unlink()
    data = LAYOUTS[name](root, splits=published_splits, split="12")
    assert lines_of(data.unlabeled, root) == train[2:]


def test_list_of_all_labeled_images_may_be_called_train(published, published_splits):
    name, root, train, _ = published
    (published_splits / name / "all").mkdir()
    (published_splits / name / "all" / "train.txt").write_text("\n".join(train))
    data = LAYOUTS[name](root, splits=published_splits, split="all")
    assert lines_of(data.labeled, root) == train
    assert len(data.unlabeled) == 0


def test_lists_of_ones_own_go_before_those_of_the_split(published, published_splits, tmp_path):
    name, root, train, val = published
    own = {key: tmp_path / f"{key}.txt" for key in ("labeled_list", "unlabeled_list", "val_list")}
    own["labeled_list"].write_text(train[4])
    own["unlabeled_list"].write_text(train[3].split()[0])
    own["val_list"].write_text(val[1])
    data = LAYOUTS[name](root, splits=published_splits, **own)
    assert lines_of(data.labeled, root) == train[4:]
    assert [str(pair.image.relative_to(root)) for pair in data.unlabeled.pairs] == train[3].split()[:1]
    assert lines_of(data.val, root) == val[1:]
    # The split's validation images and a number of labelled ones.
    data = LAYOUTS[name](root, splits=published_splits, labeled=4)
    assert (len(data.labeled), len(data.unlabeled), lines_of(data.val, root)) == (4, 1, val)


def test_validation_images_are_never_trained_on(published, tmp_path):
    name, root, train, _ = published
    (tmp_path / "val.txt").write_text(train[2])
    data = LAYOUTS[name](root, val_list=tmp_path / "val.txt", unlabeled="train")
    assert train[2] not in lines_of(data.labeled, root) + lines_of(data.unlabeled, root)
    assert {*train[:2], *train[3:]} <= set(lines_of(data.labeled, root))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "12"}, r"split=12: splits=FOLDER must say"),
        ({"splits": "SPLITS", "split": "13"}, r"split=13: no such split .*there are: 12, 1_16"),
        ({"splits": "nowhere"}, r"splits=.*nowhere: no such folder"),
        ({"splits": "SPLITS", "split": "12", "labeled": 2}, r"labeled and split all choose"),
        ({"unlabeled": []}, r"unlabeled=\[\]: name at least one pool"),
        ({"unlabeled": [{"list": "a.txt"}]}, r"unlabeled\[0\]=.*must be"),
        ({"unlabeled": ["rest", {"root": ".", "lists": "a.txt"}]}, r"unlabeled\[1\]=.*must be"),
        ({"unlabeled": ["train"], "unlabeled_list": "a.txt"}, r"unlabeled_list: says what 'rest' is"),
        ({"unlabeled": "train", "unlabeled_list": "a.txt"}, r"unlabeled_list: says what 'rest' is"),
        ({"unlabeled": {"root": "."}, "unlabeled_list": "a.txt"}, r"unlabeled_list: says what 'rest' is"),
    ],
)
def test_settings_that_cannot_be_are_refused(published, published_splits, arguments, message):
    name, root, *_ = published
    if arguments.get("splits") == "SPLITS":
        arguments = {**arguments, "splits": published_splits}
    with pytest.raises(ConfigError, match=message):
        LAYOUTS[name](root, **arguments)


def test_pascal_must_be_told_its_validation_images(tmp_path, write_pair):
    write_pair(tmp_path / "JPEGImages" / "a.jpg", tmp_path / "SegmentationClass" / "a.png")
    with pytest.raises(ConfigError, match=r"for validation\? Give splits or val_list, or the file"):
        pascal(tmp_path)
    (tmp_path / "VOC2012").mkdir()
    (tmp_path / "JPEGImages").rename(tmp_path / "VOC2012" / "JPEGImages")
    with pytest.raises(DataError, match=r"JPEGImages: no such folder \(.* has SegmentationClass, VOC2012\)"):
        pascal(tmp_path)


def test_further_masks_of_pascal_are_said_not_to_be_used(tmp_path, write_pair):
    for i in range(3):
        write_pair(tmp_path / "JPEGImages" / f"{i}.jpg", tmp_path / "SegmentationClassAug" / f"{i}.png")
    shutil.copytree(tmp_path / "SegmentationClassAug", tmp_path / "SegmentationClass")
    (tmp_path / "SegmentationClass" / "2.png").unlink()
    (tmp_path / "val.txt").write_text("JPEGImages/0.jpg SegmentationClass/0.png\n")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("0\n")
    with notes_taken() as notes:
        assert len(pascal(tmp_path).labeled) == 1
    assert [text.partition(",")[0] for _, text in notes] == [f"{tmp_path / 'SegmentationClassAug'}: not used"]
    with notes_taken() as notes:
        pascal(tmp_path, val_list=tmp_path / "val.txt")
    assert not notes


def test_pascals_colours_include_its_borders(tmp_path, write_pair):
    for i in range(2):
        write_pair(tmp_path / "JPEGImages" / f"{i}.jpg", tmp_path / "SegmentationClass" / f"{i}.png")
        height, width = np.asarray(Image.open(tmp_path / "JPEGImages" / f"{i}.jpg")).shape[:2]
        mask = np.full((height, width, 3), (128, 0, 0), np.uint8)  # aeroplane
        mask[0] = 224, 224, 192
        Image.fromarray(mask).save(tmp_path / "SegmentationClass" / f"{i}.png")
    (tmp_path / "val.txt").write_text("JPEGImages/0.jpg SegmentationClass/0.png\n")
    found = pascal(tmp_path, val_list=tmp_path / "val.txt", colors="palette").labeled.mask(0)
    assert (found[0] == 255).all()
    assert (found[1:] == 1).all()


def test_pools_of_several_roots(camvid_root, tmp_path, write_pair):
    photos, more = tmp_path / "holiday photos", tmp_path / "more"
    for name in ("b.jpg", "deep/er/a.PNG", ".hidden/c.jpg", "notes.txt"):
        write_pair((photos / name).with_suffix(".png"), None)
        (photos / name).with_suffix(".png").rename(photos / name)
    for i in range(3):
        write_pair(more / f"{i}.png", more / "masks" / f"{i}.png")
    (tmp_path / "list.txt").write_text("2.png masks/2.png\n0.png None\n")
    pools = [{"root": str(photos)}, {"root": str(more), "list": str(tmp_path / "list.txt")}]
    data = camvid(camvid_root, labeled=3, unlabeled=pools)
    names = [photos / "b.jpg", photos / "deep/er/a.PNG", more / "2.png", more / "0.png"]
    assert [pair.image for pair in data.unlabeled.pairs] == names
    assert len(data.labeled) == 3
    # The masks of another data set may be of other classes: pseudo labels are not compared with them.
    assert [data.unlabeled.mask(i) for i in range(4)] == [None] * 4
    for i in range(4):
        assert data.unlabeled.image(i).shape == (16, 20, 3)
    with_rest = camvid(camvid_root, labeled=3, unlabeled=["rest", *pools])
    assert len(with_rest.unlabeled) == 5 + 4
    assert camvid(camvid_root, unlabeled=pools[0]).unlabeled.name(0) == str(photos / "b.jpg")


def test_missing_pool_is_named_with_its_key(camvid_root, tmp_path):
    with pytest.raises(DataError, match=r"unlabeled\[1\]\.root=.*absent: no such folder"):
        camvid(camvid_root, unlabeled=["train", {"root": str(tmp_path / "absent")}])


def test_a_pool_that_is_named_twice_is_told(camvid_root, caplog):
    data = camvid(camvid_root, labeled=3, unlabeled=["rest", "train", "rest"])
    assert "unlabeled[2]: is the same pool as unlabeled[0]" in caplog.text
    assert len(data.unlabeled) == 5 + 8 + 5
    caplog.clear()
    camvid(camvid_root, labeled=3, unlabeled=["rest", "train"])
    assert not caplog.text


def test_files_outside_the_root_are_read_only_where_that_is_allowed(camvid_root, tmp_path, write_pair):
    outside = tmp_path / "private.png"
    write_pair(outside, None)
    (camvid_root / "train" / "train_0.png").unlink()
    (camvid_root / "train" / "train_0.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"train_0\.png: .*private\.png lies outside .*: dataset\.allow_outside=true"):
        camvid(camvid_root).labeled.image(0)
    assert camvid(camvid_root, allow_outside=True).labeled.image(0).shape == (16, 20, 3)


def test_lists_and_folders_agree_on_a_files_name(camvid_root, monkeypatch):
    """Else a labelled image would be taken for an unlabelled one too."""
    (camvid_root / "labeled.txt").write_text("train/../train/train_1.jpg trainannot/train_1.png\n")
    monkeypatch.chdir(camvid_root / "val")
    for root in (camvid_root, "..", "../../camvid", camvid_root / "val" / ".."):
        data = camvid(root, labeled_list=camvid_root / "labeled.txt")
        assert (len(data.labeled), len(data.unlabeled)) == (1, 7)


def test_the_root_itself_may_be_a_link_and_loops_of_links_end(camvid_root, tmp_path):
    (tmp_path / "link").symlink_to(camvid_root)
    (camvid_root / "train" / "again").symlink_to(camvid_root / "train")
    data = camvid(tmp_path / "link")
    assert len(data.labeled) == 8
    assert data.labeled.image(0).shape == (16, 20, 3)


def test_validation_images_are_held_out_where_there_are_none(folder_root, caplog):
    (folder_root / "val").rename(folder_root / "elsewhere")
    caplog.set_level("INFO", "unimatch")
    data = folder(folder_root, val_share=0.4)
    assert "2 of the 6 images with masks are held out (val_share=0.4, val_seed=0)" in caplog.text
    assert sorted(stems(data.val) + stems(data.labeled)) == [f"a{i}" for i in range(6)]
    assert stems(data.unlabeled) == ["u0", "u1", "u2", "u3"]
    few = folder(folder_root, val_share=0.4, labeled=1, split_seed=3, unlabeled="train")
    assert stems(few.val) == stems(data.val)
    assert not set(stems(few.val)) & set(stems(few.labeled) + stems(few.unlabeled))
    assert len({tuple(stems(folder(folder_root, val_share=0.4, val_seed=seed).val)) for seed in range(10)}) > 3
    (folder_root / "val.txt").write_text("images/a3.png masks/a3.png")
    assert stems(folder(folder_root, val_list=folder_root / "val.txt").val) == ["a3"]


def test_whole_groups_are_held_out_and_only_where_some_are(folder_root):
    with pytest.raises(ConfigError, match=r"^val_group=a: no images are held out, as val/images has those"):
        folder(folder_root, val_group="a")
    (folder_root / "val").rename(folder_root / "elsewhere")
    (folder_root / "val.txt").write_text("images/a3.png masks/a3.png")
    with pytest.raises(ConfigError, match=r"^val_group=a: no images are held out, as .*val\.txt has those"):
        folder(folder_root, val_list=folder_root / "val.txt", val_group="a")
    for part in ("images", "masks"):  # two of each patient
        for i in range(6):
            (folder_root / part / f"a{i}.png").rename(folder_root / part / f"p{i // 2}_{i}.png")
    data = folder(folder_root, val_share=0.4, val_group=r"(p\d)_")
    held, kept = ({stem[:2] for stem in stems(part)} for part in (data.val, data.labeled))
    assert (len(data.val), len(data.labeled), held & kept) == (2, 4, set())


@pytest.mark.parametrize(
    ("share", "message"),
    [(1.0, "must be at least 0 and below 1"), (0.95, "of 6 images with masks none is left"), (0.0, "no such folder")],
)
def test_share_that_leaves_nothing_is_refused(folder_root, share, message):
    (folder_root / "val").rename(folder_root / "elsewhere")
    with pytest.raises((ConfigError, DataError), match=message):
        folder(folder_root, val_share=share)


def test_masks_in_the_colors_of_the_class_file(folder_root):
    colors = {"ground": (0, 0, 0), "leaf": (0, 200, 0), "stone": (90, 90, 90)}
    ids = np.array([[0, 1, 2], [255, 1, 1]], np.uint8)
    table = np.array([*colors.values(), *[(255, 255, 255)] * 253], np.uint8)
    for mask in [*folder_root.glob("masks/*"), *folder_root.glob("*/masks/*")]:
        Image.fromarray(table[ids]).save(mask)
    text = "\n".join(f"{r} {g} {b} {name}" for name, (r, g, b) in colors.items())
    (folder_root / "classes.txt").write_text(text)
    data = folder(folder_root, colors="palette", ignore_colors=[[255, 255, 255]])
    for source in (data.labeled, data.val, data.test):
        assert source.mask(0).tolist() == ids.tolist()
    assert data.info.palette == tuple(colors.values())
    (folder_root / "colors.json").write_text(json.dumps(colors))
    (folder_root / "classes.txt").unlink()
    data = folder(folder_root, colors=folder_root / "colors.json", ignore_colors=[(255, 255, 255)])
    assert data.info.classes == tuple(colors)
    assert data.labeled.mask(0).tolist() == ids.tolist()


@pytest.mark.parametrize("color", [(1,), (1, 2, 3, 4), (0, 0, 256), (-1, 0, 0)])
def test_colours_that_cannot_be_are_refused(folder_root, color):
    with pytest.raises(ConfigError, match=r"^ignore_colors=\[\[0, 0, 0\], .*: each must be three numbers, 0 to 255"):
        folder(folder_root, ignore_colors=[(0, 0, 0), color])


def test_colors_must_be_there_and_fit_the_classes(folder_root, camvid_root, tmp_path):
    with pytest.raises(DataError, match=r"colors=palette: .*classes\.txt gives no colours"):
        folder(folder_root, colors="palette")
    (tmp_path / "names.txt").write_text("sky\nroad")
    with pytest.raises(DataError, match=r"names\.txt: gives no colours; write lines 'R G B name'"):
        camvid(camvid_root, colors=tmp_path / "names.txt")
    (tmp_path / "names.txt").write_text("1 2 3 sky\n4 5 6 road")
    with pytest.raises(DataError, match=r"names\.txt: must name the 11 classes in their order: sky, building"):
        camvid(camvid_root, colors=tmp_path / "names.txt")


def test_masks_in_the_published_colors(camvid_root):
    for mask in camvid_root.glob("*annot/*"):
        Image.fromarray(np.array([[(128, 64, 128), (0, 128, 192)]], np.uint8)).save(mask)
    assert camvid(camvid_root, colors="palette").labeled.mask(0).tolist() == [[3, 10]]


def test_raw_masks_that_count_from_1(published):
    name, root, *_ = published
    for i, mask in enumerate(sorted({*root.rglob("*_labelTrainIds.png"), *root.rglob("**/0*.png")})):
        Image.fromarray(np.array([[0, 1, 3 + i % 2, 255]], np.uint8)).save(mask)
    data = LAYOUTS[name](root, reduce_zero_label=True)
    assert data.labeled.mask(0).tolist() == [[255, 0, 2, 255]]


def test_stored_ids_of_ones_own(folder_root):
    for mask in folder_root.rglob("masks/*"):
        Image.fromarray(np.array([[0, 255, 128, 7]], np.uint8)).save(mask)
    data = folder(folder_root, ids={0: 0, 255: 1, 128: 2}, ignore_ids=[7])
    assert data.labeled.mask(0).tolist() == [[0, 1, 2, 255]]


def test_classes_of_a_file_whose_names_look_alike_are_told(tmp_path):
    for name, mode in (("images", "RGB"), ("masks", "L")):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new(mode, (4, 4), i).save(tmp_path / name / f"{i}.png")
    (tmp_path / "classes.txt").write_text("other\nRoad\nroad\n")
    with notes_taken() as notes:
        assert folder(tmp_path).info.classes == ("other", "Road", "road")
    assert [kind for kind, _ in notes] == ["classes alike"]
