import numpy as np
import pytest
from PIL import Image

from helpers import exports
from helpers.exports import area, masks, photo, save, unlabelled
from unimatch.errors import DataError
from unimatch.labelling import read


def test_voc_colours_void_and_lists(tmp_path):
    mask = Image.fromarray(np.where(area(1, 1, 5, 5), 15, 0).astype(np.uint8))
    mask.putpalette([channel for color in ((0, 0, 0), *[(1, 1, 1)] * 14, (192, 128, 128)) for channel in color])
    for name in "ab":
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        mask.save(tmp_path / "SegmentationClass" / f"{name}.png")
    save(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "b\n")
    labels = read(tmp_path)
    assert labels.classes[15] == "person"
    assert {name: np.unique(mask).tolist() for name, mask in masks(labels).items()} == {
        "train/a.jpg": [0, 15],
        "val/b.jpg": [0, 15],
    }


def test_lists_name_photos_with_blanks_quotes_and_endings(tmp_path):
    exports.cvat(tmp_path)
    for line in ("my photo", '"my photo"', "my photo.jpg", "a"):
        name = "a" if line == "a" else "my photo"
        for path in [*tmp_path.glob("*/a.*"), *tmp_path.glob("*/my photo.*")]:
            path.rename(path.with_stem(name))
        save(tmp_path / "ImageSets" / "Segmentation" / "val.txt", f"{line}\n")
        assert masks(read(tmp_path)).keys() == {f"val/{name}.jpg"}


def test_several_exports_keep_their_own_colours_lists_and_folders(tmp_path):
    for name in ("cats", "dogs"):
        exports.cvat(tmp_path / name)
    swapped = "background:0,0,0::\nstone:0,255,16::\nmoss:9,8,7::\n"
    save(tmp_path / "dogs" / "labelmap.txt", swapped)
    save(tmp_path / "dogs" / "ImageSets" / "Segmentation" / "val.txt", "a\n")
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "stone", "moss")
    assert len(set(labels.colors)) == 4
    found = masks(labels)
    leaf, stone = area(1, 1, 5, 5), area(6, 1, 9, 5)
    assert (found["train/cats/a.jpg"] == leaf + 2 * stone.astype(np.uint8)).all()
    assert (found["val/dogs/a.jpg"] == 2 * leaf + 3 * stone.astype(np.uint8)).all()
    assert unlabelled(labels) == ["cats/b.jpg", "dogs/b.jpg"]


def test_the_folder_of_an_export_says_its_part_and_one_labelmap_around_them_is_enough(tmp_path):
    for name in ("train", "val"):
        (exports.cvat(tmp_path / name) / "labelmap.txt").rename(tmp_path / "labelmap.txt")
    assert masks(read(tmp_path)).keys() == {"train/a.jpg", "val/a.jpg"}


def test_without_a_labelmap_an_unknown_colour_says_so(tmp_path):
    (exports.cvat(tmp_path) / "labelmap.txt").unlink()
    with pytest.raises(DataError, match=r"a\.png: colour .* no labelmap\.txt lies beside SegmentationClass/, so VOC's"):
        masks(read(tmp_path))


def test_a_grey_mask_holds_the_classes_in_their_order(tmp_path):
    exports.cvat(tmp_path)
    save(tmp_path / "labelmap.txt", "background:0,0,0::\nleaf:0,255,16::\nstone:9,8,7::\n")
    ids = area(1, 1, 5, 5) + 2 * area(6, 1, 9, 5).astype(np.uint8)
    ids[7] = 255
    mask = tmp_path / "SegmentationClass" / "a.png"
    Image.fromarray(ids).save(mask)
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "stone")
    assert (masks(labels)["train/a.jpg"] == ids).all()
    Image.fromarray(ids + 1).save(mask)
    with pytest.raises(DataError, match=r"a\.png: value 3 \(12 pixels\) of no class"):
        masks(read(tmp_path))
