"""Several mask files for each photo."""

import re

import numpy as np
import pytest
from PIL import Image

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, masks, photo, save, unlabelled
from unimatch.data import folder
from unimatch.errors import DataError
from unimatch.labelling import read, write

FIRST, SECOND = area(0, 0, 3, 3), area(2, 2, 5, 4)


def mask(path, inside, *, mode="L"):
    """A mask that is white where ``inside``; with an alpha channel, the rest is transparent instead of black."""
    picture = Image.fromarray(inside.astype(np.uint8) * 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "alpha":
        Image.merge("RGBA", (*[Image.new("L", picture.size, 7)] * 3, picture)).save(path)
    else:
        picture.convert(mode).save(path)


def bowl(root):
    """As the Data Science Bowl 2018 has its training images, and a test image without masks."""
    for name in ("a", "b"):
        photo(root / f"stage1_train/{name}/images/{name}.png")
        mask(root / f"stage1_train/{name}/masks/{name}1.png", FIRST)
    mask(root / "stage1_train/a/masks/a2.png", SECOND, mode="alpha")
    photo(root / "stage1_test/c/images/c.png")
    return root


def test_each_mask_is_an_object_of_one_class(tmp_path):
    labels = read(bowl(tmp_path))
    assert labels.classes == ("background", "foreground")
    found = masks(labels)
    assert found.keys() == {"train/a.png", "train/b.png"}
    assert np.array_equal(found["train/a.png"], (FIRST | SECOND).astype(np.uint8))
    assert np.array_equal(found["train/b.png"], FIRST.astype(np.uint8))
    assert unlabelled(labels) == ["c.png"]


@pytest.mark.parametrize("prefix", ["", "NAME_"])
@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "alpha"])
def test_names_that_recur_are_classes_and_later_ones_lie_on_top(tmp_path, prefix, mode):
    for name in ("a", "b"):
        photo(tmp_path / f"images/{name}.jpg")
        for label, inside in (("leaf", FIRST), ("stone", SECOND)):
            mask(tmp_path / f"masks/{name}/{prefix.replace('NAME', name)}{label}.png", inside, mode=mode)
    mask(tmp_path / "masks/a/moss.png", area(5, 5, 6, 6))  # of one photo alone
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "moss", "stone")
    expected = FIRST.astype(np.uint8)
    expected[SECOND] = 3
    assert np.array_equal(masks(labels)["train/b.jpg"], expected)


@pytest.mark.parametrize(
    ("photos", "folder"), [("images", "masks"), ("images", "Labels"), ("photos/img", "photos/masks")]
)
def test_each_class_may_have_a_folder(photos, folder, tmp_path):
    for name in ("a", "b"):
        photo(tmp_path / f"{photos}/day/{name}.jpg")
        mask(tmp_path / f"{folder}/day/leaf/{name}.png", FIRST)
    mask(tmp_path / f"{folder}/day/stone/a.png", SECOND)
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "stone")
    expected = FIRST.astype(np.uint8)
    expected[SECOND] = 2
    assert np.array_equal(masks(labels)["train/a.jpg"], expected)
    assert np.array_equal(masks(labels)["train/b.jpg"], FIRST.astype(np.uint8))
    assert len(labels.images) == 2  # no mask is taken for a photo


@pytest.mark.parametrize(
    ("photos", "folder", "part"),
    [
        ("train_images", "train_masks", "train"),
        ("TrainImgs", "train-labels", "train"),
        ("train", "trainannot", "train"),
        ("data/valid", "data/ValAnnot", "val"),
        ("test", "test_labels", "test"),
        ("training/images", "training/masks", "train"),
    ],
)
@pytest.mark.parametrize("mark", ["/", "_"])
def test_folders_may_name_a_part(photos, folder, part, mark, tmp_path):
    for name in ("a", "b", "c"):
        photo(tmp_path / f"{photos}/{name}.jpg")
        for label, inside in (("leaf", FIRST), ("stone", SECOND)):
            if name != "c":
                mask(tmp_path / f"{folder}/{name}{mark}{label}.png", inside)
    photo(tmp_path / "overlays/a.png")
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "stone")
    assert masks(labels).keys() == {f"{part}/a.jpg", f"{part}/b.jpg"}
    assert np.array_equal(masks(labels)[f"{part}/a.jpg"][SECOND], np.full(SECOND.sum(), 2))
    assert unlabelled(labels) == ["c.jpg"]


def test_masks_belong_to_photos_of_the_same_part(tmp_path):
    for part, name in (("train", "a"), ("val", "a"), ("test", "b")):
        photo(tmp_path / f"{part}/{name}.jpg")
    for number in range(2):
        mask(tmp_path / f"train_masks/a_{number}.png", FIRST)
        mask(tmp_path / f"val_masks/a_{number}.png", SECOND)
    labels = read(tmp_path)
    found = masks(labels)
    assert np.array_equal(found["train/a.jpg"], FIRST)
    assert np.array_equal(found["val/a.jpg"], SECOND)
    assert unlabelled(labels) == ["b.jpg"]  # of a part without masks


def test_numbers_that_recur_are_objects(tmp_path):
    for name in ("a", "b"):
        photo(tmp_path / f"images/{name}.jpg")
        for number in range(2):
            mask(tmp_path / f"masks/{name}/{number}.png", (FIRST, SECOND)[number])
    assert read(tmp_path).classes == ("background", "foreground")


