"""Adding labels to a data set that is there: what is labelled in it stays, unless it may be replaced."""

import os
from collections.abc import Sequence
from pathlib import Path

from unimatch.errors import DataError
from unimatch.folders import alike, is_foreign, part_folder, walk
from unimatch.labelling.records import LabelledImage


def can_be_added_to(folder: Path) -> bool:
    """Tells whether a folder is a data set of known classes, or holds unlabelled photos alone.

    Raises:
        DataError: it has masks, and nothing says of which classes.
    """
    if (folder / "classes.txt").is_file():
        return True
    for part in ("train", "val", "test"):
        if (masks := folder / before(part) / "masks").is_dir():
            raise DataError(f"{masks}: of unknown classes; name them in {folder / 'classes.txt'}, in the order of ids")
    return (folder / part_folder(folder, "unlabeled")).is_dir()


def labelled_before(folder: Path, images: Sequence[LabelledImage]) -> list[str]:
    """Returns the names of those labelled images that have a mask in a data set already."""
    there = {part: by_stem(folder / before(part) / "masks") for part in {image.part for image in images}}
    return [image.name for image in images if image.labels is not None and stem(image.name) in there[image.part]]


def without_known(folder: Path, images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Returns the images without those that nobody has labelled and that a data set has already, labelled or not."""
    known = by_stem(folder / "images").keys() | by_stem(folder / part_folder(folder, "unlabeled")).keys()
    return [image for image in images if image.labels is not None or stem(image.name) not in known]


def leave_the_pool(folder: Path, images: Sequence[LabelledImage]) -> None:
    """Removes from a data set's ``unlabeled/`` the photos that are labelled now."""
    pool = by_stem(folder / part_folder(folder, "unlabeled"))
    for image in images:
        if image.labels is not None and (photo := pool.get(stem(image.name))) is not None:
            photo.unlink(missing_ok=True)


def by_stem(folder: Path) -> dict[str, Path]:
    """Returns the files below a folder by their paths without endings; none where there is no such folder."""
    if not folder.is_dir():
        return {}
    return {
        stem(prefix + name): folder / (prefix + name)
        for prefix, names in walk(folder)
        for name in names
        if not is_foreign(name)
    }


def stem(name: str) -> str:
    """Returns a path without its ending, case and Unicode form."""
    return alike(os.path.splitext(name)[0])  # noqa: PTH122 - a Path object for each of a million names takes seconds


def before(part: str) -> str:
    """Returns the folder of a part: none of its own for training images."""
    return "" if part == "train" else part
