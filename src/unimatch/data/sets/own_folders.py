"""Finds the images and masks of users' own data sets in the common arrangements of folders below a root."""

import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from unimatch.data.sources.one_folder import RUN_FOLDERS, photos_beside_masks
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

VISUALIZATION = re.compile("visual", re.IGNORECASE)
"""In the name of a folder of masks drawn over photos, such as LabelMe's SegmentationClassVisualization."""


class Place(NamedTuple):
    """The folders of the images and masks of a part, relative to the root."""

    images: str
    masks: str


USUAL = Place("images", "masks")
"""The usual place of training images."""

WHOLE = "."
"""The root as the folder of both images and masks."""


class Places(NamedTuple):
    """The places of the parts of a data set; None for a part that does not exist."""

    train: Place
    val: Place | None
    test: Place | None


def places_of(root: Path, images: str | Path | None = None, masks: str | Path | None = None) -> Places:
    """Finds the places of the parts of a data set, and warns of folders that are not used.

    Args:
        root: the data set's folder.
        images: the folder of training images, relative to the root or absolute; None to find it.
        masks: the folder of their masks.

    Raises:
        DataError: several folders could be meant.
    """
    given = images is not None or masks is not None
    found = {part: list(arrangements(root, part)) for part in get_args(Part) if part != "train" or not given}
    found.setdefault("train", [training_place(root, images, masks)])
    for part, places in found.items():
        folders = [place.images for place in places]
        tops = {folder.partition("/")[0] for folder in folders}
        folders += [name for name in parts_named(root, part) if name not in tops and holds_images(root / name)]
        if places and len(folders) > 1:
            text = f"of {' and '.join(folders)} only {folders[0]} is used for {part}; join them"
            note("folder not used", f"{root}: {text}")
    train = found["train"][0] if found["train"] else USUAL
    val = found["val"][0] if found["val"] else without_masks(root, "val")
    test = found["test"][0] if found["test"] else None
    if test is None and (incomplete := without_masks(root, "test")) is not None:
        within = root / incomplete.images
        within = within if within.is_dir() else within.parent
        if holds_images(within):
            note("folder not used", f"{within}: not used; it needs the folders {' and '.join(incomplete)}")
    say_unused_within(root, train)
    if train != USUAL:
        log.info("training images lie in %s, their masks in %s", root / train.images, root / train.masks)
    return Places(train, val, test)


def training_place(root: Path, images: str | Path | None = None, masks: str | Path | None = None) -> Place:
    """Returns the place of the training images, whether it exists or not.

    Args:
        root: the data set's folder.
        images: their folder, relative to the root or absolute; None to find it.
        masks: the folder of their masks.
    """
    if images is None and masks is None:
        return place_of(root, "train") or USUAL
    found = Place(photo_folder(root) or USUAL.images, mask_folder(root) or USUAL.masks)
    return Place(
        *(other if one is None else below(root, one) for one, other in zip((images, masks), found, strict=True))
    )


def below(root: Path, folder: str | Path) -> str:
    """Returns a folder that may be absolute as relative to a root, if it lies there."""
    path = root / Path(folder).expanduser()
    return os.path.relpath(path, root) if path.is_relative_to(root) else os.path.normpath(path)


def pools_of(root: Path, train: Place) -> tuple[str, ...]:
    """Returns the folders of unlabelled images relative to the root, whether they exist or not.

    These are ``unlabeled/`` below the root and, if training images lie in a subfolder, ``unlabeled/`` beside it:
    ``train/unlabeled`` beside ``train/images``, ``images/unlabeled`` beside ``images/train``.
    """
    above = train.images.rpartition("/")[0]
    beside = [f"{above}/{name}" for name in parts_named(root / above, "unlabeled")] if above else []
    return (part_folder(root, "unlabeled"), *beside)


