"""Finds the photos that can be labelled, which of them are labelled already, and how unsure a model is of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unimatch.data.sources.files import existing_root
from unimatch.errors import DataError
from unimatch.images import read_mask
from unimatch.inference.inputs import find_photos


@dataclass(frozen=True)
class Photos:
    """The photos of a folder."""

    root: Path
    files: list[Path]
    labelled: list[Path]
    """Those of ``files`` that have a mask."""


def photos_below(root: str | Path) -> Photos:
    """Finds the photos of a folder.

    Where it is laid out for training, those are what lies in ``images/`` and ``unlabeled/``, and ``masks/`` says which
    are labelled; of any other folder all photos, none of them labelled.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    path = existing_root(root)
    parts = [path / part for part in ("images", "unlabeled") if (path / part).is_dir()]
    files = [photo.path.absolute() for part in parts or [path] for photo in find_photos(str(part))[1]]
    masks = path / "masks"
    names = {mask.relative_to(masks).with_suffix("") for mask in masks.rglob("*")} if masks.is_dir() else set()
    images = path / "images"
    labelled = [f for f in files if f.is_relative_to(images) and f.relative_to(images).with_suffix("") in names]
    return Photos(path, files, labelled)


def unsureness(folder: Path, photos: Photos) -> dict[Path, float]:
    """Returns the mean of 1 - confidence of each photo that ``unimatch.predict save=[confidence]`` has predicted.

    Args:
        folder: predict's output.
        photos: of the folder that was its input, or of the one above.

    Raises:
        DataError: there are no confidences, or of none of these photos.
    """
    below = folder / "confidence"
    if not below.is_dir():
        raise DataError(f"scores={folder}: no confidence/ there; predict the photos with save=[confidence]")
    found = {}
    for file in photos.files:
        relative = file.relative_to(photos.root).with_suffix(".png")
        for name in (relative, Path(*relative.parts[1:]) if len(relative.parts) > 1 else relative):
            if (below / name).is_file():
                found[file] = 1 - float(np.mean(read_mask(below / name))) / 255
                break
    if not found:
        raise DataError(f"scores={folder}: knows none of the {len(photos.files)} photos of {photos.root}")
    return found
