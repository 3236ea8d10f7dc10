"""From a folder's layout to a :class:`SegmentationData`: one function per layout, one argument per setting."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unimatch.data.catalog import CAMVID, DatasetInfo, distinct_colors
from unimatch.data.sources import FilePair, FileSource, SegmentationData
from unimatch.data.splits import choose_labeled, read_list
from unimatch.errors import ConfigError, DataError
from unimatch.images import IMAGE_SUFFIXES

UnlabeledPool = Literal["rest", "train"]
"""``rest``: the training images that are not labelled; ``train``: all of them, the labelled ones included."""


def camvid(
    root: str | Path,
    *,
    labeled: int | None = None,
    split_seed: int = 0,
    labeled_list: str | Path | None = None,
    unlabeled_list: str | Path | None = None,
    unlabeled: UnlabeledPool = "rest",
) -> SegmentationData:
    """CamVid in SegNet's layout: ``train/ trainannot/ val/ valannot/ test/ testannot/``.

    Images and masks are paired by stem, whatever the images' extension; mask value 11 or 255 is void.

    Args:
        root: the folder that holds the six folders.
        labeled: number of labelled training images, None for all.
        split_seed: which images those are.
        labeled_list: a list file in the published format instead of ``labeled`` and ``split_seed``.
        unlabeled_list: likewise for the unlabelled pool.
        unlabeled: which training images form the unlabelled pool.

    Raises:
        DataError: a folder or a partner file is missing.
        ConfigError: ``labeled`` does not fit the number of images.
    """
    root = existing_root(root)
    train = pair_by_stem(root / "train", root / "trainannot")
    val = pair_by_stem(root / "val", root / "valannot")
    test = pair_by_stem(root / "test", root / "testannot") if (root / "test").is_dir() else None
    parts = split_train(train, [], root, labeled, split_seed, labeled_list, unlabeled_list, unlabeled)
    return SegmentationData(
        CAMVID,
        labeled=FileSource(parts[0], CAMVID),
        unlabeled=FileSource(parts[1], CAMVID),
        val=FileSource(val, CAMVID),
        test=FileSource(test, CAMVID) if test else None,
    )


def folder(
    root: str | Path,
    *,
    labeled: int | None = None,
    split_seed: int = 0,
    labeled_list: str | Path | None = None,
    unlabeled_list: str | Path | None = None,
    unlabeled: UnlabeledPool = "rest",
    classes: str | Path | Sequence[str] | None = None,
    name: str = "folder",
) -> SegmentationData:
    """Your own images: ``images/ masks/ val/images/ val/masks/`` and optionally ``unlabeled/ test/`` below a root.

    A mask has its image's stem and holds class ids from 0, with 255 where a pixel is not to be counted. Images
    below ``images/`` without a mask must be moved to ``unlabeled/``, so that a forgotten mask is noticed.

    Args:
        root: the folder.
        labeled: number of labelled training images, None for all that have a mask.
        split_seed: which images those are.
        labeled_list: a list file in the published format instead of ``labeled`` and ``split_seed``.
        unlabeled_list: likewise for the unlabelled pool.
        unlabeled: which images with masks join those of ``unlabeled/`` in the pool.
        classes: names in the order of their ids, or a file of them: JSON (a list of names) or text (one a line).
            By default ``classes.txt`` or ``classes.json`` below the root.
        name: what to call the data set.

    Raises:
        DataError: a folder, a partner file or the class names are missing.
        ConfigError: ``labeled`` does not fit the number of images.
    """
    root = existing_root(root)
    names = read_classes(root, classes)
    info = DatasetInfo(name=name, classes=names, palette=distinct_colors(len(names)))
    train = pair_by_stem(root / "images", root / "masks")
    val = pair_by_stem(root / "val" / "images", root / "val" / "masks")
    test_folder = root / "test"
    test = pair_by_stem(test_folder / "images", test_folder / "masks") if test_folder.is_dir() else None
    pool = [FilePair(path) for path in image_files(root / "unlabeled")] if (root / "unlabeled").is_dir() else []
    parts = split_train(train, pool, root, labeled, split_seed, labeled_list, unlabeled_list, unlabeled)
    return SegmentationData(
        info,
        labeled=FileSource(parts[0], info),
        unlabeled=FileSource(parts[1], info),
        val=FileSource(val, info),
        test=FileSource(test, info) if test else None,
    )


def existing_root(root: str | Path) -> Path:
    """The root as a path.

    Raises:
        DataError: there is no such folder.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        raise DataError(f"dataset.root={root}: no such folder (looked at {path.resolve()})")
    return path


