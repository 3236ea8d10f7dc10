"""Chooses which images are labelled, unlabelled and held out, in the same way for all data sets of files."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, get_args

from unimatch.data.catalog import DatasetInfo, UnknownValues
from unimatch.data.sources.band_settings import PixelOptions, with_bands
from unimatch.data.sources.base import FileSource, OnBadImage, SegmentationData
from unimatch.data.sources.files import FilePairs, WithoutMask, absolute, images_alone
from unimatch.data.splits.hold_out import refuse_group
from unimatch.data.splits.lists import SplitLists, choose_labeled, find_split, read_list
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import Exif
from unimatch.options import one_of

log = logging.getLogger("unimatch")

Pool = str | Mapping[str, Any]
"""``rest``, ``train``, ``{root: FOLDER}`` or ``{root: FOLDER, list: FILE}``: see :class:`SelectionOptions`."""


class SelectionOptions(PixelOptions, total=False):
    """The settings of all data sets of files; in YAML ``conf/dataset/_files.yaml``."""

    splits: Annotated[
        str | Path | None,
        None,
        "a folder of lists, as published: ``SPLITS/DATASET/SPLIT/{labeled,unlabeled}.txt`` and "
        "``SPLITS/DATASET/val.txt``.",
    ]
    split: Annotated[str | int | None, None, "the split in that folder, such as ``1_16`` or ``10%``."]
    labeled: Annotated[int | None, None, "number of labelled images, None for all; instead of lists."]
    split_seed: Annotated[int, 0, "chooses the labelled images."]
    labeled_list: Annotated[str | Path | None, None, "a list file of the labelled images."]
    unlabeled_list: Annotated[
        str | Path | None,
        None,
        "a list file of the unlabelled images; by default all training images that are not labelled.",
    ]
    val_list: Annotated[str | Path | None, None, "a list file of the validation images."]
    unlabeled: Annotated[
        Pool | Sequence[Pool],
        "rest",
        "the unlabelled pool, or several: ``rest``, the training images that are not labelled, or what the split's "
        "list says; ``train``, all training images, the labelled ones included; ``{root: FOLDER}``, all images "
        "below another folder; ``{root: FOLDER, list: FILE}``, those of a list, relative to that folder.",
    ]
    allow_outside: Annotated[
        bool, False, "whether files may lie outside the root and the pools' folders, by ``..`` or links."
    ]
    allow_missing: Annotated[
        bool, False, "whether lists and folders may promise files that are not there: the full check reports them."
    ]
    without_mask: Annotated[
        WithoutMask,
        "error",
        "what training images without a mask are: ``error``, as a mask may have been forgotten, or ``unlabeled``, as "
        "where a few of many images in one folder have been labelled.",
    ]
    on_bad_image: Annotated[
        OnBadImage,
        "error",
        "what to do with an unlabelled image that cannot be read: ``error``, or ``skip``, which takes another one, "
        "counts it and says so. Other images are never skipped.",
    ]
    unknown_values: Annotated[
        UnknownValues,
        "error",
        "what becomes of ids or colours in masks that are no class and not ignored: ``error``; ``ignore``, such pixels "
        "are no class; ``nearest``, they are of the class whose id or colour is nearest, for masks with blurred edges.",
    ]
    exif: Annotated[
        Exif,
        "turn",
        "``stored`` leaves images and masks as they are stored, for masks that were drawn on images whose EXIF "
        "orientation was not obeyed.",
    ]


class Available(Protocol):
    """All images of a data set, of which some are chosen. Each kind is looked for when it is first needed."""

    info: DatasetInfo
    root: Path
    source: type[FileSource]
    """The class that reads the files."""
    folders: tuple[str, str] | None
    """The folders of images and masks, if lists hold names only; None if they hold paths."""
    val_group: str | None
    """What groups are held out by, if some images are (:func:`unimatch.data.splits.hold_out.hold_out`)."""

    @property
    def holds_train(self) -> bool:
        """Whether the training images have a folder, which lists of all images can do without."""

    def pool_folder(self, root: Path) -> str:
        """Returns the folder of images below another root, for a pool of unlabelled images."""

    @property
    def train(self) -> FilePairs:
        """The training images, with masks."""

    @property
    def val(self) -> FilePairs:
        """The validation images, if no list names them."""

    @property
    def extra(self) -> FilePairs:
        """The images without masks, which are added to ``rest`` and ``train``."""

    @property
    def test(self) -> FilePairs | None:
        """The test images; None if there are none."""


def select(available: Available, options: SelectionOptions) -> SegmentationData:
    """Chooses labelled, unlabelled and validation images.

    If lists name all images that are needed, no folder is searched. With ``labeled_list`` there need be none: other
    training images than those of lists are then those of the folder, if it exists. Validation images are left out of
    the training images found in folders.

    Args:
        available: the data set's images.
        options: how to choose among them.

    Raises:
        DataError: a folder or a list is missing or malformed.
        ConfigError: the options contradict each other or do not fit the number of images.
    """
    one_of("without_mask", options["without_mask"], get_args(WithoutMask))
    pools, lists = read_pools(options), chosen_lists(available.info.name, options)

    def read(path: Path, *, masks: bool = True) -> FilePairs:
        return read_files(path, available.root, available.folders, options, masks=masks)

    if lists.val:
        refuse_group(available.val_group, lists.val)
    val = read(lists.val) if lists.val else available.val
    can_do_without = options["labeled_list"] is not None and not available.holds_train
    needs_rest = "rest" in pools.values() and not lists.unlabeled and not can_do_without
    train = FilePairs()
    if not lists.labeled or needs_rest or "train" in pools.values():
        train = available.train.without(val.images())
    if lists.labeled:
        labeled = read(lists.labeled)
        rest = train.without(labeled.images())
    else:
        chosen, left = choose_labeled(len(train), options["labeled"], options["split_seed"])
        labeled, rest = train.select(chosen), train.select(left)

    unlabeled, roots = FilePairs(), [available.root]
    for key, pool in pools.items():
        if isinstance(pool, Mapping):
            roots.append(absolute(pool["root"]))
            unlabeled += pool_of_folder(key, pool, available, options)
        elif pool == "rest" and lists.unlabeled:
            unlabeled += read(lists.unlabeled, masks=False)
        else:
            used = val + labeled if pool == "rest" else val  # lists may name images of ``extra``
            extra = available.extra.without(used.images())
            unlabeled += (train if pool == "train" else rest) + extra

    allowed = () if options["allow_outside"] else roots
    info = with_bands(available.info, options, available.source(labeled + unlabeled, available.info, roots=allowed))

    def source(pairs: FilePairs, *, optional_masks: bool = False) -> FileSource:
        return available.source(pairs, info, roots=allowed, optional_masks=optional_masks)

    return SegmentationData(
        info,
        labeled=source(labeled),
        unlabeled=source(unlabeled, optional_masks=True),
        val=source(val),
        test=None if available.test is None else source(available.test),
        on_bad_image=options["on_bad_image"],
    )


def names_files(options: SelectionOptions) -> bool:
    """Tells whether the options name images in any folder, by lists or by pools of another root."""
    lists = (options["splits"], options["labeled_list"], options["unlabeled_list"], options["val_list"])
    given = options["unlabeled"]
    pools = [given] if isinstance(given, (str, Mapping)) else given
    return any(file is not None for file in lists) or any(isinstance(pool, Mapping) for pool in pools)


def read_files(
    path: Path, root: Path, folders: tuple[str, ...] | None, options: SelectionOptions, *, masks: bool = True
) -> FilePairs:
    """Reads a list (:func:`unimatch.data.splits.lists.read_list`) with the arguments that the options give."""
    outside, missing = options["allow_outside"], options["allow_missing"]
    return read_list(path, root, masks=masks, allow_outside=outside, allow_missing=missing, folders=folders)


def read_pools(options: SelectionOptions) -> dict[str, Pool]:
    """Returns the unlabelled pools by the names of their settings, such as ``unlabeled[1]``.

    Raises:
        ConfigError: one is malformed, or there is none.
    """
    given = options["unlabeled"]
    if isinstance(given, (str, Mapping)):
        pools: dict[str, Pool] = {"unlabeled": given}
    else:
        pools = {f"unlabeled[{i}]": pool for i, pool in enumerate(given)}
        if not pools:
            raise ConfigError("unlabeled=[]: name at least one pool")
    for key, pool in pools.items():
        if isinstance(pool, Mapping):
            valid = pool.get("root") is not None and set(pool) <= {"root", "list"}
        else:
            valid = pool in ("rest", "train")
        if not valid:
            raise ConfigError(
                f"{key}={pool}: must be 'rest', 'train', {{root: FOLDER}} or {{root: FOLDER, list: FILE}}"
            )
    if options["unlabeled_list"] is not None and "rest" not in pools.values():
        raise ConfigError("unlabeled_list: says what 'rest' is, which unlabeled does not name")
    named = list(pools.items())
    for number, (key, pool) in enumerate(named):
        if again := next((earlier for earlier, other in named[:number] if other == pool), None):
            log.warning("%s: is the same pool as %s, so that its images are drawn twice as often", key, again)
    return pools


def chosen_lists(dataset: str, options: SelectionOptions) -> SplitLists:
    """Returns the list files: those that the options give, else those of the split.

    Raises:
        ConfigError: options contradict each other.
    """
    labeled, labeled_list, split = options["labeled"], options["labeled_list"], options["split"]
    choosing = {"labeled": labeled, "labeled_list": labeled_list, "split": split}
    given = [key for key, value in choosing.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} all choose the labelled images: give one")
    if split is not None and options["splits"] is None:
        raise ConfigError(f"split={split}: splits=FOLDER must say where the lists are")
    found = SplitLists()
    if options["splits"] is not None:
        found = find_split(absolute(options["splits"]), dataset, split)
    chosen = labeled is not None or labeled_list is not None
    unlabeled_list, val_list = options["unlabeled_list"], options["val_list"]
    return SplitLists(
        labeled=(labeled_list and absolute(labeled_list)) or (None if chosen else found.labeled),
        unlabeled=(unlabeled_list and absolute(unlabeled_list)) or (None if chosen else found.unlabeled),
        val=(val_list and absolute(val_list)) or found.val,
    )


def pool_of_folder(key: str, pool: Mapping[str, Any], available: Available, options: SelectionOptions) -> FilePairs:
    """Returns the images of a pool of another root, without masks, which may be of other classes."""
    root = absolute(pool["root"])
    if not root.is_dir():
        raise DataError(f"{key}.root={pool['root']}: no such folder (looked at {root.resolve()})")
    folder = available.pool_folder(root)
    if pool.get("list") is None:
        return images_alone(root / folder)
    folders = (folder,) if available.folders else None
    pairs = read_files(absolute(pool["list"]), root, folders, options, masks=False)
    return FilePairs((image, None) for image in pairs.images())