def without_masks(root: Path, part: Part) -> Place | None:
    """Returns the place of a part whose folder exists and whose masks are missing; None if there is no such folder."""
    images = photo_folder(root)
    if images is not None and is_by_part(root / images) and (names := parts_named(root / images, part)):
        return Place(f"{images}/{names[0]}", f"{mask_folder(root) or 'masks'}/{names[0]}")
    name = part_folder(root, part)
    if part == "val" and holds_images_itself(root / name):
        return Place(name, name)
    return Place(f"{name}/images", f"{name}/masks") if (root / name).is_dir() else None


def say_unused_within(root: Path, train: Place) -> None:
    """Warns of folders in that of the training images that are named like another part, but not used as one."""
    inner = subfolders(root / train.images) if train.images != WHOLE else []
    if parts := [name for name in inner if name.lower() in PARTS]:
        note(
            "folder not used",
            f"{root / train.images}: {' and '.join(parts)} in it is for training, as all images below it are; "
            "for validation move it to val/images, its masks to val/masks, for testing to test/images, test/masks",
        )


def say_unused_beside(root: Path, places: Places, pools: Sequence[str]) -> None:
    """Warns of folders below the root, or beside that of the training images, with images that are not used.

    Args:
        root: the data set's folder.
        places: the places of its parts.
        pools: the folders of unlabelled images (:func:`pools_of`).
    """
    if not (root / places.train.images).is_dir() or WHOLE in places.train:
        return  # an error will say so, or all other folders are used
    used = [*(folder for place in places if place for folder in place), *pools]
    aside = places.train.images.rpartition("/")[0] if (root / places.train.images).is_relative_to(root) else ""
    for above in dict.fromkeys(("", aside)):
        inner = [f"{folder}/".removeprefix(f"{above}/" if above else "") for folder in used]
        say_unused(root / above, {folder.partition("/")[0] for folder in inner}, root, at_root=not above)


def say_unused(folder: Path, used: Collection[str], root: Path, *, at_root: bool = True) -> None:
    """Warns of folders in a folder that hold images and are not used.

    Folders named after a part are left out: :func:`places_of` warns of them.

    Args:
        folder: where they lie.
        used: names of folders that are used, or hold folders that are.
        root: the data set's folder.
        at_root: whether ``folder`` is the root, where :func:`unimatch.images.folders.part_folder` has warned of folders
            with a part in their name.
    """
    warned_of = [part for part in ("val", "test", "unlabeled") if at_root and not parts_named(folder, part)]
    parts = (*names_of("train"), *names_of("unlabeled"), *PARTS)
    others = [
        name
        for name in subfolders(folder)
        if name not in used
        and name.lower() not in (*parts, *RUN_FOLDERS)
        and not any(called_like(name, part) for part in warned_of)
        and not VISUALIZATION.search(name)
        and not (folder / name / PREDICTED).is_file()
        and holds_images(folder / name)
    ]
    if others:
        text = f"not used: {', '.join(others)}; unlabelled images go to {root / 'unlabeled'}"
        note("folder not used", f"{folder}: {text}")


def say_unused_lists(root: Path) -> None:
    """Warns of a list of validation images in a data set whose validation images are chosen at random."""
    names = [f"{folder}{name}.txt" for folder in ("", "ImageSets/Segmentation/", "splits/") for name in names_of("val")]
    if name := next((name for name in names if (root / name).is_file()), None):
        text = "is not used, and images are held out by chance; if it names those for validation, set dataset.val_list"
        note("list not used", f"{root / name}: {text} (lines 'image_path mask_path')")


