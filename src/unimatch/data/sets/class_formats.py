"""What reading the published formats of classification has in common."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unimatch.errors import DataError


def folder_of(root: str | Path, name: str, dataset: str) -> Path:
    """The folder of that name below a root, or the root itself where it is that folder.

    Raises:
        DataError: there is none.
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
    """Labels as (count,) int64.

    Raises:
        DataError: they are not that many, or no class ids.
    """
    try:
        ids = np.asarray(labels, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: the labels are no numbers") from error
    if ids.shape != (count,) or (count and not 0 <= ids.min() <= ids.max() < classes):
        raise DataError(f"{file}: {count} labels from 0 to {classes - 1} are needed; found {ids.shape} labels")
    return ids
