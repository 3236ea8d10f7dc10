import pytest

from helpers import exports
from helpers.exports import area, masks
from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling import read
from unimatch.labelling.photos import Photos


def test_photos_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for sub, left in (("x", 1), ("y", 3)):
        exports.labelme(tmp_path / sub, shapes=[{"label": "leaf", "points": exports.box(left, 1, 5, 5)}])
    found = masks(read(tmp_path))
    assert (found["train/x/a.png"] == area(1, 1, 5, 5)).all()
    assert (found["train/y/a.png"] == area(3, 1, 5, 5)).all()


def test_a_photo_is_found_by_the_end_of_its_path_then_near_its_labels(tmp_path):
    names = ["train/images/a.jpg", "val/images/a.jpg", "other/\u00c4.PNG"]
    photos = Photos(Member(tmp_path, name, 1) for name in names)
    at_train, elsewhere = Member(tmp_path, "train/labels.json", 1), Member(tmp_path, "labels.json", 1)
    assert photos.find("val/images/a.jpg", at_train).name == names[1]
    assert photos.find("images\\a", at_train).name == names[0]
    assert photos.find("a\u0308.png", elsewhere).name == names[2]
    with pytest.raises(DataError, match=r"a\.jpg: may be train/images/a\.jpg or val/images/a\.jpg"):
        photos.find("a.jpg", elsewhere)
    assert [photos.has(name) for name in ("x/a", "b.jpg")] == [True, False]


def test_training_and_validation_photos_may_have_one_name(tmp_path):
    photos = Photos(Member(tmp_path, name, 1) for name in ("images/a.jpg", "val/images/a.jpg"))
    assert photos.find("images/a", Member(tmp_path, "masks/a.png", 1)).name == "images/a.jpg"
    assert photos.find("val/images/a", Member(tmp_path, "val/masks/a.png", 1)).name == "val/images/a.jpg"


def test_photos_of_one_name_are_told_apart_by_the_part_that_the_labels_name(tmp_path):
    names = ["images/train2017/0.png", "images/val2017/0.png"]
    photos = Photos(Member(tmp_path, name, 1) for name in names)
    for part, name in zip(("train", "val"), names, strict=True):
        assert photos.find("0.png", Member(tmp_path, f"annotations/instances_{part}2017.json", 1)).name == name
    with pytest.raises(DataError, match="may be"):
        photos.find("0.png", Member(tmp_path, "annotations/instances.json", 1))


def test_a_name_may_be_an_address(tmp_path):
    photos = Photos([Member(tmp_path, "images/my photo (1).png", 1), Member(tmp_path, "images/50%25.png", 1)])
    near = Member(tmp_path, "a.json", 1)
    for name in ("my%20photo%20%281%29.png", "https://x.org/a/my%20photo%20(1).png?signature=1/2"):
        assert photos.find(name, near).name == "images/my photo (1).png"
    assert photos.find("50%25.png", near).name == "images/50%25.png"


def test_a_photo_of_a_kind_that_is_not_read_is_called_so(tmp_path):
    with pytest.raises(
        DataError, match=r"a\.HEIC: no such photo in the export \(photos \.heic are not read; convert them"
    ):
        Photos([]).find("a.HEIC", Member(tmp_path, "a.json", 1))
