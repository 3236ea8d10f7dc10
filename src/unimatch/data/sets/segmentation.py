"""Finds the images and masks of published layouts, a record for each, and of users' own folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Unpack

from unimatch.data.catalog import ADE20K, CAMVID, CITYSCAPES, COCO, PASCAL, DatasetInfo, distinct_colors
from unimatch.data.sets.class_names import find_classes, note_alike, read_classes
from unimatch.data.sets.own_folders import Place, places_of, pools_of, say_unused_beside, say_unused_lists
from unimatch.data.sources.base import FileSource, SegmentationData
from unimatch.data.sources.files import FilePairs, Tree, existing_root, images_alone
from unimatch.data.splits.hold_out import hold_out, refuse_group
from unimatch.data.splits.labeled import SelectionOptions, names_files, select
from unimatch.data.splits.lists import read_lines
from unimatch.errors import ConfigError, DataError
from unimatch.images.folders import holds_files, holds_images, note, subfolders
from unimatch.options import with_options
from unimatch.types import IGNORE_INDEX


class MaskOptions(SelectionOptions, total=False):
    """The settings of all segmentation data sets; in YAML ``conf/dataset/_segmentation.yaml``."""

    colors: Annotated[
        str | Path | None,
        None,
        "masks are RGB images: ``palette``, in the colours of the data set or of its file of classes, or a file of "
        "names and colours (:func:`unimatch.data.sets.class_names.read_classes`).",
    ]
    reduce_zero_label: Annotated[bool, False, "masks store 0 for no class and classes from 1 on."]


@dataclass(frozen=True)
class Layout:
    """The folders of a published data set; called with its root, it returns the images: ``pascal("VOC2012")``."""

    info: DatasetInfo
    train: Tree
    val: Tree | None = None
    """The validation images; None if they have no folder of their own."""
    test: Tree | None = None
    """The test images, used if their folder exists."""
    val_names: str | None = None
    """A file of validation images' names, used if no list of them is given."""
    unlabeled: tuple[str, ...] = ()
    """Folders of images without masks, used if they exist."""
    val_share: float = 0.0
    """The share of the training images to hold out for validation instead."""
    val_seed: int = 0
    """Chooses these images."""
    val_group: str | None = None
    """A regular expression that finds their groups, which are held out as a whole."""

    @with_options()
    def __call__(self, root: str | Path, **options: Unpack[MaskOptions]) -> SegmentationData:
        """Finds the images below a root.

        Lists are in the published format: ``image_path mask_path`` a line, relative to the root. If no list says which
        images are labelled, unlabelled or held out, the folders do.

        Args:
            root: the data set's folder.

        Raises:
            DataError: a folder, a partner file or a list is missing or malformed.
            ConfigError: the settings contradict each other or do not fit the number of images.
        """
        path = existing_root(root)
        info = with_colors(replace(self.info, reduce_zero_label=options["reduce_zero_label"]), options["colors"])
        info = replace(info, unknown_values=options["unknown_values"], exif=options["exif"])
        return select(FoundImages(replace(self, info=info), path, options), options)


class FoundImages:
    """The images of a layout below a root, as :func:`unimatch.data.splits.labeled.select` needs them."""

    source: type[FileSource] = FileSource
    folders: tuple[str, str] | None = None

    def __init__(self, layout: Layout, root: Path, options: MaskOptions) -> None:
        self.info, self.layout, self.root = layout.info, layout, root
        self.allow_missing, self.without_mask = options["allow_missing"], options["without_mask"]
        self.named, self.val_group = names_files(options), layout.val_group

    @property
    def holds_train(self) -> bool:
        """Whether the training images have a folder, which lists of all images can do without."""
        return (self.root / self.layout.train.images).is_dir()

    def pool_folder(self, root: Path) -> str:
        """Returns no folder: the images of a pool lie anywhere below its root."""
        return ""

    @cached_property
    def train(self) -> FilePairs:
        """The images with masks; validation images may be among them."""
        tree, without_mask = self.layout.train, self.without_mask
        if not tree.every_image_has_mask and not self.named:
            say_other_masks(self.root, tree.masks)
        return tree.pairs(self.root, allow_missing=self.allow_missing, without_mask=without_mask)

    @cached_property
    def val(self) -> FilePairs:
        """The validation images: those of a folder, those that a file names, or a share of the training images."""
        layout = self.layout
        if layout.val_share:
            return hold_out(self.train, layout.val_share, layout.val_seed, layout.val_group, self.root)
        if layout.val is not None:
            return layout.val.pairs(self.root, allow_missing=self.allow_missing)
        if layout.val_names is None or not (self.root / layout.val_names).is_file():
            if not self.named and not self.holds_train:
                return self.train  # which raises an error: the root is another folder
            raise ConfigError(
                f"which images of {self.root} are for validation? Give splits or val_list"
                + (f", or the file {self.root / layout.val_names}" if layout.val_names else "")
            )
        names = set(" ".join(read_lines(self.root / layout.val_names)).split())
        return self.train.select(i for i, pair in enumerate(self.train) if pair.image.stem in names)

    @cached_property
    def test(self) -> FilePairs | None:
        """The images of the test folder; None if there is none."""
        tree = self.layout.test
        if tree is None or not (self.root / tree.images).is_dir():
            return None
        return tree.pairs(self.root, allow_missing=self.allow_missing)

    @cached_property
    def extra(self) -> FilePairs:
        """The unlabelled images: those of the folders of unlabelled ones, and training images without masks."""
        found = self.layout.train.unlabeled(self.root, self.without_mask) if self.holds_train else FilePairs()
        for folder in (self.root / name for name in self.layout.unlabeled):
            if holds_files(folder):
                found += images_alone(folder)
        return found


