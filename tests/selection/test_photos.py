"""Which photos can be labelled, and which are labelled already, in data sets arranged as people arrange them."""

import pytest

from helpers.support import make_folder, write_pair
from unimatch.selection.photos import named, photos_below


@pytest.mark.parametrize("place", [("images", "masks"), ("train/images", "train/labels"), ("images/train", "gt/train")])
def test_labelled_and_unlabelled_photos_are_found_where_training_finds_them(place, tmp_path):
    root = make_folder(tmp_path, labeled=3, unlabeled=2, val=1)
    for old, new in zip(("images", "masks"), place, strict=True):
        (root / old).rename(tmp_path / "passing")
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "passing").rename(root / new)
    write_pair(root / place[0] / "site" / "b.png", None)
    photos = photos_below(root)
    names = [photos.name_of(file) for file in photos.files]
    assert names == ["a0.png", "a1.png", "a2.png", "site/b.png", "u0.png", "u1.png"]
    assert [path.name for path in photos.labelled] == ["a0.png", "a1.png", "a2.png"]
    assert [path.name for path in named(photos, root / place[1])] == ["a0.png", "a1.png", "a2.png"]
    assert photos.predicted_as[photos.files[3]][1].as_posix() == f"{place[0]}/site/b"


def test_unlabelled_photos_beside_the_training_images_are_found(tmp_path):
    root = make_folder(tmp_path, labeled=2, unlabeled=1)
    (root / "train").mkdir()
    for name in ("images", "masks", "unlabeled"):
        (root / name).rename(root / "train" / name)
    photos = photos_below(root)
    assert [photos.name_of(file) for file in photos.files] == ["a0.png", "a1.png", "u0.png"]
    assert [path.name for path in photos.labelled] == ["a0.png", "a1.png"]


@pytest.mark.parametrize("place", ["", "images", "train"])
def test_photos_beside_their_masks_are_found_without_these(place, tmp_path):
    for i in range(3):
        write_pair(tmp_path / place / f"{i}.jpg", tmp_path / place / f"{i}.png" if i < 2 else None)
    write_pair(tmp_path / "val" / "v.jpg", tmp_path / "val" / "v.png")
    write_pair(tmp_path / "unlabeled" / "u.jpg", None)
    photos = photos_below(tmp_path)
    assert [photos.name_of(file) for file in photos.files] == ["0.jpg", "1.jpg", "2.jpg", "u.jpg"]
    assert [path.name for path in photos.labelled] == ["0.jpg", "1.jpg"]


def test_an_empty_folder_of_masks_says_that_nothing_is_labelled(tmp_path):
    for i in range(2):
        write_pair(tmp_path / "images" / f"{i}.png", None)
    (tmp_path / "masks").mkdir()
    photos = photos_below(tmp_path)
    assert len(photos.files) == 2
    assert photos.labelled == []


def test_of_any_other_folder_all_photos_are_found(tmp_path):
    write_pair(tmp_path / "day" / "a.png", None)
    photos = photos_below(tmp_path)
    assert [photos.name_of(file) for file in photos.files] == ["day/a.png"]
    assert [path.as_posix() for path in photos.predicted_as[photos.files[0]]] == ["day/a"]
