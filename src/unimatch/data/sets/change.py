"""Pairs of two dates and what changed between them: ``A/ B/ label/`` with one file name for the three."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unimatch.data.catalog import CHANGE, LEVIR, WHU, DatasetInfo
from unimatch.data.sets.segmentation import existing_root, hold_out
from unimatch.data.sources.base import OnBadImage, SegmentationData
from unimatch.data.sources.dates import BEFORE, LABEL, PairSource, PairTree
from unimatch.data.sources.files import FilePairs, find_images
from unimatch.data.splits.lists import SplitLists, find_split, read_list
from unimatch.data.splits.selection import Pool, Selection, absolute
from unimatch.errors import ConfigError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class ChangeLayout:
    """A change-detection data set. Called with its root, it gives the pairs: ``unimatch.data.levir("LEVIR-CD")``.

    The pairs lie in ``A/ B/ label/`` below the root, with lists that say which are for what, or in such folders below
    ``train/ val/ test/``. A pair's three files have one name. A label stores 255 (or 1) where the pixel has changed
    and 0 where it has not. Pairs of ``unlabeled/A`` and ``unlabeled/B`` join the unlabelled ones.
    """

    info: DatasetInfo

    def __call__(
        self,
        root: str | Path,
        *,
        splits: str | Path | None = None,
        split: str | int | None = None,
        labeled: int | None = None,
        split_seed: int = 0,
        labeled_list: str | Path | None = None,
        unlabeled_list: str | Path | None = None,
        val_list: str | Path | None = None,
        test_list: str | Path | None = None,
        unlabeled: Pool | Sequence[Pool] = "rest",
        val_share: float = 0.2,
        val_seed: int = 0,
        choose_best_on: Literal["val", "test"] = "val",
        allow_outside: bool = False,
        on_bad_image: OnBadImage = "error",
    ) -> SegmentationData:
        """The pairs below a root. Lists hold one file name a line, of a pair in ``train/`` where there is ``train/A``.

        Args:
            root: the data set's folder.
            splits: a folder of lists, as published: ``SPLITS/DATASET/SPLIT/{labeled,unlabeled}.txt`` and
                ``SPLITS/DATASET/{train,val,test}.txt``. What they do not say, ``list/{train,val,test}.txt`` below the
                root do, if there are any.
            split: which of them, such as ``10%``.
            labeled: number of labelled training pairs, None for all; instead of lists.
            split_seed: which pairs those are.
            labeled_list: a list file of the labelled pairs.
            unlabeled_list: of the unlabelled ones; by default all training pairs that are not labelled.
            val_list: of the validation pairs.
            test_list: of the test pairs.
            unlabeled: the unlabelled pool, or several (see :class:`Layout`); a pool of
                another root has ``A/`` and ``B/`` below it.
            val_share: the share of the training pairs to hold out where neither a list nor a folder says which are for
                validation.
            val_seed: which pairs those are.
            choose_best_on: ``test`` evaluates the test pairs in training, and so chooses the best epoch by them, as the
                published runs did; such a score is no longer one of unseen pairs.
            allow_outside: whether files may lie outside the root and the pools' folders, by ``..`` or links.
            on_bad_image: what to do with an unlabelled pair that cannot be read: ``error``, or ``skip``.

        Raises:
            DataError: a folder, a partner file or a list is missing or malformed.
            ConfigError: the settings contradict each other or do not fit the number of pairs.
        """
        if on_bad_image not in ("error", "skip"):
            raise ConfigError(f"dataset.on_bad_image={on_bad_image}: must be 'error' or 'skip'")
        if choose_best_on not in ("val", "test"):
            raise ConfigError(f"dataset.choose_best_on={choose_best_on}: must be 'val' or 'test'")
        path = existing_root(root)
        own = find_split(path / "list", self.info.name, None) if (path / "list").is_dir() else SplitLists()
        if splits is None and split is None and (path / "list").is_dir():
            splits = path / "list"
        found = SplitLists() if splits is None else find_split(absolute(splits), self.info.name, split)
        folders = first_and_label(path)

        def listed(file: Path) -> FilePairs:
            return read_list(file, path, masks=True, allow_outside=allow_outside, folders=folders)

        test_file = absolute(test_list) if test_list is not None else found.test or own.test
        test = listed(test_file) if test_file else tree_of(path, "test")

        def train() -> FilePairs:
            file = found.train or own.train
            pairs = listed(file) if file else tree_of(path, "train") or PairTree().pairs(path)
            return pairs if test is None else pairs.without(test.images())

        def val() -> FilePairs:
            if own.val:
                return listed(own.val)
            return tree_of(path, "val") or hold_out(train(), val_share, val_seed)

        extra = path / "unlabeled" / BEFORE
        selection = Selection(
            dataset=self.info.name,
            root=path,
            train=train,
            val=val,
            extra=FilePairs((str(extra / name), None) for name in find_images(extra))
            if extra.is_dir()
            else FilePairs(),
            labeled=labeled,
            split_seed=split_seed,
            splits=splits,
            split=split,
            labeled_list=labeled_list,
            unlabeled_list=unlabeled_list,
            val_list=val_list,
            unlabeled=unlabeled,
            allow_outside=allow_outside,
            folders=folders,
            pool_folder=BEFORE,
        )
        roots = selection.roots
        test_source = None if test is None else PairSource(test, self.info, roots=roots)
        if choose_best_on == "test" and test_source is None:
            raise ConfigError("dataset.choose_best_on=test: there are no test pairs; give dataset.test_list")
        val_source = PairSource(selection.val_pairs, self.info, roots=roots)
        return SegmentationData(
            self.info,
            labeled=PairSource(selection.labeled_pairs, self.info, roots=roots),
            unlabeled=PairSource(selection.unlabeled_pairs, self.info, roots=roots, optional_masks=True),
            val=test_source if choose_best_on == "test" and test_source is not None else val_source,
            test=test_source,
            on_bad_image=on_bad_image,
        )


def first_and_label(root: Path) -> tuple[str, str]:
    """The folders below a root that hold the first dates and the labels of training pairs."""
    part = "train/" if (root / "train" / BEFORE).is_dir() else ""
    return f"{part}{BEFORE}", f"{part}{LABEL}"


def tree_of(root: Path, part: str) -> FilePairs | None:
    """The pairs of ``train/``, ``val/`` or ``test/`` below a root; None where there is no such folder."""
    return PairTree().pairs(root / part) if (root / part / BEFORE).is_dir() else None


levir = ChangeLayout(LEVIR)
"""LEVIR-CD: buildings in aerial photographs, tiles of 256 pixels with lists as published, or the 1024-pixel ones."""

whu = ChangeLayout(WHU)
"""WHU-CD: buildings before and after an earthquake, tiles of 256 pixels with lists as published."""

change_folder = ChangeLayout(CHANGE)
"""Your own pairs: ``A/ B/ label/``, optionally ``unlabeled/A unlabeled/B``, ``val/ test/`` with the same folders."""
