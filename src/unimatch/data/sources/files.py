"""Stores pairs of image and mask files compactly, and finds them in folders."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unimatch.data.sources.one_folder import photos_and_masks
from unimatch.data.sources.pair_names import further_mask, in_other_folder, pair_similar, several_masks
from unimatch.errors import DataError
from unimatch.images.folders import find_images, note, parts_named, suffix
from unimatch.wording import counted


@dataclass(frozen=True)
class FilePair:
    """One image file and, where it is labelled, its mask file."""

    image: Path
    mask: Path | None = None


class FilePairs(Sequence[FilePair]):
    """Pairs of image and mask files, stored as one block of text.

    As objects a million paths take a gigabyte, and as much again in every worker that touches their reference counts.
    The block is shared by all processes, and is quickly sent to new ones.

    Args:
        names: the paths of each image and of its mask, or None.

    >>> pairs = FilePairs([("a.jpg", "a.png"), ("b.jpg", None)])
    >>> pairs[1], pairs.image(0), len(pairs + pairs)
    (FilePair(image=PosixPath('b.jpg'), mask=None), 'a.jpg', 4)
    """

    def __init__(self, names: Iterable[tuple[str, str | None]] = ()) -> None:
        flat = [name or "" for pair in names for name in pair]
        self._text = os.fsencode("".join(f"{name}\0" for name in flat))
        self._ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == 0)
        if len(self._ends) != len(flat):
            raise ValueError("a file's name cannot hold a zero byte")

    @classmethod
    def of(cls, pairs: Iterable[FilePair]) -> "FilePairs":
        """Makes them from single pairs."""
        return cls((str(pair.image), None if pair.mask is None else str(pair.mask)) for pair in pairs)

    def __len__(self) -> int:
        return len(self._ends) // 2

    def __getitem__(self, index: int) -> FilePair:  # type: ignore[override]  # no slices: `select` chooses
        mask = self.mask(index)
        return FilePair(Path(self.image(index)), None if mask is None else Path(mask))

    def __add__(self, other: "FilePairs") -> "FilePairs":
        result = FilePairs()
        result._text = self._text + other._text
        result._ends = np.concatenate([self._ends, other._ends + len(self._text)])
        return result

    def image(self, index: int) -> str:
        """Returns the image's path."""
        return self._name(2 * self._checked(index))

    def mask(self, index: int) -> str | None:
        """Returns the mask's path; None if there is none."""
        return self._name(2 * self._checked(index) + 1) or None

    def images(self) -> Iterator[str]:
        """Yields the path of every image."""
        return (self._name(2 * index) for index in range(len(self)))

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Yields the paths of every pair."""
        return ((self.image(index), self.mask(index)) for index in range(len(self)))

    def select(self, indices: Iterable[int]) -> "FilePairs":
        """Returns some of the pairs, in the order of the indices."""
        return FilePairs((self.image(index), self.mask(index)) for index in indices)

    def without(self, images: Iterable[str]) -> "FilePairs":
        """Returns the pairs whose images are not among these."""
        unwanted = set(images)
        return FilePairs(pair for pair in self.names() if pair[0] not in unwanted) if unwanted else self

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        return index % len(self)

    def _name(self, slot: int) -> str:
        start = self._ends[slot - 1] + 1 if slot else 0
        return os.fsdecode(self._text[start : self._ends[slot]])


def images_alone(folder: Path) -> FilePairs:
    """Finds the images below a folder, as pairs without masks."""
    return FilePairs((str(folder / name), None) for name in find_images(folder))


def lies_within(file: str, roots: tuple[str, ...]) -> bool:
    """Tells whether a file lies in one of the folders after links are followed."""
    real = os.path.realpath(file)
    return any(real.startswith(os.path.join(os.path.realpath(root), "")) for root in roots)  # noqa: PTH118


def outside(where: str, name: str, root: str) -> str:
    """Writes the message for a file outside its root."""
    return (
        f"{where}: {name} lies outside {root}; correct it, or allow it: dataset.allow_outside=true "
        "(in Python allow_outside=True)"
    )


WithoutMask = Literal["error", "unlabeled"]
"""How training images without a mask are treated: see :class:`unimatch.data.splits.labeled.SelectionOptions`."""


@dataclass(frozen=True)
class Tree:
    """Two folders below a root, of images and of masks, in which an image and its mask have the same name and path.

    Images without a mask in a subfolder ``unlabeled`` of the folder of images are unlabelled. The two may be one
    folder, in which the names tell masks from images (:func:`unimatch.data.sources.one_folder.divide`).
    """

    images: str
    masks: str
    image_ending: str | None = None
    """The end of an image's name after the common part; None for any image extension."""
    mask_ending: str | None = None
    """The same for a mask."""
    every_image_has_mask: bool = True
    """If not, images without a mask are left out."""
    mask_suffix: str = ""
    """What comes between the common name and the extension of a mask, such as ``_mask``."""
    own_masks: bool = True
    """Whether the folder of masks holds only those of these images."""
    suffix_remedy: str = "if a suffix is why: dataset=folder takes dataset.mask_suffix"
    """What a message says to do if names of masks have more than those of images."""
    folder_remedy: str = (
        "move or rename what is meant, or name the files in lists (dataset.labeled_list, dataset.val_list)"
    )
    """What a message says to do if one of the folders is not there."""

    def pairs(self, root: Path, *, allow_missing: bool = False, without_mask: WithoutMask | None = None) -> FilePairs:
        """Finds the pairs below a root, sorted by the image's name.

        Args:
            root: the folder that holds the two.
            allow_missing: whether an image without a mask is returned with the path that the mask should have, for the
                full check to report.
            without_mask: the setting of this name, for training images; with ``unlabeled``, images without a mask are
                left out.

        Raises:
            DataError: a folder is missing or empty, two files differ only in their extension, or an image has no mask.
        """
        found, unused = self._found(root)
        if without_mask is not None and (pool := self._pool(root)):
            found = FilePairs(pair for pair in found.names() if pair[1] or not pair[0].startswith(pool))
        images, masks = root / self.images, root / self.masks
        without = [image for image, mask in found.names() if mask is None]
        hint = ""
        if without:
            name = without[0].removeprefix(f"{images}{os.sep}")
            hint = several_masks(name, unused) or in_other_folder(name, unused)
        if self.own_masks and unused:
            used = (mask.removeprefix(f"{masks}{os.sep}") for _, mask in found.names() if mask)
            remedy = further_mask(unused, used) or (without and (hint or f"; {self.suffix_remedy}")) or ""
            note(
                "masks without image",
                f"{masks}: {counted(len(unused), 'mask')} with the name of no image in {images}, such as {unused[0]}, "
                f"not used{remedy}",
            )
        if not without:
            return found
        if not self.every_image_has_mask or without_mask == "unlabeled":
            pairs = FilePairs(pair for pair in found.names() if pair[1] is not None)
            if not pairs:
                raise DataError(f"{masks}: none of these masks has the name of an image in {images}")
            return pairs
        if allow_missing:
            return FilePairs((image, mask or self._mask_of(root, image)) for image, mask in found.names())
        there = (
            f" ({counted(len(unused), 'mask')} there with the name of no image, such as {unused[0]}{hint})"
            if unused
            else ""
        )
        others = len(without) - 1
        more = f", and {others} more image{'s have' if others > 1 else ' has'} none" if others else ""
        setting = "; or dataset.without_mask=unlabeled, which takes all that have none for unlabelled ones"
        raise DataError(
            f"{without[0]}: no mask {self._mask_of(root, without[0])}{there}{more}; add it, or move the image to the "
            f"unlabelled images{setting if without_mask else ''}"
        )

    def unlabeled(self, root: Path, without_mask: WithoutMask) -> FilePairs:
        """Finds the unlabelled images below a root, sorted by name.

        With ``without_mask="unlabeled"`` these are all images without a mask, else those of them in ``unlabeled``.
        """
        where = (f"{root / self.images}{os.sep}",) if without_mask == "unlabeled" else self._pool(root)
        found = self._found(root)[0].names() if where else ()
        return FilePairs((image, None) for image, mask in found if mask is None and image.startswith(where))

    def _pool(self, root: Path) -> tuple[str, ...]:
        """Returns the beginning of the paths of images in ``unlabeled``."""
        images = root / self.images
        return tuple(f"{images / name}{os.sep}" for name in parts_named(images, "unlabeled"))

    def images_and_masks(self, root: Path) -> FilePairs:
        """Finds all images below a root, sorted by name, each with its mask if it has one."""
        return self._found(root)[0]

    def _found(self, root: Path) -> tuple[FilePairs, list[str]]:
        """Finds the images with their masks, and the masks of no image.

        Files whose names differ are paired if they are similar and only one pairing is possible.
        """
        images, masks = root / self.images, root / self.masks
        if images == masks:
            photos, labels = photos_and_masks(root, self.images, self.mask_suffix)
            if not labels:
                text = "no masks of these images, neither beside them (a_mask.png of a.jpg) nor in a folder of masks"
                raise DataError(f"{images}: {text}; {self.folder_remedy}; unlabelled images go to unlabeled/")
        else:
            photos = find_images(images, remedy=self.folder_remedy)
            labels = find_images(masks, masks=True, remedy=self.folder_remedy)
        image_of = by_common_name(
            images, photos, self.image_ending, "rename one of the two, or move a mask to the masks"
        )
        mask_of = by_common_name(
            masks, labels, self.mask_ending, "keep one of the two masks", self.mask_suffix, masks=True
        )
        unused = {name: mask for name, mask in mask_of.items() if name not in image_of}
        if unused and self.image_ending is None and self.mask_ending is None:
            without = {name: image for name, image in image_of.items() if name not in mask_of}
            similar = pair_similar(without, unused)
            for name, mask_name in similar.items():
                mask_of[name] = unused.pop(mask_name)
            if similar and images != masks:
                name, mask_name = next(iter(similar.items()))
                note(
                    "paired by likeness",
                    f"{masks}: {counted(len(similar), 'mask')} paired by likeness, as the names of masks and images "
                    f"differ by more than the extension: {mask_of[name]} with {image_of[name]}",
                )
        pairs = FilePairs(
            (f"{images}{os.sep}{image}", f"{masks}{os.sep}{mask_of[name]}" if name in mask_of else None)
            for name, image in image_of.items()
        )
        return pairs, sorted(unused.values())

    def _mask_of(self, root: Path, image: str) -> str:
        """Returns the path that a missing mask should have."""
        name = image.removeprefix(f"{root / self.images}{os.sep}").removesuffix(self.image_ending or suffix(image))
        mark = self.mask_suffix or ("_mask" if root / self.images == root / self.masks else "")
        return f"{root / self.masks}{os.sep}{name}{mark}{self.mask_ending or '.png'}"


