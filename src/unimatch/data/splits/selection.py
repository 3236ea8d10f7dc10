"""Which images are labelled, which are not, which are held out: the choices all data sets of files share."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unimatch.data.sources.files import FilePairs, find_images
from unimatch.data.splits.lists import SplitLists, choose_labeled, find_split, read_list
from unimatch.errors import ConfigError, DataError

log = logging.getLogger("unimatch")

Pool = str | Mapping[str, Any]
"""``rest``: the training images that are not labelled, or what the split's list says; ``train``: all training
images; ``{root: FOLDER}``: every image below a folder; ``{root: FOLDER, list: FILE}``: those of a list."""


@dataclass(frozen=True)
class Selection:
    """The arguments of :func:`unimatch.data.sets.segmentation.pascal` and its like that choose images.

    Args:
        dataset: the data set's name.
        root: its folder.
        train: its training images with masks. Called only where a choice needs them: lists name theirs.
        val: its validation images.
        extra: images without masks that join ``rest`` and ``train``.
        labeled: see :class:`unimatch.data.sets.segmentation.Layout`, as for the arguments that follow.
        split_seed: likewise.
        splits: likewise.
        split: likewise.
        labeled_list: likewise.
        unlabeled_list: likewise.
        val_list: likewise.
        unlabeled: likewise.
        allow_outside: likewise.
        folders: of an image and its mask, where lists hold names (:func:`unimatch.data.splits.lists.read_list`).
        pool_folder: of the images of a pool of another root.
    """

    dataset: str
    root: Path
    train: Callable[[], FilePairs]
    val: Callable[[], FilePairs]
    extra: FilePairs
    labeled: int | None
    split_seed: int
    splits: str | Path | None
    split: str | int | None
    labeled_list: str | Path | None
    unlabeled_list: str | Path | None
    val_list: str | Path | None
    unlabeled: Pool | Sequence[Pool]
    allow_outside: bool
    folders: tuple[str, ...] | None = None
    pool_folder: str = ""

    def __post_init__(self) -> None:
        given = [key for key in ("labeled", "labeled_list", "split") if getattr(self, key) is not None]
        if len(given) > 1:
            both = " and ".join(f"dataset.{key}" for key in given)
            raise ConfigError(f"{both} all choose the labelled images: give one")
        if self.split is not None and self.splits is None:
            raise ConfigError(f"dataset.split={self.split}: dataset.splits=FOLDER must say where the lists are")

    @cached_property
    def lists(self) -> SplitLists:
        """The list files: those given, else those of the split."""
        found = SplitLists()
        if self.splits is not None:
            found = find_split(absolute(self.splits), self.dataset, self.split)
        chosen = self.labeled is not None or self.labeled_list is not None
        return SplitLists(
            labeled=(self.labeled_list and absolute(self.labeled_list)) or (None if chosen else found.labeled),
            unlabeled=(self.unlabeled_list and absolute(self.unlabeled_list)) or (None if chosen else found.unlabeled),
            val=(self.val_list and absolute(self.val_list)) or found.val,
        )

    @cached_property
    def val_pairs(self) -> FilePairs:
        """The validation images."""
        return self._read(self.lists.val) if self.lists.val else self.val()

    @cached_property
    def train_pairs(self) -> FilePairs:
        """All training images with masks; never a validation image."""
        return self.train().without(self.val_pairs.images())

    @cached_property
    def _chosen(self) -> tuple[FilePairs, FilePairs | None]:
        """The labelled images, and the other training images where the choice has made them known."""
        if self.lists.labeled:
            return self._read(self.lists.labeled), None
        labeled, others = choose_labeled(len(self.train_pairs), self.labeled, self.split_seed)
        return self.train_pairs.select(labeled), self.train_pairs.select(others)

    @property
    def labeled_pairs(self) -> FilePairs:
        """The labelled images."""
        return self._chosen[0]

    @cached_property
    def unlabeled_pairs(self) -> FilePairs:
        """The unlabelled images of all pools."""
        return sum((self._pool(pool, key) for key, pool in self._pools()), FilePairs())

    @cached_property
    def roots(self) -> tuple[Path, ...]:
        """The folders that files may lie in; none where they may lie anywhere."""
        if self.allow_outside:
            return ()
        return (self.root, *(absolute(pool["root"]) for _, pool in self._pools() if not isinstance(pool, str)))

    def _pools(self) -> list[tuple[str, Pool]]:
        """Each pool with the key it was given by."""
        if isinstance(self.unlabeled, (str, Mapping)):
            return [("dataset.unlabeled", check_pool("dataset.unlabeled", self.unlabeled))]
        pools = [(f"dataset.unlabeled[{i}]", pool) for i, pool in enumerate(self.unlabeled)]
        if not pools:
            raise ConfigError("dataset.unlabeled=[]: name at least one pool")
        if self.unlabeled_list is not None and "rest" not in self.unlabeled:
            raise ConfigError("dataset.unlabeled_list says what 'rest' is, which dataset.unlabeled does not name")
        return [(key, check_pool(key, pool)) for key, pool in pools]

    def _pool(self, pool: Pool, key: str) -> FilePairs:
        if pool == "train":
            return self.train_pairs + self.extra
        if pool == "rest":
            if self.lists.unlabeled:
                return self._read(self.lists.unlabeled, masks=False)
            labeled, others = self._chosen
            return (self.train_pairs.without(labeled.images()) if others is None else others) + self.extra
        assert isinstance(pool, Mapping)
        root = absolute(pool["root"])
        if not root.is_dir():
            raise DataError(f"{key}.root={pool['root']}: no such folder (looked at {root.resolve()})")
        if pool.get("list") is None:
            images = root / self.pool_folder
            return FilePairs((str(images / name), None) for name in find_images(images))
        folders = (self.pool_folder,) if self.folders else None
        pairs = read_list(absolute(pool["list"]), root, masks=False, allow_outside=self.allow_outside, folders=folders)
        return FilePairs((image, None) for image in pairs.images())  # masks of other classes are no truth

    def _read(self, path: Path, *, masks: bool = True) -> FilePairs:
        return read_list(path, self.root, masks=masks, allow_outside=self.allow_outside, folders=self.folders)


def absolute(path: str | Path) -> Path:
    """An absolute path without ``..``, and with ``~`` replaced by the home folder: one name for one file."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def check_pool(key: str, pool: Pool) -> Pool:
    """A pool as it was given.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(pool, str):
        if pool in ("rest", "train"):
            return pool
    elif isinstance(pool, Mapping) and pool.get("root") is not None and set(pool) <= {"root", "list"}:
        return pool
    raise ConfigError(f"{key}={pool}: must be 'rest', 'train', {{root: FOLDER}} or {{root: FOLDER, list: FILE}}")