def image_files(directory: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name.

    Raises:
        DataError: no such folder, or none in it.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder")
    # A name with a leading dot is some system's own, such as macOS's "._photo.jpg".
    files = sorted(p for p in directory.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")
    if not files:
        raise DataError(f"{directory}: no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in this folder")
    return files


def pair_by_stem(images: Path, masks: Path) -> list[FilePair]:
    """Pair the images of one folder with the masks of another that have the same stem.

    Raises:
        DataError: a folder is missing or empty, an image has no mask, or two files have one stem.
    """
    by_stem: dict[str, Path] = {}
    for mask in image_files(masks):
        if mask.stem in by_stem:
            raise DataError(f"{mask}: {by_stem[mask.stem].name} has the same stem; keep one of the two masks")
        by_stem[mask.stem] = mask
    pairs: dict[str, FilePair] = {}
    for image in image_files(images):
        if image.stem in pairs:
            raise DataError(f"{image}: {pairs[image.stem].image.name} has the same stem; rename one of the two")
        if image.stem not in by_stem:
            raise DataError(
                f"{image}: no mask {masks / image.stem}.png; add it, or move the image to the unlabelled images"
            )
        pairs[image.stem] = FilePair(image, by_stem[image.stem])
    return list(pairs.values())


def split_train(
    train: list[FilePair],
    pool: list[FilePair],
    root: Path,
    labeled: int | None,
    split_seed: int,
    labeled_list: str | Path | None,
    unlabeled_list: str | Path | None,
    unlabeled: str,
) -> tuple[list[FilePair], list[FilePair]]:
    """Divide training images into the labelled list and the unlabelled pool, as the layouts' arguments say.

    Args:
        train: images with masks.
        pool: images without, which join the unlabelled pool.
        root: what the paths of list files are relative to.
        labeled: see :func:`camvid`, as for the arguments that follow.
        split_seed: of the choice.
        labeled_list: file.
        unlabeled_list: file.
        unlabeled: ``rest`` or ``train``.
    """
    if unlabeled not in ("rest", "train"):
        raise ConfigError(f"dataset.unlabeled={unlabeled}: must be 'rest' or 'train'")
    if labeled_list is not None:
        if labeled is not None:
            raise ConfigError("dataset.labeled and dataset.labeled_list both choose the labelled images: give one")
        chosen = read_list(Path(labeled_list).expanduser(), root, masks=True)
        taken = {pair.image.resolve() for pair in chosen}
        rest = [pair for pair in train if pair.image.resolve() not in taken]
    else:
        indices, others = choose_labeled(len(train), labeled, split_seed)
        chosen, rest = [train[i] for i in indices], [train[i] for i in others]
    if unlabeled_list is not None:
        return chosen, read_list(Path(unlabeled_list).expanduser(), root, masks=False)
    return chosen, (train if unlabeled == "train" else rest) + pool


def read_classes(root: Path, classes: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """The class names of a ``folder`` data set, from a sequence or a file.

    Raises:
        DataError: no names are given and no file is found, the file is malformed, or a name is repeated.
    """
    if classes is None:
        found = [root / name for name in ("classes.txt", "classes.json") if (root / name).is_file()]
        if not found:
            raise DataError(f"{root}: no classes.txt; write one class name a line, in the order of the ids")
        classes = found[0]
    if isinstance(classes, (str, Path)):
        path = Path(classes).expanduser()
        try:
            text = path.read_text(encoding="utf-8-sig")
            names = json.loads(text) if path.suffix == ".json" else [x for x in text.splitlines() if x.strip()]
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f"{path}: the class names cannot be read ({error})") from error
        where = str(path)
    else:
        names, where = list(classes), "dataset.classes"
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: expected a list of class names")
    names = [name.strip() for name in names]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{where}: at least two class names, all different, are needed; found {names}")
    if len(names) > 255:
        raise DataError(f"{where}: at most 255 classes fit an 8-bit mask; found {len(names)}")
    return tuple(names)
