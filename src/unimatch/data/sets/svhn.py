"""Reads SVHN's cropped digits."""

from pathlib import Path
from typing import Unpack

import numpy as np

from unimatch.data.catalog import SVHN
from unimatch.data.sets.published_arrays import class_ids, folder_of
from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.one_class import ClassArrays
from unimatch.data.splits.per_class import PerClassOptions, choose_images
from unimatch.errors import DataError
from unimatch.options import with_options


@with_options()
def svhn(root: str | Path, *, extra: bool = True, **options: Unpack[PerClassOptions]) -> SegmentationData:
    """Reads SVHN's cropped digits: ``train_32x32.mat``, ``test_32x32.mat`` and ``extra_32x32.mat`` in the root.

    Args:
        root: the folder.
        extra: whether to add the 531,131 extra images to the unlabelled ones.

    Raises:
        DataError: a file is missing, or not of that format.
        ConfigError: see :func:`unimatch.data.splits.per_class.choose_images`.
    """
    folder = folder_of(root, "", "SVHN")
    train, test = (svhn_part(folder, part) for part in ("train", "test"))
    return choose_images(SVHN, train, test, options, extra=svhn_part(folder, "extra") if extra else None)


def svhn_part(folder: Path, part: str) -> ClassArrays:
    """Reads ``X`` (32, 32, 3, N) uint8 and ``y`` (N, 1), with 10 for the digit 0."""
    from scipy.io import loadmat

    file = folder / f"{part}_32x32.mat"
    try:
        with file.open("rb") as stream:
            content = loadmat(stream, variable_names=["X", "y"])
        images, labels = content["X"], content["y"].ravel()
    except FileNotFoundError as error:
        raise DataError(
            f"{file}: no such file; torchvision.datasets.SVHN({str(folder)!r}, ...) downloads it"
        ) from error
    except Exception as error:  # scipy raises many kinds of errors for other files
        raise DataError(f"{file}: cannot be read as SVHN's MATLAB file ({error})") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(f"{file}: X is {images.shape} of {images.dtype}, not (32, 32, 3, N) of uint8")
    ids = class_ids(file, np.where(labels == 10, 0, labels), images.shape[3], 10)
    return ClassArrays(f"svhn/{part}", np.ascontiguousarray(images.transpose(3, 0, 1, 2)), ids)
