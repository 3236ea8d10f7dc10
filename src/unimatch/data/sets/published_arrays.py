"""What the readers of CIFAR-10, STL-10 and SVHN, which are published as arrays, have in common.

torchvision can download them, ``torchvision.datasets.CIFAR10(ROOT, download=True)``, but does not read them here: it
computes the checksum of every file at each start, unpickles CIFAR-10, reads STL-10's 2.7 GB into memory instead of
mapping them, and calls any unexpected file "corrupted".
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unimatch.errors import DataError


def folder_of(root: str | Path, name: str, dataset: str) -> Path:
    """Returns the folder of a name: below the root, or the root itself.

    Raises:
        DataError: there is none; the message says how torchvision downloads the data set.
    """
    path = Path(root).expanduser()
    for folder in (path / name, path):
        if folder.is_dir() and (folder.name == name or not name):
            return folder
    raise DataError(
        f'{path / name}: no such folder. Download: python -c "import torchvision; '
        f"torchvision.datasets.{dataset}('{path}', download=True)\""
    )


def class_ids(file: Path, labels: Any, count: int, classes: int) -> NDArray[np.int64]:
    """Checks the labels read from a file, and returns them as (count,) int64.

    Raises:
        DataError: they are no numbers, as many as ``count``, from 0 to ``classes`` - 1.
    """
    try:
        with np.errstate(invalid="ignore"):  # of floats that are no numbers
            ids = np.asarray(labels, np.int64)
        given = np.asarray(labels)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: the labels are no numbers") from error
    if given.dtype.kind == "f" and not np.array_equal(ids, given):
        raise DataError(f"{file}: the labels are no whole numbers")
    if ids.shape != (count,) or (count and not 0 <= ids.min() <= ids.max() < classes):
        raise DataError(f"{file}: {count} labels from 0 to {classes - 1} are needed; found {ids.shape} labels")
    return ids