def place_of(root: Path, part: Part) -> Place | None:
    """Finds the folders of a part's images and masks; None if either is missing.

    These are, in this order, ``images/ masks/`` (for training only) or ``images/train/ masks/train/``,
    ``train/images/ train/masks/``, or ``train/ train_masks/``. If there are none, photos and masks may lie together in
    ``images/``, ``images/train/``, ``train/images/``, ``train/``, or for training anywhere below the root
    (:func:`unimatch.data.sources.one_folder.divide`). Folders of images may have any name in
    :data:`unimatch.images.folders.PHOTO_FOLDERS`, those of masks any that
    :data:`unimatch.images.folders.MASK_FOLDER` matches, and parts any in
    :data:`unimatch.images.folders.OTHER_NAMES`, all of them in any case.

    Raises:
        DataError: several folders could be meant.
    """
    return next(arrangements(root, part), None)


def arrangements(root: Path, part: Part) -> Iterator[Place]:
    """Yields all places of a part that exist, in the order of :func:`place_of`."""
    found = list(in_two_folders(root, part))
    yield from found or in_one_folder(root, part)


def in_two_folders(root: Path, part: Part) -> Iterator[Place]:
    """Yields the places of a part whose images and masks lie in folders of their own."""
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


def in_one_folder(root: Path, part: Part) -> Iterator[Place]:
    """Yields the places of a part whose masks lie beside its images."""
    images = photo_folder(root)
    by_part = images is not None and is_by_part(root / images)
    folders = [f"{images}/{name}" for name in parts_named(root / images, part)] if images and by_part else []
    if images and not by_part and part == "train":
        folders.append(images)
    for name in parts_named(root, part):
        inner = photo_folder(root / name)
        folders.append(f"{name}/{inner}" if inner else name)
    found = [folder for folder in folders if photos_beside_masks(root, folder)]
    if (
        part == "train"
        and not found
        and (photos := photos_beside_masks(root, WHOLE))
        and not any(map(of_a_part, photos))
    ):
        found = [WHOLE]
    yield from (Place(folder, folder) for folder in found)


def of_a_part(photo: str) -> bool:
    """Tells whether a path leads through a folder that is named like a part."""
    names = {*names_of("train"), *names_of("unlabeled"), *PARTS}
    return not names.isdisjoint(folder.lower() for folder in Path(photo).parts[:-1])


def is_by_part(images: Path) -> bool:
    """Tells whether a folder holds a folder of training images, and no images itself."""
    return bool(parts_named(images, "train")) and not holds_images_itself(images)


def photo_folder(folder: Path) -> str | None:
    """Returns the name of the folder of photos in a folder; None if there is none.

    Raises:
        DataError: several folders could be meant.
    """
    there = [name for name in subfolders(folder) if name.lower() in PHOTO_FOLDERS]
    if "images" in there:
        return "images"
    there = [name for name in there if holds_images(folder / name)]
    return the_one(folder, there) if there else None


def mask_folder(folder: Path) -> str | None:
    """Returns the name of the folder of masks in a folder; None if there is none.

    Raises:
        DataError: several folders could be meant.
    """
    there = subfolders(folder)
    if "masks" in there:
        return "masks"
    there = [
        name
        for name in there
        if mask_part(name) == "" and not VISUALIZATION.search(name) and holds_images(folder / name)
    ]
    return the_one(folder, there) if there else None


def mask_part(name: str) -> str | None:
    """Returns the part in the name of a folder of masks, in lower case; None if it is not named like one.

    >>> mask_part("train_labels"), mask_part("ValAnnot"), mask_part("Masks"), mask_part("photos")
    ('train', 'val', '', None)
    """
    match = MASK_FOLDER.fullmatch(name)
    return match and match["part"].lower()


def is_photos_of(name: str, part: Part) -> bool:
    """Tells whether a folder is named like that of a part's photos: ``train``, ``train_images``, ``TrainImgs``."""
    name = name.lower()
    ends = ("", *(f"{mark}{word}" for word in PHOTO_FOLDERS for mark in ("_", "-", "")))
    return any(name == f"{own}{end}" for own in names_of(part) for end in ends)


def holds_images_itself(folder: Path) -> bool:
    """Tells whether a folder holds images directly, not in subfolders."""
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