def by_common_name(
    directory: Path,
    files: Sequence[str],
    ending: str | None,
    remedy: str,
    name_suffix: str = "",
    *,
    masks: bool = False,
) -> dict[str, str]:
    """Returns the files of a folder that end in a suffix and ending, by their names without these.

    Raises:
        DataError: two files have one name, or there is no such file.
    """
    result: dict[str, str] = {}
    for file in files:
        end = name_suffix + (suffix(file) if ending is None else ending)
        if not file.endswith(end):
            continue
        name = file.removesuffix(end)
        if name in result:
            raise DataError(f"{directory / file}: {result[name]} has the same stem; {remedy}")
        result[name] = file
    if not result:
        prepared = "; python -m unimatch.prepare makes such masks" if ending and masks else ""
        raise DataError(f"{directory}: no files ending in {name_suffix}{ending or ''}; {file} is there{prepared}")
    return result


def absolute(path: str | Path) -> Path:
    """Returns a path as absolute, without ``..`` and ``~``, so that one file has one path."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def existing_root(root: str | Path) -> Path:
    """Returns a data set's root as an absolute path.

    Raises:
        DataError: there is no such folder.
    """
    path = absolute(root)
    if not path.is_dir():
        there = "is a file; unpack it, or give the folder it lies in" if path.is_file() else "no such folder"
        raise DataError(f"root={root}: {there} (looked at {path.resolve()})")
    return path