@pytest.mark.parametrize("names", [("a_0", "a_1", "b_0", "b_1"), ("a_mask", "a_mask_1", "b_mask", "a_b_mask_1")])
def test_masks_of_all_photos_may_share_a_folder(names, tmp_path):
    for name in ("a", "b", "a_b"):
        photo(tmp_path / f"images/{name}.jpg")
    for number, name in enumerate(names):
        mask(tmp_path / f"masks/{name}.png", (FIRST, SECOND)[number % 2])
    labels = read(tmp_path)
    assert labels.classes == ("background", "foreground")
    found = masks(labels)
    assert np.array_equal(found["train/a.jpg"], (FIRST | SECOND).astype(np.uint8))
    assert found.keys() == {"train/a.jpg", "train/b.jpg", *(["train/a_b.jpg"] if "a_b_mask_1" in names else [])}


def test_photos_of_one_name_keep_their_folders(tmp_path):
    for name in ("a", "b"):
        photo(tmp_path / f"{name}/images/photo.png")
        for number in range(2):
            mask(tmp_path / f"{name}/masks/{number}.png", FIRST)
    assert masks(read(tmp_path)).keys() == {"train/a/photo.png", "train/b/photo.png"}


def test_masks_without_a_photo_are_named_and_are_no_photos(tmp_path, caplog):
    mask(bowl(tmp_path) / "stage1_train/lost/masks/l1.png", FIRST)
    photo(tmp_path / "overlays/a.png")
    for name in ("d", "e"):
        photo(tmp_path / f"two/images/{name}.png")
    mask(tmp_path / "two/masks/d1.png", FIRST)  # may be of a photo d1
    labels = read(tmp_path)
    assert sorted(image.name for image in labels.images) == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert re.search(r"2 annotations are left out: no photo has such masks; .*lost/masks/l1\.png", caplog.text)


def test_a_mask_of_another_size_is_refused(tmp_path):
    mask(bowl(tmp_path) / "stage1_train/a/masks/a2.png", np.ones((HEIGHT + 1, WIDTH), bool))
    with pytest.raises(DataError, match=r"a2\.png: the mask has .* pixels and its photo"):
        masks(read(tmp_path))


def test_a_mask_whose_checksum_is_wrong_is_refused(tmp_path):
    path = bowl(tmp_path) / "stage1_train/a/masks/a1.png"
    content = bytearray(path.read_bytes())
    content[content.index(b"IEND") - 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a1\.png: is damaged, as a checksum in it says"):
        masks(read(tmp_path))


def test_one_mask_for_each_photo_is_another_format(tmp_path):
    (bowl(tmp_path) / "stage1_train/a/masks/a2.png").unlink()
    with pytest.raises(DataError, match="of no known format"):
        read(tmp_path)


def test_a_file_that_describes_the_same_masks_is_read_in_their_place(tmp_path):
    save(bowl(tmp_path) / "train.csv", f"ImageId,EncodedPixels\na,1 3\nb,{HEIGHT + 1} 2\n")
    assert masks(read(tmp_path))["train/a.png"].sum() == 3
    assert masks(read(tmp_path, format="masks"))["train/a.png"].sum() == (FIRST | SECOND).sum()


def test_training_reads_what_is_written_and_names_this_command_before(tmp_path):
    root = bowl(tmp_path / "bowl")
    (root / "classes.txt").write_text("background\nnucleus\n")
    with pytest.raises(DataError, match=r"no such folder"):
        folder(root)
    (root / "classes.txt").unlink()
    mask(root / "stage1_train/b/masks/b2.png", SECOND)
    (root / "stage1_train/a/masks/a2.png").unlink()
    with pytest.raises(DataError, match=r"a and b each hold one image with several masks.*unimatch\.labels from="):
        folder(root / "stage1_train")
    write(read(root), tmp_path / "mine", workers=0)
    data = folder(tmp_path / "mine", val_share=0.5)
    assert (len(data.labeled), len(data.unlabeled), len(data.val)) == (1, 1, 1)
    assert data.info.classes == ("background", "foreground")


def test_exports_of_tools_are_not_taken_for_this_format(tmp_path):
    for name in ("coco", "cvat", "labelme", "roboflow", "kaggle", "yolo", "supervisely", "label_studio"):
        getattr(exports, name)(tmp_path / name)
        with pytest.raises(DataError, match="holds nothing in the format masks"):
            read(tmp_path / name, format="masks")


@pytest.mark.parametrize("place", ["", "benign/", "images/", "train/"])
def test_masks_beside_their_photo_are_joined(tmp_path, place):
    """As breast ultrasound images have them."""
    for name in ("scan (1)", "scan (2)"):
        photo(tmp_path / f"{place}{name}.png")
        mask(tmp_path / f"{place}{name}_mask.png", FIRST)
    mask(tmp_path / f"{place}scan (2)_mask_1.png", SECOND)
    photo(tmp_path / f"{place}scan (3).png")
    labels = read(tmp_path)
    assert labels.classes == ("background", "foreground")
    found = {name.rpartition("/")[2]: values for name, values in masks(labels).items()}
    assert found.keys() == {"scan (1).png", "scan (2).png"}
    assert np.array_equal(found["scan (1).png"], FIRST.astype(np.uint8))
    assert np.array_equal(found["scan (2).png"], (FIRST | SECOND).astype(np.uint8))
    assert unlabelled(labels) == ["scan (3).png"]


def test_masks_of_classes_beside_their_photo_are_joined(tmp_path, caplog):
    for name in ("a", "b"):
        photo(tmp_path / f"{name}.jpg")
        for label, inside in (("leaf", FIRST), ("stone", SECOND)):
            mask(tmp_path / f"{name}_{label}_mask.png", inside)
    mask(tmp_path / "c_mask.png", FIRST)  # of no photo
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "stone")
    assert np.unique(masks(labels)["train/b.jpg"]).tolist() == [0, 1, 2]
    assert "no photo has such masks" in caplog.text
