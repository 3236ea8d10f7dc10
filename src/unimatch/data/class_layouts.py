"""Data sets of images with one class each, in their published formats, and your own folders.

The formats are read here and not by torchvision's classes, which unpickle and accept the published files alone; but it
is torchvision that downloads them: ``torchvision.datasets.CIFAR10(ROOT, download=True)`` writes what is read here.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unimatch.data.array_pickles import read_array_pickle
from unimatch.data.catalog import CIFAR10, STL10, SVHN, DatasetInfo, distinct_colors
from unimatch.data.class_sources import ClassArrays, ClassFiles, Joined, choose_per_class
from unimatch.data.files import find_images
from unimatch.data.layouts import existing_root
from unimatch.data.sources import OnBadImage, SegmentationData, Source
from unimatch.data.splits import read_lines
from unimatch.errors import ConfigError, DataError
from unimatch.types import NO_CLASS

Pool = Literal["train", "rest"]


def cifar10(
    root: str | Path,
    *,
    labeled_per_class: int | None = None,
    split_seed: int = 0,
    val_per_class: int = 0,
    unlabeled: Pool = "train",
) -> SegmentationData:
    """CIFAR-10's Python version: ``cifar-10-batches-py/`` below the root, or the root itself.

    Args:
        root: the folder.
        labeled_per_class: see :func:`choose_images`, as for the arguments that follow.
        split_seed: likewise.
        val_per_class: likewise.
        unlabeled: likewise.

    Raises:
        DataError: a file is missing, or not of that format.
        ConfigError: see :func:`choose_images`.
    """
    folder = below(root, "cifar-10-batches-py", "CIFAR10")
    train, test = (
        cifar_part(f"cifar10/{part}", [folder / name for name in names])
        for part, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"]))
    )
    return choose_images(
        CIFAR10,
        train,
        test,
        labeled_per_class=labeled_per_class,
        split_seed=split_seed,
        val_per_class=val_per_class,
        unlabeled=unlabeled,
    )


def cifar_part(name: str, files: Sequence[Path]) -> ClassArrays:
    """Batches of ``data``, (N, 3072) uint8 with channels first, and ``labels``."""
    images, labels = [], []
    for file in files:
        batch = read_array_pickle(file)
        data = batch.get("data") if isinstance(batch, dict) else None
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
            raise DataError(f"{file}: holds no images of CIFAR's form, (N, 3072) uint8")
        images.append(data)
        labels.append(class_ids(file, batch.get("labels"), len(data), len(CIFAR10.classes)))
    return ClassArrays(
        name, np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.concatenate(labels)
    )


def svhn(
    root: str | Path,
    *,
    extra: bool = True,
    labeled_per_class: int | None = None,
    split_seed: int = 0,
    val_per_class: int = 0,
    unlabeled: Pool = "train",
) -> SegmentationData:
    """SVHN's cropped digits: ``train_32x32.mat``, ``test_32x32.mat`` and ``extra_32x32.mat`` in the root.

    Args:
        root: the folder.
        extra: whether the 531,131 extra images are unlabelled ones too.
        labeled_per_class: see :func:`choose_images`, as for the arguments that follow.
        split_seed: likewise.
        val_per_class: likewise.
        unlabeled: likewise.

    Raises:
        DataError: a file is missing, or not of that format.
        ConfigError: see :func:`choose_images`.
    """
    folder = below(root, "", "SVHN")
    train, test = (svhn_part(folder, part) for part in ("train", "test"))
    return choose_images(
        SVHN,
        train,
        test,
        extra=svhn_part(folder, "extra") if extra else None,
        labeled_per_class=labeled_per_class,
        split_seed=split_seed,
        val_per_class=val_per_class,
        unlabeled=unlabeled,
    )


def svhn_part(folder: Path, part: str) -> ClassArrays:
    """``X`` (32, 32, 3, N) uint8 and ``y`` (N, 1), with 10 for the digit 0."""
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
    except Exception as error:  # scipy raises many kinds for what is no MATLAB file
        raise DataError(f"{file}: cannot be read as SVHN's MATLAB file ({error})") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(f"{file}: X is {images.shape} of {images.dtype}, not (32, 32, 3, N) of uint8")
    ids = class_ids(file, np.where(labels == 10, 0, labels), images.shape[3], 10)
    return ClassArrays(f"svhn/{part}", np.ascontiguousarray(images.transpose(3, 0, 1, 2)), ids)


def stl10(
    root: str | Path,
    *,
    fold: int | None = None,
    labeled_per_class: int | None = None,
    split_seed: int = 0,
    val_per_class: int = 0,
    unlabeled: Pool = "train",
) -> SegmentationData:
    """STL-10's binary version: ``stl10_binary/`` below the root, or the root itself; 100,000 images without a class.

    Args:
        root: the folder.
        fold: one of the ten published choices of 1,000 training images, 0 to 9; None for all 5,000.
        labeled_per_class: see :func:`choose_images`, as for the arguments that follow.
        split_seed: likewise.
        val_per_class: likewise.
        unlabeled: likewise.

    Raises:
        DataError: a file is missing, or not of that format.
        ConfigError: there is no such fold; see :func:`choose_images`.
    """
    folder = below(root, "stl10_binary", "STL10")
    train, test, extra = (stl_part(folder, part) for part in ("train", "test", "unlabeled"))
    if fold is not None:
        lines = [line for line in read_lines(folder / "fold_indices.txt") if line.strip()]
        if not 0 <= fold < len(lines):
            raise ConfigError(f"dataset.fold={fold}: must be from 0 to {len(lines) - 1}")
        train = train.select([int(number) for number in lines[fold].split()])
    return choose_images(
        STL10,
        train,
        test,
        extra=extra,
        labeled_per_class=labeled_per_class,
        split_seed=split_seed,
        val_per_class=val_per_class,
        unlabeled=unlabeled,
    )


def stl_part(folder: Path, part: str) -> ClassArrays:
    """``X``: N images of 3 x 96 x 96 bytes, each channel column by column, left in the file; ``y``: classes from 1."""
    file = folder / f"{part}_X.bin"
    try:
        data = np.memmap(file, np.uint8, mode="r")
        images = data.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
        labels = None if part == "unlabeled" else np.fromfile(folder / f"{part}_y.bin", np.uint8).astype(np.int64) - 1
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as images of STL-10 ({error})") from error
    if labels is None:
        return ClassArrays(f"stl10/{part}", images, np.full(len(images), NO_CLASS))
    return ClassArrays(f"stl10/{part}", images, class_ids(folder / f"{part}_y.bin", labels, len(images), 10))


def imagenet(
    root: str | Path,
    *,
    labeled_list: str | Path | None = None,
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
        labeled_per_class: see :func:`choose_images`.
        split_seed: see there.
        val_per_class: training images of each class that are held out, see ``val``.
        unlabeled: see :func:`choose_images`.
        on_bad_image: ``skip`` replaces and counts unlabelled images that cannot be read.

    Raises:
        DataError: a folder or a listed image is missing, or a class is in ``val/`` or ``test/`` alone.
        ConfigError: see :func:`choose_images`.
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
    if val_per_class is None:
        val_per_class = 0 if held_out is not None else 10
    listed = None if labeled_list is None else listed_images(Path(labeled_list).expanduser(), pool, path / train)
    data = choose_images(
        info,
        pool,
        tested,
        val=held_out,
        extra=extra,
        listed=listed,
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
        if not slash or name not in ids:
            raise DataError(
                f"{root / part / file}: "
                + (
                    "lies in no folder of a class"
                    if not slash
                    else f"the class {name} has no folder of training images"
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
    for i, name in enumerate(source.pairs.images()):
        relative = os.path.relpath(name, folder)
        places[relative] = places[os.path.basename(name)] = i  # noqa: PTH119 - as above
    found: dict[int, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not (name := line.strip()):
            continue
        if name not in places:
            raise DataError(f"{path}, line {number}: {name} is no training image below {folder}")
        if places[name] in found:
            raise DataError(f"{path}, line {number}: {name} is in line {found[places[name]]} too")
        found[places[name]] = number
    if not found:
        raise DataError(f"{path}: names no images")
    return sorted(found)


def choose_images(
    info: DatasetInfo,
    train: ClassArrays | ClassFiles,
    test: ClassArrays | ClassFiles | None,
    *,
    val: Source | None = None,
    extra: ClassArrays | ClassFiles | None = None,
    listed: list[int] | None = None,
    labeled_per_class: int | None = None,
    split_seed: int = 0,
    val_per_class: int = 0,
    unlabeled: Pool = "train",
) -> SegmentationData:
    """Which of the training images are labelled, held out and unlabelled.

    Args:
        info: the classes.
        train: all training images.
        test: the test images.
        val: the validation images, where they are apart.
        extra: images without a class, for the unlabelled pool.
        listed: the labelled images, instead of a number.
        labeled_per_class: number of labelled images of each class; None for all.
        split_seed: which images those are.
        val_per_class: training images of each class that are held out for validation, on which the best step is chosen.
            With 0 and no validation images of its own it is chosen on the test images, as in the published runs.
        unlabeled: the unlabelled pool: ``train``, all training images, the labelled ones included, as in the published
            runs; ``rest``, those that are not labelled. Images without a class belong to both.

    Raises:
        ConfigError: a class has fewer images, or there is nothing to validate on.
    """
    if unlabeled not in ("train", "rest"):
        raise ConfigError(f"dataset.unlabeled={unlabeled}: must be train or rest")
    if val_per_class < 0:
        raise ConfigError(f"dataset.val_per_class={val_per_class}: must be at least 0")
    if listed is not None and (labeled_per_class is not None or val_per_class):
        raise ConfigError("dataset.labeled_list: goes with neither dataset.labeled_per_class nor dataset.val_per_class")
    held_out = val if val is not None else test
    pool = train
    if val_per_class:
        key = "dataset.val_per_class"
        held, others = choose_per_class(train.labels, val_per_class, 0, key=key, classes=info.classes)
        held_out, pool = train.select(held), train.select(others)
    if held_out is None:
        raise ConfigError("dataset.val_per_class=0: there are neither validation nor test images; hold some out")
    key = "dataset.labeled_per_class"
    if listed is not None:
        chosen, rest = listed, sorted(set(range(len(pool))) - set(listed))
    else:
        chosen, rest = choose_per_class(pool.labels, labeled_per_class, split_seed, key=key, classes=info.classes)
    own = pool if unlabeled == "train" else pool.select(rest)
    return SegmentationData(
        info,
        labeled=pool.select(chosen),
        unlabeled=own if extra is None else extra if len(own) == 0 else joined(own, extra),
        val=held_out,
        test=test,
    )


def joined(first: ClassArrays | ClassFiles, second: ClassArrays | ClassFiles) -> Source:
    """Two collections as one; of files, as one list of files."""
    if isinstance(first, ClassFiles) and isinstance(second, ClassFiles):
        names = [*first.pairs.images(), *second.pairs.images()]
        return ClassFiles(
            names, np.concatenate([first.labels, second.labels]), first.info, list(map(Path, first.roots))
        )
    return Joined([first, second])


def below(root: str | Path, name: str, dataset: str) -> Path:
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
