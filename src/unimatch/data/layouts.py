"""From a folder's layout to a :class:`SegmentationData`: one record per published layout, and your own images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unimatch.data.catalog import ADE20K, CAMVID, CITYSCAPES, COCO, PASCAL, DatasetInfo, distinct_colors
from unimatch.data.classes import read_classes
from unimatch.data.files import FilePairs, Tree, find_images
from unimatch.data.selection import Pool, Selection
from unimatch.data.sources import FileSource, SegmentationData
from unimatch.data.splits import read_lines
from unimatch.errors import ConfigError, DataError


@dataclass(frozen=True)
class Layout:
    """A published data set's folders. Called with its root, it gives the images: ``unimatch.pascal("VOC2012")``."""

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

        Raises:
            DataError: a folder, a partner file or a list is missing or malformed.
            ConfigError: the settings contradict each other or do not fit the number of images.
        """
        path = existing_root(root)
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
            self.info,
            labeled=FileSource(selection.labeled_pairs, self.info, roots=selection.roots),
            unlabeled=FileSource(selection.unlabeled_pairs, self.info, roots=selection.roots, optional_masks=True),
            val=FileSource(selection.val_pairs, self.info, roots=selection.roots),
            test=FileSource(test, self.info, roots=selection.roots) if test else None,
        )

    def _extra(self, root: Path) -> FilePairs:
        if self.unlabeled is None or not (root / self.unlabeled).is_dir():
            return FilePairs()
        return FilePairs((str(root / self.unlabeled / file), None) for file in find_images(root / self.unlabeled))

    def _val_pairs(self, root: Path) -> FilePairs:
        if self.val is not None:
            return self.val.pairs(root)
        if self.val_names is None or not (root / self.val_names).is_file():
            raise ConfigError(
                f"which images of {root} are for validation? Give dataset.splits or dataset.val_list"
                + (f", or the file {root / self.val_names}" if self.val_names else "")
            )
        names = set(" ".join(read_lines(root / self.val_names)).split())
        pairs = self.train.pairs(root)
        return pairs.select(i for i, pair in enumerate(pairs) if pair.image.stem in names)


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
    classes: str | Path | Sequence[str] | None = None,
    name: str = "folder",
) -> SegmentationData:
    """Your own images: ``images/ masks/ val/images/ val/masks/`` and optionally ``unlabeled/ test/`` below a root.

    A mask has its image's stem and holds class ids from 0, with 255 where a pixel is not to be counted. Images
    below ``images/`` without a mask must be moved to ``unlabeled/``, so that a forgotten mask is noticed.

    Args:
        root: the folder.
        splits: see :class:`Layout`, as for the arguments that follow.
        split: likewise.
        labeled: number of labelled images, None for all that have a mask.
        split_seed: which images those are.
        labeled_list: a list file of the labelled images.
        unlabeled_list: of the unlabelled ones; by default those of ``unlabeled/`` and all that are not labelled.
        val_list: of the validation images.
        unlabeled: the unlabelled pool, or several.
        allow_outside: whether files may lie outside the root and the pools' folders.
        classes: names in the order of their ids, or a file of them: JSON (a list of names) or text (one a line).
            By default ``classes.txt`` or ``classes.json`` below the root.
        name: what to call the data set.

    Raises:
        DataError: a folder, a partner file or the class names are missing.
        ConfigError: the settings contradict each other or do not fit the number of images.
    """
    path = existing_root(root)
    names = read_classes(path, classes)
    info = DatasetInfo(name=name, classes=names, palette=distinct_colors(len(names)))
    layout = Layout(
        info,
        train=Tree("images", "masks"),
        val=Tree("val/images", "val/masks"),
        test=Tree("test/images", "test/masks"),
        unlabeled="unlabeled",
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
    )


def existing_root(root: str | Path) -> Path:
    """The root as an absolute path.

    Raises:
        DataError: there is no such folder.
    """
    path = Path(root).expanduser().absolute()
    if not path.is_dir():
        raise DataError(f"dataset.root={root}: no such folder (looked at {path.resolve()})")
    return path