def say_other_masks(root: Path, used: str) -> None:
    """Warns of folders of masks that are named like the one in use, such as ``SegmentationClassAug``."""
    for name in subfolders(root):
        if name != used and name.lower().startswith(used.lower()) and holds_images(root / name):
            text = (
                f"not used, the masks are those of {used}; put them there, or name the files in lists (dataset.splits)"
            )
            note("folder not used", f"{root / name}: {text}")


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

coco = Layout(COCO, train=Tree("train2017", "masks", own_masks=False), val=Tree("val2017", "masks", own_masks=False))
"""COCO 2017: ``train2017/ val2017/ masks/``, masks drawn from the instance annotations."""

camvid = Layout(CAMVID, train=Tree("train", "trainannot"), val=Tree("val", "valannot"), test=Tree("test", "testannot"))
"""CamVid in SegNet's layout: ``train/ trainannot/ val/ valannot/ test/ testannot/``; mask value 11 or 255 is void."""


FOLDER_REMEDY = (
    "move or rename what is meant, or name the folders (dataset.images, dataset.masks) or all files, in lists "
    "(dataset.labeled_list, dataset.val_list)"
)
"""What to do if a folder of your own is not found."""


@with_options()
def folder(
    root: str | Path,
    *,
    classes: str | Path | Sequence[str] | None = None,
    images: str | Path | None = None,
    masks: str | Path | None = None,
    ignore_colors: Sequence[Sequence[int]] = (),
    ids: Mapping[int, int] | None = None,
    ignore_ids: Sequence[int] = (IGNORE_INDEX,),
    val_share: float = 0.2,
    val_seed: int = 0,
    val_group: str | None = None,
    mask_suffix: str = "",
    name: str = "folder",
    **options: Unpack[MaskOptions],
) -> SegmentationData:
    r"""Finds your own images below a root: ``images/ masks/``, optionally ``unlabeled/ val/images/ val/masks/ test/``.

    Other arrangements are found too (:func:`unimatch.data.sets.own_folders.place_of`). A mask has its image's stem,
    and stores class ids from 0 (or what the arguments below say) with 255 for ignored pixels: a PNG of 8 or 16 bits,
    with a palette, or in colours. An image below ``images/`` without a mask is an error, in case the mask was
    forgotten, unless ``without_mask`` says that it is unlabelled. Lists hold ``image_path mask_path`` a line, relative
    to the root.

    Args:
        root: the folder.
        classes: names in the order of their ids, or a file of them, with or without colours
            (:func:`unimatch.data.sets.class_names.read_classes`). By default ``colors``, if that is a file, or else the
            first of :data:`unimatch.data.sets.class_names.FILES` below the root, such as ``classes.txt``.
        images: the folder of training images, relative to the root or absolute; by default it is found by its name.
        masks: the folder of their masks, likewise; it may be that of the images.
        ignore_colors: the colours of ignored pixels in masks in colours.
        ids: stored id -> class id, if they differ, such as ``{0: 0, 255: 1}``; other ids are errors.
        ignore_ids: stored ids of ignored pixels; 255 always is one, unless ``ids`` names it.
        val_share: the share of the images with masks that is held out for validation if there is no ``val/``.
        val_seed: chooses these images.
        val_group: holds out whole groups, such as the slices of a patient or the frames of a video: a regular
            expression that finds an image's group in its path below the root, such as ``patient_(\d+)``.
        mask_suffix: what comes between the image's name and the extension of its mask, such as ``_mask``; common
            suffixes are found without it.
        name: the name of the data set.

    Raises:
        DataError: a folder, a partner file or the class names are missing.
        ConfigError: the settings contradict each other or do not fit the number of images.
    """
    path, colors = existing_root(root), options["colors"]
    if not 0 <= val_share < 1:
        raise ConfigError(f"val_share={val_share}: must be at least 0 and below 1")
    for color in ignore_colors:
        if len(color) != 3 or not all(0 <= part <= 255 for part in color):
            listed = [list(color) for color in ignore_colors]
            raise ConfigError(f"ignore_colors={listed}: each must be three numbers, 0 to 255")
    if classes is None:
        classes = colors if colors not in (None, "palette") else find_classes(path)
    assert classes is not None
    found = read_classes(classes)
    if colors == "palette" and found.colors is None:
        raise DataError(f"colors=palette: {classes} gives no colours; write lines 'R G B name'")
    note_alike(classes if isinstance(classes, (str, Path)) else "classes", found.names)
    info = DatasetInfo(
        name=name,
        classes=found.names,
        palette=found.colors or distinct_colors(len(found.names)),
        ignore_ids=frozenset(ignore_ids),
        ids=None if ids is None else dict(ids),
        ignore_colors=frozenset((color[0], color[1], color[2]) for color in ignore_colors),
    )
    train, val, test = places = places_of(path, images, masks)
    if val is not None:
        refuse_group(val_group, val.images)
    pools = pools_of(path, train)
    if not names_files(options):
        say_unused_beside(path, places, pools)
        if val is None:
            say_unused_lists(path)

    def tree(place: Place) -> Tree:
        return Tree(*place, mask_suffix=mask_suffix, folder_remedy=FOLDER_REMEDY)

    layout = Layout(
        info,
        train=tree(train),
        val=tree(val or Place("val/images", "val/masks")),
        test=test and tree(test),
        unlabeled=pools,
        val_share=0.0 if val else val_share,
        val_seed=val_seed,
        val_group=val_group,
    )
    return layout(path, **options)


def with_colors(info: DatasetInfo, colors: str | Path | None) -> DatasetInfo:
    """Returns a data set's facts with its masks in colours: those of its palette, or of a file that names its classes.

    Raises:
        DataError: the file gives no colours, or has other classes.
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
