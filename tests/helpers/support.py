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
    assert not set(keep) - set(values), "of what is kept there is none"
    return [
        value if value in keep else pytest.param(*(value if isinstance(value, tuple) else [value]), marks=NIGHTLY)
        for value in values
    ]


def read_summary(run_dir: Path) -> dict:
    return json.loads((run_dir / "summary.json").read_text())


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


def save_run(path: Path, root: Path) -> Path:
    """A checkpoint as ``unimatch.run`` writes it, of models with random weights that predict several classes."""
    from unimatch import SegmentationModel, UniMatchV2
    from unimatch.data.catalog import CAMVID

    method = UniMatchV2(SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8)))
    generator = torch.Generator().manual_seed(0)
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
    "pascal": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
    "cityscapes": (
        "leftImg8bit/train/town/town_{}_leftImg8bit.png",
        "gtFine/train/town/town_{}_gtFine_labelTrainIds.png",
    ),
    "ade20k": ("images/training/{}.jpg", "annotations/training/{}.png"),
    "coco": ("train2017/{}.jpg", "masks/{}.png"),
}
"""An image and its mask in each published layout; {} stands for a name."""


def make_published(root: Path, name: str, splits: Path, names: list[str]) -> list[str]:
    """A small tree in a published layout and lists of the named splits; the overrides that choose it."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(8):
        image, mask = (root / path.format(f"{i:03d}") for path in PUBLISHED[name])
        lines.append(f"{image.relative_to(root)} {mask.relative_to(root)}")
        ids = rng.choice(np.array([0, 1, 18, 255], np.uint8), (4, 5)).repeat(10, 0).repeat(10, 1)
        for path, array in ((image, np.stack([ids, 255 - ids, ids // 2], -1)), (mask, ids)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    (splits / name).mkdir(parents=True)
    for split in names:
        folder = splits / name / split
        folder.mkdir()
        (folder / "labeled.txt").write_text("\n".join(lines[:2]))
        (folder / "unlabeled.txt").write_text("\n".join(lines[2:6]))
    (splits / name / "val.txt").write_text("\n".join(lines[6:]))
    return [f"dataset={name}", f"dataset.root={root}", f"dataset.splits={splits}"]


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
