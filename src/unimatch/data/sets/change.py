"""Finds pairs of dates and the labels of what has changed: ``A/ B/ label/``, with one name for the three files."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Unpack

from unimatch.data.catalog import CHANGE, LEVIR, WHU, DatasetInfo
from unimatch.data.sets.own_folders import say_unused
from unimatch.data.sources.base import FileSource, SegmentationData
from unimatch.data.sources.dates import (
    AFTER,
    PairSource,
    PairTree,
    all_there,
    first_and_label,
    training_folder,
    tree_within,
)
from unimatch.data.sources.files import FilePairs, absolute, existing_root, images_alone
from unimatch.data.splits.hold_out import hold_out, refuse_group
from unimatch.data.splits.labeled import SelectionOptions, names_files, read_files, select
from unimatch.data.splits.lists import SplitLists, find_split
from unimatch.errors import ConfigError
from unimatch.images.folders import holds_files, names_of, note, part_folder, parts_named
from unimatch.images.pairs import second_folder
from unimatch.options import with_options


class ChangeOptions(SelectionOptions, total=False):
    """The settings of all change-detection data sets; in YAML ``conf/dataset/_change.yaml``."""

    test_list: Annotated[str | Path | None, None, "a list file of the test pairs."]
    val_share: Annotated[
        float, 0.2, "the share of the training pairs to hold out where neither a list nor a folder says which."
    ]
    val_seed: Annotated[int, 0, "chooses these pairs."]
    val_group: Annotated[
        str | None,
        None,
        "holds out whole groups, such as the tiles of a city: a regular expression that finds a pair's group in the "
        "path of its first date below the root.",
    ]
    choose_best_on: Annotated[
        Literal["val", "test"],
        "val",
        "``test`` evaluates the test pairs in training, and so chooses the best epoch by them, as the published "
        "runs did; such a score is no longer one of unseen pairs.",
    ]


@dataclass(frozen=True)
class ChangeLayout:
    """A change-detection data set; called with its root, it returns the pairs: ``unimatch.data.levir("LEVIR-CD")``.

    The pairs lie in ``A/ B/ label/`` below the root, with lists that say which are for training, validation and
    testing, or in such folders below ``train/ val/ test/``. The three files of a pair have one name. A label stores 255
    (or 1) for changed pixels and 0 for others. Pairs of ``unlabeled/A`` and ``unlabeled/B`` are added to the unlabelled
    ones.
    """

    info: DatasetInfo

    @with_options()
    def __call__(self, root: str | Path, **options: Unpack[ChangeOptions]) -> SegmentationData:
        """Finds the pairs below a root.

        A line of a list is the file name of a pair, in ``train/`` if there is ``train/A``. Besides the lists of
        ``splits``, ``{train,val,test}.txt`` in its folder and ``list/{train,val,test}.txt`` below the root are used if
        they exist. A pool of another root has ``A/`` and ``B/`` below it.

        Args:
            root: the data set's folder.

        Raises:
            DataError: a folder, a partner file or a list is missing or malformed.
            ConfigError: the settings contradict each other or do not fit the number of pairs.
        """
        choose_best_on, named = options["choose_best_on"], names_files(options)
        if choose_best_on not in ("val", "test"):
            raise ConfigError(f"choose_best_on={choose_best_on}: must be 'val' or 'test'")
        if not 0 < options["val_share"] < 1:
            raise ConfigError(f"val_share={options['val_share']}: must be above 0 and below 1")
        path = existing_root(root)
        if options["splits"] is None and options["split"] is None and (path / "list").is_dir():
            options["splits"] = path / "list"
        if not named:
            train, (first, label) = training_folder(path), first_and_label(path)
            used = {train} if train else {first, second_folder(first) or AFTER, label}
            if (path / first).is_dir():
                say_unused(path, used, path)
            if options["splits"] is None:
                say_unused_lists(path)
        info = replace(self.info, unknown_values=options["unknown_values"], exif=options["exif"])
        data = select(FoundPairs(info, path, options), options)
        if choose_best_on == "val":
            return data
        if data.test is None:
            raise ConfigError("choose_best_on=test: there are no test pairs; give test_list")
        return replace(data, val=data.test)


def say_unused_lists(root: Path) -> None:
    """Warns of a list of validation or test pairs in a data set that is not in its folder of lists."""
    names = [f"{folder}{name}.txt" for folder in ("", "lists/", "splits/") for name in (*names_of("val"), "test")]
    if name := next((name for name in names if (root / name).is_file()), None):
        text = f"is not used; lists lie in {root / 'list'}, or in a folder that dataset.splits gives"
        note("list not used", f"{root / name}: {text}")


class FoundPairs:
    """The pairs below a root, as :func:`unimatch.data.splits.labeled.select` needs them."""

    source: type[FileSource] = PairSource
    folders: tuple[str, str] | None
    holds_train = True
    """Whether the training pairs have a folder: lists hold names in it."""

    def __init__(self, info: DatasetInfo, root: Path, options: ChangeOptions) -> None:
        self.info, self.root, self.options, self.val_group = info, root, options, options["val_group"]
        self.folders = first_and_label(root)
        self.own = find_split(root / "list", info.name, None) if (root / "list").is_dir() else SplitLists()
        splits = options["splits"]
        self.lists = SplitLists() if splits is None else find_split(absolute(splits), info.name, options["split"])

    def pool_folder(self, root: Path) -> str:
        """Returns the folder of first dates below another root."""
        return PairTree.of(root).images

    def _listed(self, file: Path) -> FilePairs:
        return read_files(file, self.root, self.folders, self.options)

    def _part(self, part: str) -> FilePairs | None:
        """Finds the pairs of ``val/`` or ``test/``, or of ``A/val`` or ``A/test``; None if there is no such folder."""
        if (within := tree_within(self.root, part)) is not None:
            return within.pairs(self.root, allow_missing=self.options["allow_missing"])
        folder = self.root / part_folder(self.root, part)
        tree = PairTree.of(folder)
        if not (folder / tree.images).is_dir():
            return None
        return tree.pairs(folder, allow_missing=self.options["allow_missing"])

    @cached_property
    def test(self) -> FilePairs | None:
        """The test pairs of a list or a folder; None if there are none."""
        given = self.options["test_list"]
        file = absolute(given) if given is not None else self.lists.test or self.own.test
        if file:
            return self._listed(file)
        if (within := tree_within(self.root, "test")) is not None:
            if (self.root / within.masks).is_dir():
                return self._part("test")
            note("folder not used", f"{self.root / within.images}: not used; it needs labels in {within.masks}")
            return None
        part = part_folder(self.root, "test")
        tree = PairTree.of(self.root / part)
        return self._part("test") if all_there(self.root, f"{part}/{tree.images}", f"{part}/{tree.masks}") else None

    @cached_property
    def train(self) -> FilePairs:
        """The training pairs, without the test pairs."""
        file = self.lists.train or self.own.train
        if file:
            pairs = self._listed(file)
        else:
            missing, without_mask = self.options["allow_missing"], self.options["without_mask"]
            tree, folder = self._training_tree
            pairs = tree.pairs(folder, allow_missing=missing, without_mask=without_mask)
        return pairs if self.test is None else pairs.without(self.test.images())

    @cached_property
    def _training_tree(self) -> tuple[PairTree, Path]:
        """The folders of training pairs, and the folder that holds them."""
        folder = self.root / training_folder(self.root)
        within = tree_within(self.root, "train") if folder == self.root else None
        return within or PairTree.of(folder), folder

    @cached_property
    def val(self) -> FilePairs:
        """The validation pairs of the list or folder below the root, or a share of the training pairs."""
        if self.own.val:
            refuse_group(self.val_group, self.own.val)
            return self._listed(self.own.val)
        options, part = self.options, self._part("val")
        if part:
            refuse_group(self.val_group, "val/")
            return part
        return hold_out(self.train, options["val_share"], options["val_seed"], self.val_group, self.root)

    @cached_property
    def extra(self) -> FilePairs:
        """The unlabelled pairs: those below ``unlabeled/`` of the root or the training folder, and without labels."""
        (tree, train), found = self._training_tree, FilePairs()
        if (train / tree.images).is_dir():
            found = tree.unlabeled(train, self.options["without_mask"])
        above = train / Path(tree.images).parent
        if above != train:  # A/unlabeled beside A/train
            for name in parts_named(above, "unlabeled"):
                found += images_alone(above / name)
        for folder in dict.fromkeys((self.root, train)):
            unlabeled = part_folder(folder, "unlabeled")
            name = f"{unlabeled}/{PairTree.of(folder / unlabeled).images}"
            if all_there(folder, name) and holds_files(folder / name):
                found += images_alone(folder / name)
        return found


levir = ChangeLayout(LEVIR)
"""LEVIR-CD: buildings in aerial photographs, tiles of 256 pixels with lists as published, or the 1024-pixel ones."""

whu = ChangeLayout(WHU)
"""WHU-CD: buildings before and after an earthquake, tiles of 256 pixels with lists as published."""

change_folder = ChangeLayout(CHANGE)
"""Your own pairs: ``A/ B/ label/``, optionally ``unlabeled/A unlabeled/B``, ``val/ test/`` with the same folders."""
