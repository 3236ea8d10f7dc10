"""The change-detection demo: tiles of two real photographs with changes pasted in, in LEVIR's layout.

Nothing is downloaded: the photographs, ``china.jpg`` and ``flower.jpg`` (CC BY 2.0), come with scikit-learn. Each tile
is a function of its part and number; training and held-out tiles come from different parts of the photographs.
"""

import os
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from unimatch.data.catalog import CHANGE_DEMO
from unimatch.data.sets.change import ChangeLayout
from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.dates import AFTER, BEFORE, LABEL
from unimatch.data.sources.files import absolute
from unimatch.disk import replace_file, replace_text, sync_below, temporary_folder
from unimatch.errors import DataError
from unimatch.images.arrays import ImageArray, MaskArray

COUNTS = {"train": 200, "val": 60, "test": 60}
"""Tiles of each part."""

SIDE = 48
"""Side of the tiles, in pixels."""

TRAIN_SHARE = 0.65
"""The share of the photographs' width, on the left, from which training tiles come; the rest is held out."""


def change_demo(
    root: str | Path = "data/change_demo", *, labeled: int | None = 20, split_seed: int = 0
) -> SegmentationData:
    """Returns the demo's data: ``labeled`` of 200 training pairs with their labels, the others as the unlabelled pool.

    Args:
        root: the folder; it is written if it is missing.
        labeled: number of labelled pairs, None for all.
        split_seed: which training pairs are labelled.

    Raises:
        ConfigError: ``labeled`` is out of range.
        DataError: the folder cannot be written, or holds something else.
    """
    path = absolute(root)
    if not path.exists():
        write_change_demo(path)
    return ChangeLayout(CHANGE_DEMO)(path, labeled=labeled, split_seed=split_seed)


def write_change_demo(root: Path) -> None:
    """Writes ``A/ B/ label/ list/`` below a new folder, all of it or nothing."""
    try:
        with temporary_folder(root) as folder:
            for part, count in COUNTS.items():
                names = [f"{part}_{i:03d}.png" for i in range(count)]
                for i, name in enumerate(names):
                    before, after, changed = compose_pair(part, i)
                    for kind, array in ((BEFORE, before), (AFTER, after), (LABEL, changed)):
                        picture = Image.fromarray(array)
                        replace_file(folder / kind / name, partial(picture.save, format="PNG"), sync=False)
                replace_text(folder / "list" / f"{part}.txt", "\n".join(names) + "\n")
            sync_below(folder)
            os.rename(folder, root)  # noqa: PTH104 - fails if another process was faster
    except OSError as error:
        if not root.is_dir():
            raise DataError(f"root={root}: the demo's tiles cannot be written there ({error})") from error


def compose_pair(part: str, index: int) -> tuple[ImageArray, ImageArray, MaskArray]:
    """Composes a pair: a piece of a photograph at two dates, with different light, shadows, noise and pasted objects.

    Args:
        part: ``train``, ``val`` or ``test``.
        index: number of the tile.

    Returns:
        Two (SIDE, SIDE, 3) uint8 RGB images, and the (SIDE, SIDE) uint8 label: 255 where they differ in content.
    """
    rng = np.random.default_rng((list(COUNTS).index(part), index))
    scene = piece(rng, part, SIDE)
    dates, changed = [scene, scene.copy()], np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(1, 4)):
        shape = blob(rng)
        # Sky pasted on sky would not be visible: of several pieces, the one that differs most in colour is taken.
        candidates = [piece(rng, part, SIDE) for _ in range(4)]
        texture = max(candidates, key=lambda other: float(np.abs(other[shape].mean(0) - scene[shape].mean(0)).max()))
        which = rng.choice(["both", "first", "second"], p=[0.3, 0.35, 0.35])
        for date, name in zip(dates, ("first", "second"), strict=True):
            if which in ("both", name):
                date[shape] = texture[shape]
        # An object at both dates covers earlier changes.
        changed[shape] = 0 if which == "both" else 255
    return seen(rng, dates[0]), seen(rng, dates[1]), changed


def piece(rng: np.random.Generator, part: str, side: int) -> NDArray[np.float32]:
    """Cuts a square out of a photograph, shrunk or enlarged to ``side`` pixels, in 0-255."""
    photo = photographs()[rng.integers(2)]
    border = int(photo.shape[1] * TRAIN_SHARE)
    photo = photo[:, :border] if part == "train" else photo[:, border:]
    width = int(side * rng.uniform(0.75, 1.5))
    top, left = rng.integers(0, photo.shape[0] - width), rng.integers(0, photo.shape[1] - width)
    window = photo[top : top + width, left : left + width]
    return np.asarray(cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def blob(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draws a turned rectangle or an ellipse, (SIDE, SIDE) bool."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    center = tuple(int(value) for value in rng.integers(6, SIDE - 6, size=2))
    axes = tuple(int(value) for value in rng.integers(4, 12, size=2))
    angle = float(rng.uniform(0, 180))
    if rng.random() < 0.5:
        cv2.ellipse(canvas, center, axes, angle, 0, 360, 1, -1)
    else:
        corners = cv2.boxPoints((center, (2 * axes[0], 2 * axes[1]), angle))
        cv2.fillPoly(canvas, [corners.astype(np.int32)], 1)
    return canvas.astype(bool)


def seen(rng: np.random.Generator, scene: NDArray[np.float32]) -> ImageArray:
    """Returns a scene as it looks at one date: with random brightness, tint, a soft shadow and noise."""
    light = rng.uniform(0.6, 1.3) * rng.uniform(0.9, 1.1, size=3)
    shadow = cv2.resize(rng.uniform(0.55, 1.0, size=(3, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    image = scene * light * np.clip(shadow, 0.4, 1)[..., None] + rng.normal(0, 6, size=scene.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


@cache
def photographs() -> tuple[ImageArray, ImageArray]:
    """Returns the two photographs, (427, 640, 3) uint8 RGB each."""
    return load_sample_image("china.jpg"), load_sample_image("flower.jpg")
