"""Small data trees on disk."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASS_NAMES = ("ground", "leaf", "stone")


def write_pair(image: Path, mask: Path | None, *, seed=0, size=(16, 20), mask_size=None, ids=(0, 1, 2)):
    """Write an image of random colours and, where a path is given, a mask of random ids; sizes are (H, W)."""
    rng = np.random.default_rng(seed)
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(image)
    if mask is not None:
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.choice(np.array(ids, np.uint8), mask_size or size)).save(mask)


@pytest.fixture(name="write_pair")
def write_pair_fixture():
    return write_pair


@pytest.fixture
def camvid_root(tmp_path):
    """CamVid's layout: 8 training images of several kinds, 3 validation and 2 test images."""
    root = tmp_path / "camvid"
    suffixes = (".png", ".jpg", ".JPG", ".bmp", ".tif", ".jpeg", ".PNG", ".webp")
    for part, count in (("train", 8), ("val", 3), ("test", 2)):
        for i in range(count):
            name = f"{part}_{i}"
            write_pair(
                root / part / f"{name}{suffixes[i]}",
                root / f"{part}annot" / f"{name}.png",
                seed=i,
                size=(16 + i, 20),
                ids=(0, 3, 10, 11, 255),
            )
    return root


@pytest.fixture
def folder_root(tmp_path):
    """The folder layout: 6 labelled, 4 unlabelled, 3 validation and 2 test images of three classes."""
    root = tmp_path / "photos"
    for i in range(6):
        write_pair(root / "images" / f"a{i}.png", root / "masks" / f"a{i}.png", seed=i, size=(16, 20 + i))
    for i in range(4):
        write_pair(root / "unlabeled" / f"u{i}.png", None, seed=20 + i)
    for i in range(3):
        name = f"v{i}.png"
        write_pair(root / "val" / "images" / name, root / "val" / "masks" / name, seed=40 + i, size=(12 + i, 30))
    for i in range(2):
        write_pair(root / "test" / "images" / f"t{i}.png", root / "test" / "masks" / f"t{i}.png", seed=60 + i)
    (root / "classes.txt").write_text("\n".join(CLASS_NAMES) + "\n", encoding="utf-8")
    return root


# An image and its mask of each part of a published layout; {} stands for a name.
PUBLISHED = {
    "pascal": {"train": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"), "val": None},
    "cityscapes": {
        part: (
            f"leftImg8bit/{part}/town/town_{{}}_leftImg8bit.png",
            f"gtFine/{part}/town/town_{{}}_gtFine_labelTrainIds.png",
        )
        for part in ("train", "val")
    },
    "ade20k": {
        "train": ("images/training/{}.jpg", "annotations/training/{}.png"),
        "val": ("images/validation/{}.jpg", "annotations/validation/{}.png"),
    },
    "coco": {"train": ("train2017/{}.jpg", "masks/{}.png"), "val": ("val2017/{}.jpg", "masks/{}.png")},
}
TRAIN, VAL = ("000", "001", "002", "003", "004"), ("100", "101")


@pytest.fixture(params=list(PUBLISHED))
def published(request, tmp_path):
    """A small tree in a published layout: its name, root, and the lines of its training and validation images."""
    name, root = request.param, tmp_path / "data"
    parts = PUBLISHED[name]
    lines = {}
    for part, stems in (("train", TRAIN), ("val", VAL)):
        image, mask = parts[part] or parts["train"]
        lines[part] = [f"{image.format(stem)} {mask.format(stem)}" for stem in stems]
        for i, line in enumerate(lines[part]):
            write_pair(*(root / path for path in line.split()), seed=i, ids=(0, 1, 18, 255))
    if name == "cityscapes":
        write_pair(root / "gtFine/train/town/town_000_gtFine_color.png", None)
    if name == "pascal":
        write_pair(root / "JPEGImages/without_mask.jpg", None)
        (root / "ImageSets" / "Segmentation").mkdir(parents=True)
        (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(VAL) + "\n")
    return name, root, lines["train"], lines["val"]


@pytest.fixture
def published_splits(published, tmp_path):
    """Lists as published for that tree: splits 1_16 (one labelled image) and 12 (two), validation images."""
    name, _, train, val = published
    base = tmp_path / "splits" / name
    for split, count in (("1_16", 1), ("12", 2)):
        (base / split).mkdir(parents=True)
        (base / split / "labeled.txt").write_text("\n".join(train[:count]))
        (base / split / "unlabeled.txt").write_text("\n".join(train[count:]) + "\n")
    (base / "val.txt").write_text("\n".join(val))
    return base.parent
