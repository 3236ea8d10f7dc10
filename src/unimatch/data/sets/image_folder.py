"""Your own images in a folder per class, and ImageNet, which is distributed so."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from unimatch.data.catalog import DatasetInfo, distinct_colors
from unimatch.data.sets.segmentation import existing_root
from unimatch.data.sources.base import OnBadImage, SegmentationData
from unimatch.data.sources.files import files_may_be_missing, find_images
from unimatch.data.sources.one_class import ClassFiles
from unimatch.data.splits.lists import read_lines
from unimatch.data.splits.per_class import Pool, choose_images
from unimatch.errors import ConfigError, DataError
from unimatch.types import NO_CLASS


def imagenet(
    root: str | Path,
    *,
    labeled_list: str | Path | None = None,
    val_list: str | Path | None = None,
    labeled_per_class: int | None = None,
    split_seed: int = 0,
    val_per_class: int = 0,
    unlabeled: Pool = "train",
    on_bad_image: OnBadImage = "error",
) -> SegmentationData:
    """ImageNet (ILSVRC 2012) as ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, whose validation images are its test.

    Args:
        root: the folder.
        labeled_list: see :func:`image_folder`, as for the arguments that follow.
        val_list: likewise.
        labeled_per_class: likewise.
        split_seed: likewise.
        val_per_class: likewise.
        unlabeled: likewise.
        on_bad_image: likewise.

    Raises:
        DataError: see :func:`image_folder`.
        ConfigError: see :func:`image_folder`.
    """
    return image_folder(
        root,
        name="imagenet",
        val="",
        test="val",
        labeled_list=labeled_list,
        val_list=val_list,
        on_bad_image=on_bad_image,
        labeled_per_class=labeled_per_class,
        split_seed=split_seed,
        val_per_class=val_per_class,
        unlabeled=unlabeled,
    )


def image_folder(
    root: str | Path,
    *,
    name: str = "image_folder",
    train: str = "train",
    val: str = "val",
    test: str = "test",
    unlabeled_folder: str = "unlabeled",
    labeled_list: str | Path | None = None,
    val_list: str | Path | None = None,
    labeled_per_class: int | None = None,
    split_seed: int = 0,
    val_per_class: int | None = None,
    unlabeled: Pool = "train",
    on_bad_image: OnBadImage = "error",
) -> SegmentationData:
    """Your own images, a folder per class: ``train/CLASS/``, ``val/CLASS/``, ``test/CLASS/`` and ``unlabeled/``.

    All but ``train/`` may be missing. The classes are the folders in ``train/``, in the order of their names.

    Args:
        root: the folder.
        name: of the data set.
        train: the folder of training images.
        val: of validation images. Without it, ``val_per_class`` training images of each class are held out, 10 by
            default, or the test images are used (0).
        test: of test images.
        unlabeled_folder: of images without a class, in folders or not.
        labeled_list: a file of the labelled images' names, one a line, below ``train/`` or without their folder, as
            the published lists of ImageNet have them; instead of ``labeled_per_class``.
        val_list: of the training images that are held out for validation; instead of ``val_per_class``.
        labeled_per_class: see :func:`unimatch.data.splits.per_class.choose_images`.
        split_seed: see there.
        val_per_class: training images of each class that are held out, see ``val``.
        unlabeled: see :func:`unimatch.data.splits.per_class.choose_images`.
        on_bad_image: ``skip`` replaces and counts unlabelled images that cannot be read.

    Raises:
        DataError: a folder or a listed image is missing, or a class is in ``val/`` or ``test/`` alone.
        ConfigError: see :func:`unimatch.data.splits.per_class.choose_images`.
    """
    if on_bad_image not in ("error", "skip"):
        raise ConfigError(f"dataset.on_bad_image={on_bad_image}: must be 'error' or 'skip'")
    path = existing_root(root)
    if not (path / train).is_dir():
        raise DataError(f"{path / train}: no such folder; it holds a folder of images for each class")
    classes = tuple(sorted(entry.name for entry in (path / train).iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(classes) < 2:
        raise DataError(f"{path / train}: at least two folders, one for each class, are needed; found {list(classes)}")
    info = DatasetInfo(name, classes, distinct_colors(len(classes)))
    pool = class_folder(path, train, info)
    held_out, tested = (
        class_folder(path, part, info) if part and (path / part).is_dir() else None for part in (val, test)
    )
    extra = None
    if (path / unlabeled_folder).is_dir():
        names = [str(path / unlabeled_folder / file) for file in find_images(path / unlabeled_folder)]
        extra = ClassFiles(names, np.full(len(names), NO_CLASS), info, [path])
    listed, held = (
        None if file is None else listed_images(Path(file).expanduser(), pool, path / train)
        for file in (labeled_list, val_list)
    )
    if val_per_class is None:
        val_per_class = 10 if held_out is None and held is None and listed is None else 0
    data = choose_images(
        info,
        pool,
        tested,
        val=held_out,
        extra=extra,
        listed=listed,
        held=held,
        labeled_per_class=labeled_per_class,
        split_seed=split_seed,
        val_per_class=val_per_class,
        unlabeled=unlabeled,
    )
    return replace(data, on_bad_image=on_bad_image)


def class_folder(root: Path, part: str, info: DatasetInfo) -> ClassFiles:
    """The images of one part, with the classes of the folders they lie in."""
    ids = {name: number for number, name in enumerate(info.classes)}
    files = find_images(root / part)
    labels = np.empty(len(files), np.int64)
    for i, file in enumerate(files):
        name, slash, _ = file.partition(os.sep)
        if name not in ids and slash and files_may_be_missing():
            labels[i] = NO_CLASS
            continue
        if not slash or name not in ids:
            raise DataError(
                f"{root / part / file}: "
                + (
                    "lies in no folder of a class; move it to CLASS/"
                    if not slash
                    else f"the class {name} has no folder of training images; add it, or remove this one"
                )
            )
        labels[i] = ids[name]
    prefix = os.path.join(root / part, "")  # noqa: PTH118 - a Path object for each of a million names takes seconds
    return ClassFiles([prefix + file for file in files], labels, info, [root])


def listed_images(path: Path, source: ClassFiles, folder: Path) -> list[int]:
    """Which images a list names.

    Raises:
        DataError: it names an image that is not there, or twice.
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
            raise DataError(f"{path}, line {number}: {name} is no training image below {folder}")
        if name in ambiguous:
            raise DataError(f"{path}, line {number}: several classes have an image {name}; write CLASS/{name}")
        if places[name] in found:
            raise DataError(f"{path}, line {number}: {name} is in line {found[places[name]]} too")
        found[places[name]] = number
    if not found:
        raise DataError(f"{path}: names no images")
    return sorted(found)
