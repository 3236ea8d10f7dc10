"""From a folder's layout to a :class:`SegmentationData`: one record per published layout, and your own images."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unimatch.data.catalog import ADE20K, CAMVID, CITYSCAPES, COCO, PASCAL, DatasetInfo, distinct_colors
from unimatch.data.sets.class_names import find_classes, read_classes
from unimatch.data.sources.base import FileSource, OnBadImage, SegmentationData
from unimatch.data.sources.files import FilePairs, Tree, find_images
from unimatch.data.splits.lists import choose_labeled, read_lines
from unimatch.data.splits.selection import Pool, Selection, absolute
from unimatch.errors import ConfigError, DataError
from unimatch.types import IGNORE_INDEX

log = logging.getLogger("unimatch")


@dataclass(frozen=True)
class Layout:
    """The folders of a published data set. Called with a root, it gives the images: ``pascal("VOC2012")``."""

    info: DatasetInfo
    train: Tree
    val: Tree | None = None
    """None where the folders do not tell validation images apart."""
    test: Tree | None = None
    """Used where there is such a folder."""
    val_names: str | None = None
    """A file of validation images' names, used where no list of them is given."""
    unlabeled: str | None = None
    """A folder of images without masks, used where there is one."""
    val_share: float = 0.0
    """The share of the training images to hold out for validation instead."""
    val_seed: int = 0
    """Which images those are."""

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
        unlabeled: Pool | Sequence[Pool] = "rest",
        allow_outside: bool = False,
        on_bad_image: OnBadImage = "error",
        colors: str | Path | None = None,
        reduce_zero_label: bool = False,
    ) -> SegmentationData:
        """The images below a root.

        Lists are in the published format: ``image_path mask_path`` a line, relative to the root. Where no list
        says which images are labelled, unlabelled or held out, the folders do.

        Args:
            root: the data set's folder.
            splits: a folder of lists, as published: ``SPLITS/DATASET/SPLIT/{labeled,unlabeled}.txt`` and
                ``SPLITS/DATASET/val.txt``.
            split: which of them, such as ``1_16``.
            labeled: number of labelled training images, None for all; instead of lists.
            split_seed: which images those are.
            labeled_list: a list file of the labelled images.
            unlabeled_list: of the unlabelled ones; by default all training images that are not labelled.
            val_list: of the validation images.
            unlabeled: the unlabelled pool, or several: ``rest``, what is said above; ``train``, all training
                images, the labelled ones included; ``{root: FOLDER}``, all images below another folder;
                ``{root: FOLDER, list: FILE}``, those of a list, relative to that folder.
            allow_outside: whether files may lie outside the root and the pools' folders, by ``..`` or links.
            on_bad_image: what to do with an unlabelled image that cannot be read: ``error``, or ``skip``, which
                takes another one, counts it and says so. Other images are never skipped.
            colors: masks are RGB images: ``palette``, in the published colours, or a file of names and colours
                (:func:`unimatch.data.sets.class_names.read_classes`).
            reduce_zero_label: masks store 0 for no class and classes from 1 on.

        Raises:
            DataError: a folder, a partner file or a list is missing or malformed.
            ConfigError: the settings contradict each other or do not fit the number of images.
        """
        if on_bad_image not in ("error", "skip"):
            raise ConfigError(f"dataset.on_bad_image={on_bad_image}: must be 'error' or 'skip'")
        path = existing_root(root)
        info = with_colors(replace(self.info, reduce_zero_label=reduce_zero_label), colors)
        selection = Selection(
            dataset=self.info.name,
            root=path,
            train=lambda: self.train.pairs(path),
            val=lambda: self._val_pairs(path),
            extra=self._extra(path),
            labeled=labeled,
            split_seed=split_seed,
            splits=splits,
            split=split,
            labeled_list=labeled_list,
            unlabeled_list=unlabeled_list,
            val_list=val_list,
            unlabeled=unlabeled,
            allow_outside=allow_outside,
        )
        test = self.test.pairs(path) if self.test and (path / self.test.images).is_dir() else None
        return SegmentationData(
            info,
            labeled=FileSource(selection.labeled_pairs, info, roots=selection.roots),
            unlabeled=FileSource(selection.unlabeled_pairs, info, roots=selection.roots, optional_masks=True),
            val=FileSource(selection.val_pairs, info, roots=selection.roots),
            test=FileSource(test, info, roots=selection.roots) if test else None,
            on_bad_image=on_bad_image,
        )

    def _extra(self, root: Path) -> FilePairs:
        if self.unlabeled is None or not (root / self.unlabeled).is_dir():
            return FilePairs()
        return FilePairs((str(root / self.unlabeled / file), None) for file in find_images(root / self.unlabeled))

    def _val_pairs(self, root: Path) -> FilePairs:
        if self.val is not None and not self.val_share:
            return self.val.pairs(root)
        train = self.train.pairs(root)
        if self.val_share:
            return hold_out(train, self.val_share, self.val_seed)
        if self.val_names is None or not (root / self.val_names).is_file():
            raise ConfigError(
                f"which images of {root} are for validation? Give dataset.splits or dataset.val_list"
                + (f", or the file {root / self.val_names}" if self.val_names else "")
            )
        names = set(" ".join(read_lines(root / self.val_names)).split())
        return train.select(i for i, pair in enumerate(train) if pair.image.stem in names)


