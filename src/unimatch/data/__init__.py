"""Files -> batches."""

from typing import TYPE_CHECKING

from unimatch.lazy_imports import on_first_use

if TYPE_CHECKING:
    from unimatch.data.catalog import DatasetInfo as DatasetInfo
    from unimatch.data.loading.datamodule import SemiSupervisedDataModule as SemiSupervisedDataModule
    from unimatch.data.sets.change import change_folder as change_folder
    from unimatch.data.sets.change import levir as levir
    from unimatch.data.sets.change import whu as whu
    from unimatch.data.sets.change_demo import change_demo as change_demo
    from unimatch.data.sets.cifar10 import cifar10 as cifar10
    from unimatch.data.sets.digits import digits as digits
    from unimatch.data.sets.digits_classification import digits_classification as digits_classification
    from unimatch.data.sets.image_folder import image_folder as image_folder
    from unimatch.data.sets.image_folder import imagenet as imagenet
    from unimatch.data.sets.segmentation import ade20k as ade20k
    from unimatch.data.sets.segmentation import camvid as camvid
    from unimatch.data.sets.segmentation import cityscapes as cityscapes
    from unimatch.data.sets.segmentation import coco as coco
    from unimatch.data.sets.segmentation import folder as folder
    from unimatch.data.sets.segmentation import pascal as pascal
    from unimatch.data.sets.stl10 import stl10 as stl10
    from unimatch.data.sets.svhn import svhn as svhn
    from unimatch.data.sources.base import FileSource as FileSource
    from unimatch.data.sources.base import SegmentationData as SegmentationData
    from unimatch.data.sources.base import Source as Source
    from unimatch.data.sources.files import FilePair as FilePair
    from unimatch.data.sources.files import FilePairs as FilePairs

HOMES = {
    "DatasetInfo": "catalog",
    "FilePair": "sources.files",
    "FilePairs": "sources.files",
    "FileSource": "sources.base",
    "SegmentationData": "sources.base",
    "SemiSupervisedDataModule": "loading.datamodule",
    "Source": "sources.base",
    "ade20k": "sets.segmentation",
    "camvid": "sets.segmentation",
    "change_demo": "sets.change_demo",
    "change_folder": "sets.change",
    "cifar10": "sets.cifar10",
    "cityscapes": "sets.segmentation",
    "coco": "sets.segmentation",
    "digits": "sets.digits",
    "digits_classification": "sets.digits_classification",
    "folder": "sets.segmentation",
    "image_folder": "sets.image_folder",
    "imagenet": "sets.image_folder",
    "levir": "sets.change",
    "pascal": "sets.segmentation",
    "stl10": "sets.stl10",
    "svhn": "sets.svhn",
    "whu": "sets.change",
}
"""Where each public name is defined, below ``unimatch.data``."""

__all__ = [
    "DatasetInfo",
    "FilePair",
    "FilePairs",
    "FileSource",
    "SegmentationData",
    "SemiSupervisedDataModule",
    "Source",
    "ade20k",
    "camvid",
    "change_demo",
    "change_folder",
    "cifar10",
    "cityscapes",
    "coco",
    "digits",
    "digits_classification",
    "folder",
    "image_folder",
    "imagenet",
    "levir",
    "pascal",
    "stl10",
    "svhn",
    "whu",
]
__getattr__ = on_first_use(__name__, HOMES)


def __dir__() -> list[str]:
    """Lists the public names too, for tab completion."""
    return [*globals(), *HOMES]
