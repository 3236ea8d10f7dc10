"""Made data and helpers for tests of several parts."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unimatch.images.bands import PHOTOS

SMALL = [
    "dataset.train=24",
    "dataset.labeled=8",
    "dataset.val=4",
    "datamodule.workers=0",
    "trainer.log_every_n_steps=1",
]
"""The demo's data, a few seconds' worth."""
SHORT = ["trainer.max_steps=6", "trainer.val_check_interval=4"]
"""Of the run that ``finished_run`` is."""


NIGHTLY = pytest.mark.nightly


def rest_nightly(values: Iterable[Any], keep: Collection[Any]) -> list[Any]:
    """Parameters of a test, of which the suite runs those to keep, and ``make nightly`` all."""
    values = list(values)
    assert all(each in values for each in keep), "of what is kept there is none"
    return [
        value if value in keep else pytest.param(*(value if isinstance(value, tuple) else [value]), marks=NIGHTLY)
        for value in values
    ]


def at_night(*values: Any) -> Any:
    """A set of a test's parameters that only ``make nightly`` runs."""
    return pytest.param(*values, marks=NIGHTLY)


def read_summary(run_dir: Path) -> dict:
    return json.loads((run_dir / "summary.json").read_text())


def write_pair(
    image: Path,
    mask: Path | None,
    *,
    seed: int = 0,
    size: tuple[int, int] = (16, 20),
    mask_size: tuple[int, int] | None = None,
    ids: Iterable[int] = (0, 1, 2),
) -> None:
    """An image of random colours and, where a path is given, a mask of random ids; sizes are (H, W)."""
    rng = np.random.default_rng(seed)
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(image)
    if mask is not None:
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.choice(np.array([*ids], np.uint8), mask_size or size)).save(mask)


def make_folder(
    root: Path,
    *,
    labeled: int = 6,
    unlabeled: int = 0,
    val: int = 0,
    test: int = 0,
    size: tuple[int, int] = (24, 32),
    classes: Collection[str] = ("soil", "plant"),
) -> Path:
    """The folder layout: images ``a0.png`` and on, ``u0.png`` unlabelled, ``v0.png`` for validation, ``t0.png``."""
    height, width = size
    for part, letter, count, seed in (("", "a", labeled, 0), ("val", "v", val, 40), ("test", "t", test, 60)):
        for i in range(count):
            image, mask = (root / part / kind / f"{letter}{i}.png" for kind in ("images", "masks"))
            size = {"a": (height, width + i), "v": (height - 4 + i, width + 10), "t": (height, width)}[letter]
            write_pair(image, mask, seed=seed + i, size=size, ids=range(len(classes)))
    for i in range(unlabeled):
        write_pair(root / "unlabeled" / f"u{i}.png", None, seed=20 + i, size=(height, width))
    (root / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
    return root


def make_camvid(root: Path, *, train: int = 4, val: int = 2, height: int = 36, width: int = 48) -> Path:
    """A tree in CamVid's layout: each image is blocks of flat colour, each mask their classes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val), ("test", val)):
        for folder in (part, f"{part}annot"):
            (root / folder).mkdir(parents=True)
        for i in range(count):
            mask = rng.integers(0, 11, size=(height // 12, width // 12)).repeat(12, 0).repeat(12, 1).astype(np.uint8)
            image = np.stack([mask * 20, 255 - mask * 20, mask * 7], axis=-1).astype(np.uint8)
            Image.fromarray(image).save(root / part / f"{i:03d}.jpg")
            Image.fromarray(mask).save(root / f"{part}annot" / f"{i:03d}.png")
    return root


class PixelModel(nn.Module):
    """Classes of each pixel and its neighbours, and of where it lies in what the model sees."""

    bands = PHOTOS

    def __init__(self, num_classes=4, size_multiple=1):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.num_classes, self.size_multiple = num_classes, size_multiple
        self.layer = nn.Conv2d(3, num_classes, 3, padding=1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.seen = []

    def forward(self, images):
        assert images.shape[-2] % self.size_multiple == 0
        assert images.shape[-1] % self.size_multiple == 0
        self.seen.append(tuple(images.shape[-2:]))
        place = torch.linspace(0, 1, images.shape[-1])  # makes windows disagree about a pixel
        return self.layer(images) + place * torch.arange(self.num_classes).view(-1, 1, 1)


def save_run(path: Path, root: Path, *, seed: int = 0) -> Path:
    """A checkpoint as ``unimatch.run`` writes it, of models with random weights that predict several classes."""
    from unimatch import SegmentationModel, UniMatchV2
    from unimatch.data.catalog import CAMVID

    method = UniMatchV2(SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8)))
    generator = torch.Generator().manual_seed(seed)
    for model in (method.student, method.teacher.model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    checkpoint = {"state_dict": method.state_dict(), "unimatch_run": {
        "config": {"dataset": {"_target_": "unimatch.data.camvid", "root": str(root)}},
        "classes": list(CAMVID.classes),
        "palette": [list(color) for color in CAMVID.palette],
    }}  # fmt: skip
    checkpoint["unimatch_model"] = method.student.description()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path


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
"""An image and its mask of each part of a published layout; {} stands for a name."""
TRAIN, VAL = ("000", "001", "002", "003", "004"), ("100", "101")
"""Names of its training and validation images."""


def make_published(root: Path, name: str, size: tuple[int, int] = (16, 20)) -> tuple[list[str], list[str]]:
    """A small tree in a published layout: five training and two validation images; the lines of both lists."""
    parts, lists = PUBLISHED[name], []
    for part, stems in (("train", TRAIN), ("val", VAL)):
        image, mask = parts[part] or parts["train"]
        lists.append([f"{image.format(stem)} {mask.format(stem)}" for stem in stems])
        for i, line in enumerate(lists[-1]):
            write_pair(*(root / path for path in line.split()), seed=i, size=size, ids=(0, 1, 18, 255))
    return lists[0], lists[1]


def write_splits(base: Path, name: str, train: list[str], val: list[str], labeled: dict[str, int]) -> Path:
    """Lists as published: of each split its first so many training images labelled, and the others unlabelled."""
    for split, count in labeled.items():
        (base / name / split).mkdir(parents=True)
        (base / name / split / "labeled.txt").write_text("\n".join(train[:count]))
        (base / name / split / "unlabeled.txt").write_text("\n".join(train[count:]) + "\n")
    (base / name / "val.txt").write_text("\n".join(val))
    return base


def make_change(root: Path, names: list[str], *, height: int = 20, width: int = 24, changed: int = 255) -> Path:
    """Pairs in LEVIR's layout: a block of each second date, and of nothing else, is brighter."""
    for folder in ("A", "B", "label"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        rng = np.random.default_rng(list(name.encode()))
        before = rng.integers(0, 128, size=(height, width, 3), dtype=np.uint8)
        label = np.zeros((height, width), np.uint8)
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        label[top : top + 8, left : left + 8] = changed
        after = before + np.uint8(100) * (label[..., None] > 0)
        for folder, array in (("A", before), ("B", after), ("label", label)):
            Image.fromarray(array).save(root / folder / name)
    return root
