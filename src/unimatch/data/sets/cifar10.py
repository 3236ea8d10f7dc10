"""Reads CIFAR-10 in its Python version, without unpickling it (:mod:`unimatch.data.sets.array_pickles`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from unimatch.data.catalog import CIFAR10
from unimatch.data.sets.array_pickles import read_array_pickle
from unimatch.data.sets.published_arrays import class_ids, folder_of
from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.one_class import ClassArrays
from unimatch.data.splits.per_class import PerClassOptions, choose_images
from unimatch.errors import DataError
from unimatch.options import with_options


@with_options()
def cifar10(root: str | Path, **options: Unpack[PerClassOptions]) -> SegmentationData:
    """Reads CIFAR-10's Python version: ``cifar-10-batches-py/`` below the root, or the root itself.

    Args:
        root: the folder.

    Raises:
        DataError: a file is missing, or not of that format.
        ConfigError: see :func:`unimatch.data.splits.per_class.choose_images`.
    """
    folder = folder_of(root, "cifar-10-batches-py", "CIFAR10")
    train = cifar_part("cifar10/train", [folder / f"data_batch_{i}" for i in range(1, 6)])
    test = cifar_part("cifar10/test", [folder / "test_batch"])
    return choose_images(CIFAR10, train, test, options)


def cifar_part(name: str, files: Sequence[Path]) -> ClassArrays:
    """Reads the images and labels of batches: ``data`` is (N, 3072) uint8 with channels first, ``labels`` (N,)."""
    images, labels = [], []
    for file in files:
        batch = read_array_pickle(file)
        data = batch.get("data") if isinstance(batch, dict) else None
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
            raise DataError(f"{file}: holds no images of CIFAR's form, (N, 3072) uint8")
        images.append(data)
        labels.append(class_ids(file, batch.get("labels"), len(data), len(CIFAR10.classes)))
    return ClassArrays(
        name, np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.concatenate(labels)
    )