def hold_out(train: FilePairs, share: float, seed: int) -> FilePairs:
    """Some of the training images for validation.

    Args:
        train: all images with masks.
        share: of them to hold out, at least one.
        seed: which ones.

    Raises:
        ConfigError: none would be left to train on.
    """
    count = max(1, round(share * len(train)))
    if count >= len(train):
        raise ConfigError(f"dataset.val_share={share}: of {len(train)} images with masks none is left to train on")
    log.info(
        "no folder of validation images: %d of the %d images with masks are held out "
        "(dataset.val_share=%s, dataset.val_seed=%d)",
        count,
        len(train),
        share,
        seed,
    )
    return train.select(choose_labeled(len(train), count, seed)[0])


pascal = Layout(
    PASCAL,
    train=Tree("JPEGImages", "SegmentationClass", every_image_has_mask=False),
    val_names="ImageSets/Segmentation/val.txt",
)
"""Pascal VOC 2012 with the masks of SBD beside its own: ``JPEGImages/ SegmentationClass/``."""

cityscapes = Layout(
    CITYSCAPES,
    train=Tree("leftImg8bit/train", "gtFine/train", "_leftImg8bit.png", "_gtFine_labelTrainIds.png"),
    val=Tree("leftImg8bit/val", "gtFine/val", "_leftImg8bit.png", "_gtFine_labelTrainIds.png"),
)
"""Cityscapes: ``leftImg8bit/ gtFine/``, masks ``*_gtFine_labelTrainIds.png``."""

ade20k = Layout(
    ADE20K,
    train=Tree("images/training", "annotations/training"),
    val=Tree("images/validation", "annotations/validation"),
)
"""ADE20K (the 150 classes of SceneParse150): ``images/ annotations/``, each ``training/ validation/``; 255 is other."""

coco = Layout(COCO, train=Tree("train2017", "masks"), val=Tree("val2017", "masks"))
"""COCO 2017: ``train2017/ val2017/ masks/``, masks drawn from the instance annotations."""

camvid = Layout(CAMVID, train=Tree("train", "trainannot"), val=Tree("val", "valannot"), test=Tree("test", "testannot"))
"""CamVid in SegNet's layout: ``train/ trainannot/ val/ valannot/ test/ testannot/``; mask value 11 or 255 is void."""


