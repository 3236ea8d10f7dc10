"""Tells photos from masks that lie in one folder, such as ``a.jpg`` and ``a_mask.png``."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from unimatch.data.sources.pair_names import pair_similar
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.images.folders import (
    MASK_NAME,
    MASK_WORD,
    PARTS,
    canonical,
    find_images,
    is_foreign,
    names_of,
    subfolders,
    suffix,
    walk,
)

RUN_FOLDERS = ("runs", "outputs", "multirun")
"""Folders into which the commands of this package write."""

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")
"""Extensions of photos whose mask may have the same stem and another extension."""

BEGINNING = re.compile(rf"(?:{MASK_WORD})(?:[_\-. ].+|\d+)?", re.IGNORECASE)
"""The stem of a mask such as ``mask_a``, ``label7`` or ``mask``."""


def photos_and_masks(root: Path, folder: str, mask_suffix: str = "") -> tuple[list[str], list[str]]:
    """Divides the images below a folder into photos and masks (:func:`divide`).

    Args:
        root: the data set's folder. If it is itself divided, its folders of validation, test and unlabelled images and
            of runs are left out.
        folder: the folder to divide, relative to the root.
        mask_suffix: what names of masks end with.

    Raises:
        DataError: there is no such folder, or there are no images in it.
    """
    return divide(find_images(root / folder, masks=True, skip=skipped(root, folder)), mask_suffix)


def photos_beside_masks(root: Path, folder: str) -> list[str]:
    """Returns the photos of a folder that holds photos together with their masks; empty for all other folders."""
    found = walk(root / folder, skipped(root, folder))
    files = [prefix + name for prefix, names in found for name in names if suffix(name).lower() in IMAGE_SUFFIXES]
    photos, masks = divide([file for file in files if not is_foreign(os.path.basename(file))])  # noqa: PTH119 - as in `stem`
    return photos if masks else []


def skipped(root: Path, folder: str) -> list[Path]:
    """Returns what is left out of a folder that is the root: the folders of other parts and of runs."""
    others = (*PARTS, *names_of("unlabeled"), *RUN_FOLDERS)
    is_root = os.path.normpath(root / folder) == os.path.normpath(root)
    return [root / name for name in subfolders(root) if name.lower() in others] if is_root else []


def divide(files: Sequence[str], mask_suffix: str = "") -> tuple[list[str], list[str]]:
    """Divides files into photos and masks.

    Names of masks end with a word such as ``mask``, or begin with or are one, or are those of JPEG photos with another
    extension: the rule that finds masks for the most photos is used. There are no masks if no rule finds one.

    Args:
        files: paths of images.
        mask_suffix: what names of masks end with instead.

    >>> divide(["1.jpg", "1_mask.png", "2.jpg"]), divide(["a.jpg", "a.png"])
    ((['1.jpg', '2.jpg'], ['1_mask.png']), (['a.jpg'], ['a.png']))
    """
    lossy = {stem(file) for file in files if suffix(file).lower() in LOSSY}
    rules: list[Callable[[str], bool]] = [
        lambda file: MASK_NAME.fullmatch(stem(file)) is not None,
        lambda file: suffix(file).lower() not in LOSSY and stem(file) in lossy,
        lambda file: BEGINNING.fullmatch(os.path.basename(stem(file))) is not None,  # noqa: PTH119 - as in `stem`
    ]
    if mask_suffix:
        rules = [lambda file: os.path.splitext(file)[0].endswith(mask_suffix)]  # noqa: PTH122 - as in `stem`
    best = max(rules, key=lambda rule: pairs_by(rule, files, mask_suffix))
    if not pairs_by(best, files, mask_suffix):
        return list(files), []
    return [file for file in files if not best(file)], [file for file in files if best(file)]


def pairs_by(is_mask: Callable[[str], bool], files: Sequence[str], mask_suffix: str) -> int:
    """Returns how many photos have a mask if a rule tells masks from photos."""
    masks = {stem(file).removesuffix(canonical(mask_suffix)): file for file in files if is_mask(file)}
    photos = {stem(file): file for file in files if not is_mask(file)} if masks else {}
    same = masks.keys() & photos.keys()
    rest = ({name: file for name, file in names.items() if name not in same} for names in (photos, masks))
    return len(same) + len(pair_similar(*rest))


def stem(file: str) -> str:
    """Returns a path without its extension, in the form in which names are compared."""
    return canonical(os.path.splitext(file)[0])  # noqa: PTH122 - a Path object for each of a million names takes seconds
