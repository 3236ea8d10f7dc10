"""Files -> batches."""

from unimatch.data.catalog import DatasetInfo
from unimatch.data.change_demo import change_demo
from unimatch.data.cifar10 import cifar10
from unimatch.data.class_datamodule import ClassificationDataModule
from unimatch.data.datamodule import SemiSupervisedDataModule
from unimatch.data.digits import digits
from unimatch.data.digits_classification import digits_classification
from unimatch.data.files import FilePair, FilePairs
from unimatch.data.image_folder import image_folder, imagenet
from unimatch.data.layouts import ade20k, camvid, cityscapes, coco, folder, pascal
from unimatch.data.pairs import change_folder, levir, whu
from unimatch.data.sources import FileSource, SegmentationData, Source
from unimatch.data.stl10 import stl10
from unimatch.data.svhn import svhn

__all__ = [
    "ClassificationDataModule",
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
