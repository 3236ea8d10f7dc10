"""Reads pairs of dates from files, and finds the folders that hold them."""

import re
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from unimatch.data.sets.own_folders import is_by_part, mask_folder
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePairs, Tree, WithoutMask
from unimatch.errors import DataError
from unimatch.images.folders import (
    MASK_WORD,
    find_images,
    holds_images,
    note,
    parts_named,
    subfolders,
    what_is_there,
)
from unimatch.images.pairs import date_folders, other_spelling, second_date, second_folder
from unimatch.wording import counted

BEFORE, AFTER, LABEL = "A", "B", "label"
"""The folders of the first date, the second date, and the labels of change."""

USUAL_FOLDERS = f"pairs lie in {BEFORE}/ {AFTER}/ {LABEL}/ below the root, or below its train/ val/ test/"
"""The remedy in messages about missing folders."""

is_of_one_date = re.compile(rf"(?:{MASK_WORD})[_-]?(?:t|im|time|date)?[12AB]", re.IGNORECASE).fullmatch
"""Matches the name of a folder with the masks of one date, such as ``label1`` beside ``label2`` in SECOND."""

is_of_changes = re.compile(r"out|cm|changes?|change[_-]?maps?", re.IGNORECASE).fullmatch
"""Matches names of the folder of labels in some data sets, such as CDD, besides the words for masks."""


class PairSource(FileSource):
    """Pairs of images of one place, each with a mask of what has changed.

    Args:
        pairs: the images of the first date, and the masks. The second date has the name of the first one in the folder
            ``B`` beside ``A`` (:func:`unimatch.images.pairs.second_date`).
        info: as all following arguments, see :class:`unimatch.data.sources.base.FileSource`.
    """

    @override
    def image_paths(self, index: int) -> list[Path]:
        before = self.pairs.image(index)
        return [Path(before), Path(second_date(before, self.roots))]


@dataclass(frozen=True)
class PairTree(Tree):
    """The folders of pairs and masks below a root."""

    images: str = BEFORE
    masks: str = LABEL
    suffix_remedy: str = "the three files of a pair need one name"

    @classmethod
    def of(cls, root: Path) -> "PairTree":
        """Finds these folders below a root: ``A/ B/ label/`` or, for example, ``t1/ t2/ mask/``."""
        first, _ = date_folders(root) or (BEFORE, AFTER)
        named = [LABEL] if (root / LABEL).is_dir() else [name for name in subfolders(root) if is_of_changes(name)]
        return cls(first, named[0] if len(named) == 1 else mask_folder(root) or LABEL)

    @override
    def pairs(self, root: Path, *, allow_missing: bool = False, without_mask: WithoutMask | None = None) -> FilePairs:
        if not (root / self.images).is_dir():
            raise DataError(f"{root / self.images}: no such folder{what_is_there(root)}; {USUAL_FOLDERS}")
        if not (root / self.masks).is_dir():
            raise DataError(f"{root / self.masks}: no such folder{what_is_there(root)}; {labels_remedy(root)}")
        pairs = super().pairs(root, allow_missing=allow_missing, without_mask=without_mask)
        missing = [name for name in pairs.images() if not Path(second_date(name, [root])).is_file()]
        if missing and not allow_missing:
            absent = second_date(missing[0], [root])
            raise DataError(
                f"{absent}: no such file{other_spelling(Path(absent))}; it is the second date of "
                f"{missing[0]} and has its name"
                + (f" (and {len(missing) - 1} more like this)" if len(missing) > 1 else "")
            )
        point_out_later_dates(root, self.images, self.images_and_masks(root) if without_mask == "unlabeled" else pairs)
        return pairs


def labels_remedy(root: Path) -> str:
    """Says, for a message, how to get the missing folder of labels."""
    of_dates = [name for name in subfolders(root) if is_of_one_date(name)]
    if len(of_dates) > 1:
        return (
            f"{' and '.join(of_dates)} seem to hold the classes at each date, and what has changed is needed: write "
            f"{LABEL}/ of them, of 255 where a pixel has changed and 0 elsewhere (in SECOND all but white has changed; "
            "of maps of the whole image what differs)"
        )
    return USUAL_FOLDERS


def point_out_later_dates(root: Path, images: str, pairs: FilePairs) -> None:
    """Warns of images of the second date that have no first date, so that they belong to no pair."""
    before, (first, *part) = root / images, Path(images).parts
    after = root.joinpath(second_folder(first) or AFTER, *part)
    paired = {second_date(name, [root]) for name in pairs.images()}
    there = find_images(after) if after.is_dir() and holds_images(after) else []
    unused = [name for name in there if str(after / name) not in paired]
    if unused:
        note(
            "second dates alone",
            f"{after}: {counted(len(unused), 'image')} with the name of none in {before}, such as {unused[0]}, "
            "not used",
        )


def tree_within(root: Path, part: str) -> PairTree | None:
    """Returns where a part lies within the folders of dates and labels: ``A/train B/train label/train``.

    None if these folders are not divided into parts, or do not have this one.
    """
    tree = PairTree.of(root)
    if not is_by_part(root / tree.images) or not (names := parts_named(root / tree.images, part)):
        return None
    labels = parts_named(root / tree.masks, part)
    return PairTree(f"{tree.images}/{names[0]}", f"{tree.masks}/{(labels or names)[0]}")


def training_folder(root: Path) -> str:
    """Returns the name of the folder of training pairs below a root, such as ``train``; "" if it is the root itself."""
    there = parts_named(root, "train")
    return next((name for name in there if (root / name / PairTree.of(root / name).images).is_dir()), "")


def first_and_label(root: Path) -> tuple[str, str]:
    """Returns the folders below a root that hold the first dates and the labels of training pairs."""
    train = training_folder(root)
    tree, part = PairTree.of(root / train), f"{train}/" if train else ""
    return f"{part}{tree.images}", f"{part}{tree.masks}"


def all_there(root: Path, *folders: str) -> bool:
    """Tells whether a part has all its folders; warns if it holds images but not in these folders."""
    part = root / folders[0].partition("/")[0]
    there = all((root / folder).is_dir() for folder in folders)
    if not there and part.is_dir() and holds_images(part):
        note("folder not used", f"{part}: not used; it needs the folders {' and '.join(folders)}")
    return there