def folder(
    root: str | Path,
    *,
    splits: str | Path | None = None,
    split: str | int | None = None,
    labeled: int | None = None,
    split_seed: int = 0,
    labeled_list: str | Path | None = None,
    unlabeled_list: str | Path | None = None,
    val_list: str | Path | None = None,
    unlabeled: Pool | Sequence[Pool] = "rest",
    allow_outside: bool = False,
    on_bad_image: OnBadImage = "error",
    classes: str | Path | Sequence[str] | None = None,
    colors: str | Path | None = None,
    ignore_colors: Sequence[Sequence[int]] = (),
    ids: Mapping[int, int] | None = None,
    ignore_ids: Sequence[int] = (IGNORE_INDEX,),
    reduce_zero_label: bool = False,
    val_share: float = 0.2,
    val_seed: int = 0,
    name: str = "folder",
) -> SegmentationData:
    """Your own images: ``images/ masks/`` and optionally ``unlabeled/ val/images/ val/masks/ test/`` below a root.

    A mask has its image's stem and stores class ids from 0 (or what the arguments below say), with 255 where a
    pixel is not to be counted: a PNG of 8 or 16 bits, of a palette, or of colours. Images below ``images/`` without
    a mask must be moved to ``unlabeled/``, so that a forgotten mask is noticed.

    Args:
        root: the folder.
        splits: see :meth:`Layout.__call__`, as for the arguments that follow.
        split: likewise.
        labeled: number of labelled images, None for all that have a mask.
        split_seed: which images those are.
        labeled_list: a list file of the labelled images.
        unlabeled_list: of the unlabelled ones; by default those of ``unlabeled/`` and all that are not labelled.
        val_list: of the validation images.
        unlabeled: the unlabelled pool, or several.
        allow_outside: whether files may lie outside the root and the pools' folders.
        on_bad_image: what to do with an unlabelled image that cannot be read.
        classes: names in the order of their ids, or a file of them, with colours or without
            (:func:`unimatch.data.sets.class_names.read_classes`). By default ``colors``, if that is a file, or
            ``classes.txt`` or ``classes.json`` below the root.
        colors: masks are RGB images: ``palette``, in the colours that the file of classes gives, or a file.
        ignore_colors: colours of such masks that are no class.
        ids: stored id -> class id, where they differ, such as ``{0: 0, 255: 1}``; no others may occur.
        ignore_ids: stored ids that are no class; 255 is one in any case, unless ``ids`` names it.
        reduce_zero_label: masks store 0 for no class and classes from 1 on.
        val_share: the share of the images with masks that is held out for validation where there is no ``val/``.
        val_seed: which images those are.
        name: what to call the data set.

    Raises:
        DataError: a folder, a partner file or the class names are missing.
        ConfigError: the settings contradict each other or do not fit the number of images.
    """
    path = existing_root(root)
    if not 0 <= val_share < 1:
        raise ConfigError(f"dataset.val_share={val_share}: must be at least 0 and below 1")
    if classes is None:
        classes = colors if colors not in (None, "palette") else find_classes(path)
    assert classes is not None
    found = read_classes(classes)
    if colors == "palette" and found.colors is None:
        raise DataError(f"dataset.colors=palette: {classes} gives no colours; write lines 'R G B name'")
    info = DatasetInfo(
        name=name,
        classes=found.names,
        palette=found.colors or distinct_colors(len(found.names)),
        ignore_ids=frozenset(ignore_ids),
        ids=None if ids is None else dict(ids),
        ignore_colors=frozenset((color[0], color[1], color[2]) for color in ignore_colors),
    )
    layout = Layout(
        info,
        train=Tree("images", "masks"),
        val=Tree("val/images", "val/masks"),
        test=Tree("test/images", "test/masks"),
        unlabeled="unlabeled",
        val_share=0.0 if (path / "val").is_dir() else val_share,
        val_seed=val_seed,
    )
    return layout(
        path,
        splits=splits,
        split=split,
        labeled=labeled,
        split_seed=split_seed,
        labeled_list=labeled_list,
        unlabeled_list=unlabeled_list,
        val_list=val_list,
        unlabeled=unlabeled,
        allow_outside=allow_outside,
        on_bad_image=on_bad_image,
        colors=colors,
        reduce_zero_label=reduce_zero_label,
    )


def with_colors(info: DatasetInfo, colors: str | Path | None) -> DatasetInfo:
    """The same data set with masks in colours: those of its palette, or of a file that names its classes.

    Raises:
        DataError: the file names no colours, or other classes.
    """
    if colors is None:
        return info
    if colors == "palette":
        return replace(info, color_masks=True)
    found = read_classes(colors)
    if found.colors is None:
        raise DataError(f"{colors}: gives no colours; write lines 'R G B name'")
    if found.names != info.classes:
        raise DataError(f"{colors}: must name the {info.num_classes} classes in their order: {', '.join(info.classes)}")
    return replace(info, palette=found.colors, color_masks=True)


def existing_root(root: str | Path) -> Path:
    """The root as an absolute path.

    Raises:
        DataError: there is no such folder.
    """
    path = absolute(root)
    if not path.is_dir():
        raise DataError(f"dataset.root={root}: no such folder (looked at {path.resolve()})")
    return path
