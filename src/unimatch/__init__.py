"""unimatch: UniMatch V2 for semi-supervised semantic segmentation, as PyTorch Lightning modules.

Names are imported when they are first used, so that ``from unimatch import Predictor`` runs an exported model
where neither PyTorch nor Lightning is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unimatch._version import __version__

if TYPE_CHECKING:
    from unimatch.checkpoints import load_model, load_official
    from unimatch.data import (
        ClassificationDataModule,
        SegmentationData,
        SemiSupervisedDataModule,
        ade20k,
        camvid,
        change_demo,
        change_folder,
        cifar10,
        cityscapes,
        coco,
        digits,
        digits_classification,
        folder,
        image_folder,
        imagenet,
        levir,
        pascal,
        stl10,
        svhn,
        whu,
    )
    from unimatch.errors import ConfigError, DataError, UnimatchError, WeightsError
    from unimatch.inference import Classifier, Inference, Prediction, Predictor
    from unimatch.methods import FixMatch, Method, Supervised, UniMatchV1, UniMatchV2
    from unimatch.models import ChangeModel, ClassificationModel, SegmentationModel, build_encoder
    from unimatch.tasks import ChangeDetection, Classification, Segmentation
    from unimatch.trainer import Trainer

__all__ = [
    "ChangeDetection",
    "ChangeModel",
    "Classification",
    "ClassificationDataModule",
    "ClassificationModel",
    "Classifier",
    "ConfigError",
    "DataError",
    "FixMatch",
    "Inference",
    "Method",
    "Prediction",
    "Predictor",
    "Segmentation",
    "SegmentationData",
    "SegmentationModel",
    "SemiSupervisedDataModule",
    "Supervised",
    "Trainer",
    "UniMatchV1",
    "UniMatchV2",
    "UnimatchError",
    "WeightsError",
    "__version__",
    "ade20k",
    "build_encoder",
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
    "load_model",
    "load_official",
    "pascal",
    "stl10",
    "svhn",
    "whu",
]

PARTS = ("errors", "inference", "data", "models", "checkpoints", "tasks", "methods", "trainer")
"""Where the names above are found, the parts without heavy imports first."""


def __getattr__(name: str) -> Any:
    """Import a public name, or a part of the package, on first use."""
    if name in PARTS:
        return import_module(f"unimatch.{name}")
    if name in __all__:
        for part in PARTS:
            module = import_module(f"unimatch.{part}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'unimatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for completion."""
    return __all__
