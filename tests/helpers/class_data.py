"""Made data sets of classification in their published formats on disk."""

import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from scipy.io import savemat


class Python2Pickler(pickle._Pickler):
    """Writes texts and bytes as Python 2 did, which wrote CIFAR's files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, value):
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_text


def make_cifar10(root: Path, per_batch: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Five batches and a test batch; all their images (N, 32, 32, 3) and classes, in order."""
    rng = np.random.default_rng(0)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    all_images, all_labels = [], []
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images = rng.integers(0, 256, (per_batch, 32, 32, 3), dtype=np.uint8)
        labels = rng.permutation(np.arange(per_batch) % 10).tolist()
        data = images.transpose(0, 3, 1, 2).reshape(per_batch, 3072)
        with (folder / name).open("wb") as file:
            Python2Pickler(file, 2).dump({"batch_label": name, "labels": labels, "data": np.ascontiguousarray(data)})
        all_images.append(images)
        all_labels += labels
    return np.concatenate(all_images), np.array(all_labels)


def make_svhn(root: Path, count: int = 40) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three MATLAB files; images and classes of each."""
    rng, parts = np.random.default_rng(1), {}
    root.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test", "extra"):
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        labels = np.arange(count) % 10
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(root / f"{part}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": stored})
        parts[part] = images, labels
    return parts


def make_stl10(root: Path, count: int = 20) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The binary files; images and classes of each."""
    rng, parts = np.random.default_rng(2), {}
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for part in ("train", "test", "unlabeled"):
        images = rng.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
        labels = np.arange(count) % 10
        # Channel after channel, each column by column.
        stored = np.stack([[image[:, :, channel].T for channel in range(3)] for image in images])
        (folder / f"{part}_X.bin").write_bytes(stored.tobytes())
        if part != "unlabeled":
            (folder / f"{part}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
        parts[part] = images, labels
    (folder / "fold_indices.txt").write_text("".join(f"{' '.join(map(str, range(i, 20)))}\n" for i in range(10)))
    return parts


def make_image_folder(
    root: Path, *, per_class: int = 3, classes: tuple[str, ...] = ("ant", "bee"), pool: int = 4
) -> Path:
    """Folders of classes in ``train/`` and ``test/``, and images without a class in ``unlabeled/``."""
    rng = np.random.default_rng(3)
    for number, name in enumerate(classes):
        for part in ("train", "test"):
            (root / part / name).mkdir(parents=True)
            for i in range(per_class):
                image = rng.integers(0, 60, (18, 24, 3), dtype=np.uint8) + np.uint8(60 * number)
                Image.fromarray(image).save(root / part / name / f"{name}_{part}_{i}.png")
    (root / "unlabeled" / "some").mkdir(parents=True)
    for i in range(pool):
        image = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "unlabeled" / "some" / f"{i}.jpg")
    return root


def classes_of(source) -> list[int | None]:
    """The class of each image."""
    masks = (source.mask(i) for i in range(len(source)))
    return [None if mask is None else int(mask) for mask in masks]


def names_of(source) -> list[str]:
    """The name of each image."""
    return [source.name(i) for i in range(len(source))]
