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
