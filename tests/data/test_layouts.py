import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unimatch import camvid, folder
from unimatch.data.layouts import IMAGE_SUFFIXES, pair_by_stem, read_classes
from unimatch.data.verify import verify
from unimatch.errors import ConfigError, DataError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


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
    with pytest.raises(ConfigError, match=r"dataset\.labeled and dataset\.labeled_list .*give one"):
        camvid(camvid_root, labeled=2, labeled_list=camvid_root / "labeled.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labeled": 0}, r"dataset\.labeled=0: at least one"),
        ({"labeled": 9}, r"dataset\.labeled=9: .* only 8 images"),
        ({"unlabeled": "all"}, r"dataset\.unlabeled=all: must be 'rest' or 'train'"),
    ],
)
def test_impossible_settings_are_refused_with_their_key(camvid_root, arguments, message):
    with pytest.raises(ConfigError, match=message):
        camvid(camvid_root, **arguments)


@pytest.mark.parametrize("layout", [camvid, folder])
def test_missing_root_is_named_with_its_key(tmp_path, layout):
    with pytest.raises(DataError, match=r"dataset\.root=.*nowhere: no such folder") as caught:
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
    (pair,) = pair_by_stem(tmp_path / "images", tmp_path / "masks")
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


def test_folder_layout_reads_lists_relative_to_the_root(folder_root, tmp_path):
    labeled = tmp_path / "chosen.txt"
    labeled.write_text("images/a5.png masks/a5.png\n")
    data = folder(folder_root, labeled_list=labeled)
    assert stems(data.labeled) == ["a5"]
    assert stems(data.unlabeled) == ["a0", "a1", "a2", "a3", "a4", "u0", "u1", "u2", "u3"]


def test_root_may_be_below_the_home_folder(folder_root, monkeypatch):
    monkeypatch.setenv("HOME", str(folder_root.parent))
    assert len(folder("~/photos").labeled) == 6


def test_class_names_come_from_text_json_or_a_sequence(tmp_path):
    (tmp_path / "classes.txt").write_text("  ground\n\nleaf \nstone\n", encoding="utf-8")
    (tmp_path / "other.json").write_text(json.dumps(["ground", "leaf", "stone"]), encoding="utf-8")
    expected = ("ground", "leaf", "stone")
    assert read_classes(tmp_path, None) == expected
    assert read_classes(tmp_path, tmp_path / "other.json") == expected
    assert read_classes(tmp_path, str(tmp_path / "other.json")) == expected
    assert read_classes(tmp_path, ["ground", " leaf", "stone"]) == expected


def test_json_class_names_are_found_below_the_root(tmp_path):
    (tmp_path / "classes.json").write_text('["no", "yes"]', encoding="utf-8")
    assert read_classes(tmp_path, None) == ("no", "yes")


def test_missing_class_names_are_explained(folder_root):
    (folder_root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no classes\.txt; write one class name a line") as caught:
        folder(folder_root)
    assert str(folder_root) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("names.txt", "alone\n", "at least two class names"),
        ("names.txt", "", "at least two class names"),
        ("names.txt", "cat\ndog\n cat\n", "all different"),
        ("names.json", '["cat", "dog"', "cannot be read"),
        ("names.json", '{"0": "cat", "1": "dog"}', "expected a list of class names"),
        ("names.json", '["cat", 2]', "expected a list of class names"),
        ("names.txt", "\n".join(str(i) for i in range(256)), "at most 255 classes"),
    ],
)
def test_bad_class_files_are_named(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_classes(tmp_path, path)
    assert str(path) in str(caught.value)


def test_absent_or_binary_class_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt: the class names cannot be read"):
        read_classes(tmp_path, tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"binary\.txt: the class names cannot be read"):
        read_classes(tmp_path, tmp_path / "binary.txt")


def test_bad_class_sequences_are_named_by_their_key(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.classes: at least two class names"):
        read_classes(tmp_path, ["alone"])


@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="CamVid is not here")
def test_camvid_itself_is_complete():
    data = camvid(SHARED / "camvid", unlabeled="train")
    assert (len(data.labeled), len(data.val), len(data.test)) == (367, 101, 233)
    verify(data, needs_unlabeled=False)


@pytest.mark.skipif(not (SHARED / "nuclei").is_dir(), reason="the nuclei images are not here")
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
