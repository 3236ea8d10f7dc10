"""What CIFAR-10, STL-10 and SVHN have in common, whose images are published as arrays.

torchvision downloads them, ``torchvision.datasets.CIFAR10(ROOT, download=True)``, but does not read them here: it
computes the checksum of every file at each start, unpickles CIFAR-10, reads STL-10's 2.7 GB into memory, where it can
be left in its file, and says of any file that it does not know no more than that it is "corrupted".
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unimatch.errors import DataError


def folder_of(root: str | Path, name: str, dataset: str) -> Path:
    """Finds the folder of that name: below the root, or the root itself."""
    path = Path(root).expanduser()
    for folder in (path / name, path):
        if folder.is_dir() and (folder.name == name or not name):
            return folder
    raise DataError(
        f'{path / name}: no such folder. Download: python -c "import torchvision; '
        f"torchvision.datasets.{dataset}('{path}', download=True)\""
    )


def class_ids(file: Path, labels: Any, count: int, classes: int) -> NDArray[np.int64]:
    """Checks labels and returns them as (count,) int64."""
    try:
        ids = np.asarray(labels, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: the labels are no numbers") from error
    if ids.shape != (count,) or (count and not 0 <= ids.min() <= ids.max() < classes):
        raise DataError(f"{file}: {count} labels from 0 to {classes - 1} are needed; found {ids.shape} labels")
    return ids
