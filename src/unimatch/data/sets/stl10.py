"""Reads STL-10 in its binary version."""

from pathlib import Path
from typing import Unpack

import numpy as np

from unimatch.data.catalog import STL10
from unimatch.data.sets.published_arrays import class_ids, folder_of
from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.one_class import ClassArrays
from unimatch.data.splits.lists import read_lines
from unimatch.data.splits.per_class import PerClassOptions, choose_images
from unimatch.errors import ConfigError, DataError
from unimatch.options import with_options
from unimatch.types import NO_CLASS


@with_options()
def stl10(root: str | Path, *, fold: int | None = None, **options: Unpack[PerClassOptions]) -> SegmentationData:
    """Reads STL-10's binary version: ``stl10_binary/`` below the root, or the root itself.

    Args:
        root: the folder.
        fold: one of the ten published choices of 1,000 training images, 0 to 9; None for all 5,000.

    Raises:
        DataError: a file is missing, or not of that format.
        ConfigError: there is no such fold; see :func:`unimatch.data.splits.per_class.choose_images`.
    """
    folder = folder_of(root, "stl10_binary", "STL10")
    train, test, extra = (stl_part(folder, part) for part in ("train", "test", "unlabeled"))
    if fold is not None:
        lines = [line for line in read_lines(folder / "fold_indices.txt") if line.strip()]
        if not 0 <= fold < len(lines):
            raise ConfigError(f"fold={fold}: must be from 0 to {len(lines) - 1}")
        places = lines[fold].split()
        known = {str(place) for place in range(len(train))}
        if not set(places) <= known or len(set(places)) < len(places):
            raise DataError(
                f"{folder / 'fold_indices.txt'}: fold {fold} must be numbers of training images, 0 to "
                f"{len(train) - 1}, each once; restore the published file"
            )
        train = train.select([int(place) for place in places])
    return choose_images(STL10, train, test, options, extra=extra)


def stl_part(folder: Path, part: str) -> ClassArrays:
    """Maps ``X`` into memory, (N, 3, 96, 96) uint8, channels stored by columns, and reads ``y``, classes from 1."""
    file = folder / f"{part}_X.bin"
    try:
        data = np.memmap(file, np.uint8, mode="r")
        images = data.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
        labels = None if part == "unlabeled" else np.fromfile(folder / f"{part}_y.bin", np.uint8).astype(np.int64) - 1
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as images of STL-10 ({error})") from error
    if labels is None:
        return ClassArrays(f"stl10/{part}", images, np.full(len(images), NO_CLASS))
    return ClassArrays(f"stl10/{part}", images, class_ids(folder / f"{part}_y.bin", labels, len(images), 10))
