"""Files -> batches."""

from unimatch.data.catalog import DatasetInfo
from unimatch.data.datamodule import SemiSupervisedDataModule
from unimatch.data.digits import digits
from unimatch.data.layouts import camvid, folder
from unimatch.data.sources import FilePair, FileSource, SegmentationData, Source

__all__ = [
    "DatasetInfo",
    "FilePair",
    "FileSource",
    "SegmentationData",
    "SemiSupervisedDataModule",
    "Source",
    "camvid",
    "digits",
    "folder",
]
