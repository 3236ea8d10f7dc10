"""Files -> batches."""

from unimatch.data.catalog import DatasetInfo
from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.data.sets.change import change_folder, levir, whu
from unimatch.data.sets.change_demo import change_demo
from unimatch.data.sets.cifar10 import cifar10
from unimatch.data.sets.digits import digits
from unimatch.data.sets.digits_classification import digits_classification
from unimatch.data.sets.image_folder import image_folder, imagenet
from unimatch.data.sets.segmentation import ade20k, camvid, cityscapes, coco, folder, pascal
from unimatch.data.sets.stl10 import stl10
from unimatch.data.sets.svhn import svhn
from unimatch.data.sources.base import FileSource, SegmentationData, Source
from unimatch.data.sources.files import FilePair, FilePairs

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
