"""Finds where the images and masks of people's own data sets lie: the common arrangements of folders below a root."""

import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from unimatch.errors import DataError
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.images.folders import (
    MASK_FOLDER,
    PARTS,
    PHOTO_FOLDERS,
    PREDICTED,
    called_like,
    holds_images,
    is_foreign,
    names_of,
    note,
    part_folder,
    parts_named,
    subfolders,
    suffix,
)

log = logging.getLogger("unimatch")

Part = Literal["train", "val", "test"]


DRAWN = re.compile("visual", re.IGNORECASE)
"""In the name of a folder of masks drawn over photos, to be looked at: LabelMe's SegmentationClassVisualization."""


OF_RUNS = ("runs", "outputs", "multirun")
"""Folders that our own commands write into."""


class Place(NamedTuple):
    """The two folders of a part, relative to the root."""

    images: str
    masks: str


USUAL = Place("images", "masks")
"""Where training images lie that are laid out as our own data sets are."""


class Places(NamedTuple):
    """Where the parts of a data set lie; None for a part that is not there."""

    train: Place
    val: Place | None
    test: Place | None


def places_of(root: Path) -> Places:
    """Finds where the parts of a data set lie, and says what is understood and what is not used.

    Raises:
        DataError: several folders could be meant.
    """
    found = {part: list(arrangements(root, part)) for part in get_args(Part)}
    for part, places in found.items():
        folders = [place.images for place in places]
        begin = {folder.partition("/")[0] for folder in folders}
        folders += [name for name in parts_named(root, part) if name not in begin and holds_images(root / name)]
        if places and len(folders) > 1:
            text = f"of {' and '.join(folders)} only {folders[0]} is used for {part}; join them"
            note("folder not used", f"{root}: {text}")
    train = found["train"][0] if found["train"] else USUAL
    val, test = found["val"][0] if found["val"] else begun(root, "val"), found["test"][0] if found["test"] else None
    if test is None and (missed := begun(root, "test")) is not None:
        within = root / missed.images if (root / missed.images).is_dir() else (root / missed.images).parent
        if holds_images(within):
            note("folder not used", f"{within}: not used; it needs the folders {' and '.join(missed)}")
    say_unused_within(root, train)
    if train != USUAL:
        log.info("training images lie in %s, their masks in %s", *(root / folder for folder in train))
    return Places(train, val, test)


def training_place(root: Path) -> Place:
    """Returns where the training images and their masks lie, or would."""
    return place_of(root, "train") or USUAL


def pools_of(root: Path, train: Place) -> tuple[str, ...]:
    """Names the folders that hold the unlabelled images, whether they are there or not, relative to the root.

    Those are ``unlabeled/`` below the root and, where training images lie in a folder of a folder, beside them:
    ``train/unlabeled`` beside ``train/images``, ``images/unlabeled`` beside ``images/train``.
    """
    above = train.images.rpartition("/")[0]
    beside = [f"{above}/{name}" for name in parts_named(root / above, "unlabeled")] if above else []
    return (part_folder(root, "unlabeled"), *beside)


def begun(root: Path, part: Part) -> Place | None:
    """Returns where a part lies of which only a folder of images is there, so that its masks are missed."""
    images = photo_folder(root)
    if images is not None and is_by_part(root / images) and (names := parts_named(root / images, part)):
        return Place(f"{images}/{names[0]}", f"{mask_folder(root) or 'masks'}/{names[0]}")
    name = part_folder(root, part)
    return Place(f"{name}/images", f"{name}/masks") if (root / name).is_dir() else None


def say_unused_within(root: Path, train: Place) -> None:
    """Says which folders of the folder of training images look like another part, and are not used as one."""
    inner = subfolders(root / train.images)
    if parts := [name for name in inner if name.lower() in PARTS]:
        note(
            "folder not used",
            f"{root / train.images}: {' and '.join(parts)} in it is for training, as all images below it are; "
            "for validation move it to val/images, its masks to val/masks, for testing to test/images, test/masks",
        )


def say_unused_beside(root: Path, places: Places, pools: Sequence[str]) -> None:
    """Says which folders below the root, or beside that of the training images, hold images that are not used.

    Folders that are called like a part have been spoken of before.

    Args:
        root: the data set's folder.
        places: of its parts.
        pools: what :func:`pools_of` gives.
    """
    if not (root / places.train.images).is_dir():
        return  # which is an error
    used = [*(folder for place in places if place for folder in place), *pools]
    for above in dict.fromkeys(("", places.train.images.rpartition("/")[0])):
        inner = [f"{folder}/".removeprefix(f"{above}/" if above else "") for folder in used]
        say_unused(root / above, {folder.partition("/")[0] for folder in inner}, root, at_root=not above)


