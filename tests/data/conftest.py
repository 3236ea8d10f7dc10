"""Small data trees on disk."""

import pytest

from helpers import support
from helpers.support import PUBLISHED, VAL, make_folder, make_published, write_splits

CLASS_NAMES = ("ground", "leaf", "stone")


@pytest.fixture
def write_pair():
    return support.write_pair


@pytest.fixture
def camvid_root(tmp_path):
    """CamVid's layout: 8 training images of several kinds, 3 validation and 2 test images."""
    root = tmp_path / "camvid"
    suffixes = (".png", ".jpg", ".JPG", ".bmp", ".tif", ".jpeg", ".PNG", ".webp")
    for part, count in (("train", 8), ("val", 3), ("test", 2)):
        for i in range(count):
            image, mask = root / part / f"{part}_{i}{suffixes[i]}", root / f"{part}annot" / f"{part}_{i}.png"
            support.write_pair(image, mask, seed=i, size=(16 + i, 20), ids=(0, 3, 10, 11, 255))
    return root


@pytest.fixture
def folder_root(tmp_path):
    """The folder layout: 6 labelled, 4 unlabelled, 3 validation and 2 test images of three classes."""
    return make_folder(tmp_path / "photos", unlabeled=4, val=3, test=2, size=(16, 20), classes=CLASS_NAMES)


@pytest.fixture(params=list(PUBLISHED))
def published(request, tmp_path):
    """A small tree in a published layout: its name, root, and the lines of its training and validation images."""
    name, root = request.param, tmp_path / "data"
    train, val = make_published(root, name)
    if name == "cityscapes":
        support.write_pair(root / "gtFine/train/town/town_000_gtFine_color.png", None)
    if name == "pascal":
        support.write_pair(root / "JPEGImages/without_mask.jpg", None)
        (root / "ImageSets" / "Segmentation").mkdir(parents=True)
        (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(VAL) + "\n")
    return name, root, train, val


@pytest.fixture
def published_splits(published, tmp_path):
    """Lists as published for that tree: splits 1_16 (one labelled image) and 12 (two), validation images."""
    name, _, train, val = published
    return write_splits(tmp_path / "splits", name, train, val, {"1_16": 1, "12": 2})
