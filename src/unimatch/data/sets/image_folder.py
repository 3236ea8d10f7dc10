"""Finds images in a folder per class: your own, and ImageNet."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Unpack

import numpy as np

from unimatch.data.catalog import DatasetInfo, distinct_colors
from unimatch.data.sets.own_folders import say_unused
from unimatch.data.sources.band_settings import PixelOptions, with_bands
from unimatch.data.sources.base import OnBadImage, SegmentationData
from unimatch.data.sources.files import existing_root
from unimatch.data.sources.one_class import ClassFiles
from unimatch.data.splits.lists import read_lines
from unimatch.data.splits.per_class import PerClassOptions, choose_images
from unimatch.errors import DataError
from unimatch.images.folders import (
    OTHER_NAMES,
    PHOTO_FOLDERS,
    canonical,
    find_images,
    holds_files,
    holds_images,
    note,
    part_folder,
    parts_named,
    spelled,
    subfolders,
    what_is_there,
)
from unimatch.options import with_options
from unimatch.types import NO_CLASS

PART_WORDS = {
    *(name for part, names in OTHER_NAMES.items() for name in (part, *names)),
    *PHOTO_FOLDERS,
    *("masks", "label", "labels", "annotations"),
}
"""Words in the names of folders that are parts of a data set and not classes."""


class ClassFolderOptions(PerClassOptions, PixelOptions, total=False):
    """Further settings of data sets of a folder per class; in YAML ``conf/dataset/_class_folders.yaml``."""

    labeled_list: Annotated[
        str | Path | None,
        None,
        "a file of the labelled images' names, one a line, below ``train/`` or without their folder, as the "
        "published lists of ImageNet have them; instead of ``labeled_per_class``.",
    ]
    val_list: Annotated[
        str | Path | None,
        None,
        "a file of the names of training images that are held out for validation; instead of ``val_per_class``.",
    ]
    allow_missing: Annotated[
        bool, False, "whether ``val/`` and ``test/`` may have classes of their own: the full check reports them."
    ]
    on_bad_image: Annotated[OnBadImage, "error", "``skip`` replaces and counts unlabelled images that cannot be read."]


@with_options()
def imagenet(root: str | Path, **options: Unpack[ClassFolderOptions]) -> SegmentationData:
    """Finds ImageNet (ILSVRC 2012): ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, which are its test images.

    Args:
        root: the folder.

    Raises:
        DataError: see :func:`image_folder`.
        ConfigError: see :func:`image_folder`.
    """
    return image_folder(root, name="imagenet", val="", test="val", **options)


@with_options(val_per_class=None)
def image_folder(
    root: str | Path,
    *,
    name: str = "image_folder",
    train: str = "train",
    val: str = "val",
    test: str = "test",
    unlabeled_folder: str = "unlabeled",
    **options: Unpack[ClassFolderOptions],
) -> SegmentationData:
    """Finds your own images, a folder per class: ``train/CLASS/``, ``val/CLASS/``, ``test/CLASS/`` and ``unlabeled/``.

    Images without a class may also lie in ``train/unlabeled/``, which is no class. All folders but ``train/`` may be
    missing. ``train/`` may be missing too, if there is neither ``val/`` nor ``test/``: the folders below the root are
    then the classes. Classes are ordered by name.

    Args:
        root: the folder.
        name: the name of the data set.
        train: the folder of training images.
        val: the folder of validation images.
        test: the folder of test images.
        unlabeled_folder: the folder of images without a class, with or without subfolders.

    Raises:
        DataError: a folder or a listed image is missing, or a class has images only in ``val/`` or ``test/``.
        ConfigError: see :func:`unimatch.data.splits.per_class.choose_images`.
    """
    path = existing_root(root)
    val, test, unlabeled_folder = (part_folder(path, part) for part in (val, test, unlabeled_folder))
    train = training_folder(path, train, unlabeled_folder)
    within = parts_named(path / train, "unlabeled") if train else []
    pools = [path / unlabeled_folder, *(path / train / name for name in within)]
    classes = tuple(
        name
        for name in subfolders(path / train)
        if name not in within and (train or is_class(path, name, unlabeled_folder))
    )
    if len(classes) < 2:
        raise DataError(f"{path / train}: at least two folders, one for each class, are needed; found {list(classes)}")
    refuse_alike(path / train, classes)
    if (
        val
        and (path / test).is_dir()
        and not set(map(canonical, subfolders(path / test))) & set(map(canonical, classes))
    ):
        if holds_images(path / test):
            text = f"not used; no folder in it is called as a class ({', '.join(classes[:3])}, ...)"
            note("folder not used", f"{path / test}: {text}")
        test = ""
    if train:
        say_unused(path, (train, val, test, unlabeled_folder), path)
    info = DatasetInfo(name, classes, distinct_colors(len(classes)))
    allow_missing = options["allow_missing"]
    pool = class_folder(path, train, info, allow_missing, train, pools)
    held_out, tested = (
        class_folder(path, part, info, allow_missing, train) if part and (path / part).is_dir() else None
        for part in (val, test)
    )
    names = [str(folder / file) for folder in pools if holds_files(folder) for file in find_images(folder)]
    extra = ClassFiles(names, np.full(len(names), NO_CLASS), info, [path]) if names else None
    info = with_bands(info, options, pool)
    for part in (pool, held_out, tested, extra):
        if part is not None:
            part.info = info
    listed, held = (
        None if file is None else listed_images(Path(file).expanduser(), pool, path / train)
        for file in (options["labeled_list"], options["val_list"])
    )
    if options["val_per_class"] is None:
        options["val_per_class"] = 10 if held_out is None and held is None and listed is None else 0
    if held_out is not None and (held is not None or options["val_per_class"]):
        key = "val_per_class" if held is None else "val_list"
        text = f"not used; {key} holds out images of {path / train} for validation instead"
        note("folder not used", f"{path / val}: {text}")
    skipping = options["on_bad_image"]
    return choose_images(
        info, pool, tested, options, val=held_out, extra=extra, listed=listed, held=held, on_bad_image=skipping
    )


def refuse_alike(folder: Path, classes: Sequence[str]) -> None:
    """Refuses classes whose names look the same; warns of names that differ only in case.

    Raises:
        DataError: two names differ only in their Unicode form.
    """
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(canonical(name), name)
        if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other):
            if name != other:
                raise DataError(f"{folder}: has two classes called {name}, in two Unicode forms; join their folders")
        elif len(name) > 1:
            note("classes alike", f"{folder}: {other} and {name} are two classes; if they are one, join their folders")


def training_folder(root: Path, train: str, unlabeled_folder: str) -> str:
    """Returns the name of the folder of training images, with a folder for each class; "" if it is the root itself.

    Raises:
        DataError: there is none, and the folders below the root are no classes.
    """
    there = part_folder(root, train)
    if (root / there).is_dir():
        return there
    classes = [name for name in subfolders(root) if is_class(root, name, unlabeled_folder)]
    others = any(PART_WORDS & set(re.split(r"[\W_]+", name.lower())) for name in classes)
    if train != "train" or len(classes) < 2 or others:
        there = what_is_there(root)
        raise DataError(f"{root / train}: no such folder{there}; it holds a folder of images for each class")
    return ""


def is_class(root: Path, name: str, unlabeled_folder: str) -> bool:
    """Tells whether a folder below a root without ``train/`` holds the images of a class."""
    return name != unlabeled_folder and holds_images(root / name)


def class_folder(
    root: Path, part: str, info: DatasetInfo, allow_missing: bool, train: str, skip: Sequence[Path] = ()
) -> ClassFiles:
    """Finds the images of one part, and their classes by their folders.

    Raises:
        DataError: an image lies in no folder, or in one that the training images do not have.
    """
    ids = {name: number for number, name in enumerate(info.classes)}
    files = find_images(root / part, classes=True, skip=skip)
    labels = np.empty(len(files), np.int64)
    for i, file in enumerate(files):
        name, slash, _ = file.partition(os.sep)
        if not slash:
            raise DataError(f"{root / part / file}: lies in no folder of a class; move it to CLASS/")
        if name not in ids and not allow_missing:
            raise DataError(
                f"{root / part / file}: the class {name!r} has no folder of training images"
                f"{spelled(str(root / train / name))}; add it, or remove this one"
            )
        labels[i] = ids.get(name, NO_CLASS)
    prefix = os.path.join(root / part, "")  # noqa: PTH118 - a Path object for each of a million names takes seconds
    return ClassFiles([prefix + file for file in files], labels, info, [root])


def listed_images(path: Path, source: ClassFiles, folder: Path) -> list[int]:
    """Returns the indices of the images that a list names.

    Raises:
        DataError: a line names no image, one of several images, or an image of another line.
    """
    places: dict[str, int] = {}
    ambiguous = set[str]()
    for i, name in enumerate(source.pairs.images()):
        places[os.path.relpath(name, folder)] = i
        bare = os.path.basename(name)  # noqa: PTH119 - as above
        if bare in places:
            ambiguous.add(bare)
        places[bare] = i
    found: dict[int, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not (name := line.strip()):
            continue
        if name not in places:
            remedy = spelled(str(folder / name)) or (
                "; write CLASS/FILE as below it, or FILE alone, and nothing else in the line, no labels and no quotes"
            )
            raise DataError(f"{path}, line {number}: {name} is no training image below {folder}{remedy}")
        if name in ambiguous:
            raise DataError(f"{path}, line {number}: several classes have an image {name}; write CLASS/{name}")
        if places[name] in found:
            raise DataError(f"{path}, line {number}: {name} is in line {found[places[name]]} too")
        found[places[name]] = number
    if not found:
        raise DataError(f"{path}: names no images")
    return sorted(found)
