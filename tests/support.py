"""Made data and helpers for tests of several parts."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = [
    "dataset.train=24",
    "dataset.labeled=8",
    "dataset.val=4",
    "datamodule.workers=0",
    "trainer.log_every_n_steps=1",
]
"""The demo's data, a few seconds' worth."""


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
