"""Files -> batches."""

from unimatch.data.catalog import DatasetInfo
from unimatch.data.change_demo import change_demo
from unimatch.data.datamodule import SemiSupervisedDataModule
from unimatch.data.digits import digits
from unimatch.data.files import FilePair, FilePairs
from unimatch.data.layouts import ade20k, camvid, cityscapes, coco, folder, pascal
from unimatch.data.pairs import change_folder, levir, whu
from unimatch.data.sources import FileSource, SegmentationData, Source

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
    "cityscapes",
    "coco",
    "digits",
    "folder",
    "levir",
    "pascal",
    "whu",
]