def say_unused(folder: Path, used: Collection[str], root: Path, *, at_root: bool = True) -> None:
    """Says which folders in a folder hold images and are not used.

    Args:
        folder: where they lie.
        used: names of those that are used, or hold what is.
        root: the data set's folder.
        at_root: whether it is the root, where :func:`unimatch.images.folders.part_folder` has spoken of what is called
            like a part.
    """
    spoken_of = [part for part in ("val", "test", "unlabeled") if at_root and not parts_named(folder, part)]
    parts = (*names_of("train"), *names_of("unlabeled"), *PARTS)
    others = [
        name
        for name in subfolders(folder)
        if name not in used
        and name.lower() not in (*parts, *OF_RUNS)
        and not any(called_like(name, part) for part in spoken_of)
        and not DRAWN.search(name)
        and not (folder / name / PREDICTED).is_file()
        and holds_images(folder / name)
    ]
    if others:
        text = f"not used: {', '.join(others)}; unlabelled images go to {root / 'unlabeled'}"
        note("folder not used", f"{folder}: {text}")


def say_unused_lists(root: Path) -> None:
    """Says that a list of validation images lies in a data set where others are held out."""
    names = [f"{folder}{name}.txt" for folder in ("", "ImageSets/Segmentation/", "splits/") for name in names_of("val")]
    if name := next((name for name in names if (root / name).is_file()), None):
        text = "is not used, and images are held out by chance; if it names those for validation, set dataset.val_list"
        note("list not used", f"{root / name}: {text} (lines 'image_path mask_path')")


def place_of(root: Path, part: Part) -> Place | None:
    """Finds the folders of a part's images and masks; None where there are no two.

    They are looked for, the first first, as ``images/ masks/`` (for training alone) or ``images/train/ masks/train/``,
    ``train/images/ train/masks/``, and ``train/ train_masks/``. ``images`` may be called as in
    :data:`unimatch.images.folders.PHOTO_FOLDERS`, masks as :data:`unimatch.images.folders.MASK_FOLDER` says, parts as
    :data:`unimatch.images.folders.OTHER_NAMES` does, each in capitals or not.

    Raises:
        DataError: several folders could be meant.
    """
    return next(arrangements(root, part), None)


def arrangements(root: Path, part: Part) -> Iterator[Place]:
    """Yields all places of a part that are there, in the order in which they are looked for."""
    images, masks = photo_folder(root), mask_folder(root)
    if images and masks and is_by_part(root / images):
        for name, other in zip(parts_named(root / images, part), parts_named(root / masks, part), strict=False):
            yield Place(f"{images}/{name}", f"{masks}/{other}")
    elif images and masks and part == "train":
        yield Place(images, masks)
    for name in parts_named(root, part):
        images, masks = photo_folder(root / name), mask_folder(root / name)
        if images and masks:
            yield Place(f"{name}/{images}", f"{name}/{masks}")
    beside = [name for name in subfolders(root) if is_photos_of(name, part) and holds_images(root / name)]
    labels = [name for name in subfolders(root) if mask_part(name) in names_of(part) and holds_images(root / name)]
    if beside and labels:
        yield Place(the_one(root, beside), the_one(root, labels))


def is_by_part(images: Path) -> bool:
    """Tells whether a folder has one for training in it, and no images beside that."""
    return bool(parts_named(images, "train")) and not holds_images_itself(images)


def photo_folder(folder: Path) -> str | None:
    """Returns which folder in a folder holds the photos; None where none is called so."""
    there = [name for name in subfolders(folder) if name.lower() in PHOTO_FOLDERS]
    if "images" in there:
        return "images"
    there = [name for name in there if holds_images(folder / name)]
    return the_one(folder, there) if there else None


def mask_folder(folder: Path) -> str | None:
    """Returns which folder in a folder holds the masks; None where none is called so and has images."""
    there = subfolders(folder)
    if "masks" in there:
        return "masks"
    there = [name for name in there if mask_part(name) == "" and not DRAWN.search(name) and holds_images(folder / name)]
    return the_one(folder, there) if there else None


def mask_part(name: str) -> str | None:
    """Returns of which part a folder of masks is by its name, in lower case; None if it is not named as masks are.

    >>> mask_part("train_labels"), mask_part("ValAnnot"), mask_part("Masks"), mask_part("photos")
    ('train', 'val', '', None)
    """
    match = MASK_FOLDER.fullmatch(name)
    return match and match["part"].lower()


def is_photos_of(name: str, part: Part) -> bool:
    """Tells whether a folder is named as that of a part's photos: ``train``, ``train_images``, ``TrainImgs``."""
    name = name.lower()
    ends = ("", *(f"{mark}{word}" for word in PHOTO_FOLDERS for mark in ("_", "-", "")))
    return any(name == f"{own}{end}" for own in names_of(part) for end in ends)


def holds_images_itself(folder: Path) -> bool:
    """Tells whether there are images in a folder itself, besides what is in its folders."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(suffix(entry.name).lower() in IMAGE_SUFFIXES and not is_foreign(entry.name) for entry in entries)


def the_one(folder: Path, names: list[str]) -> str:
    """Returns the only one of some names.

    Raises:
        DataError: there are several.
    """
    if len(names) > 1:
        raise DataError(
            f"{folder}: {' and '.join(names)} could both be meant; rename the folder of images to images, that of "
            "masks to masks, and what is not meant to another name"
        )
    return names[0]
