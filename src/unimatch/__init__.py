"""unimatch: UniMatch V2 for semi-supervised semantic segmentation, as PyTorch Lightning modules."""

from unimatch._version import __version__
from unimatch.data import SegmentationData, SemiSupervisedDataModule, camvid, digits, folder
from unimatch.errors import ConfigError, DataError, UnimatchError, WeightsError
from unimatch.methods import Method, Supervised, UniMatchV2
from unimatch.models import SegmentationModel, build_encoder, load_model

__all__ = [
    "ConfigError",
    "DataError",
    "Method",
    "SegmentationData",
    "SegmentationModel",
    "SemiSupervisedDataModule",
    "Supervised",
    "UniMatchV2",
    "UnimatchError",
    "WeightsError",
    "__version__",
    "build_encoder",
    "camvid",
    "digits",
    "folder",
    "load_model",
]
