"""unimatch: UniMatch V2 for semi-supervised semantic segmentation, as PyTorch Lightning modules.

Names are imported when they are first used, so that ``from unimatch import Predictor`` runs an exported model
where neither PyTorch nor Lightning is installed. The data sets are functions of :mod:`unimatch.data`, such as
``unimatch.data.camvid("CAMVID")``.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from unimatch import startup
from unimatch._version import __version__
from unimatch.lazy_imports import on_first_use

if _command := startup.command_of(sys.orig_argv):  # its imports come next
    startup.watch()
    import_module("unimatch.cli.early_checks").check_early(_command)

if TYPE_CHECKING:  # each name twice, so that type checkers see it as public
    from unimatch.augment import StrongAugmentation as StrongAugmentation
    from unimatch.callbacks import Checkpoints as Checkpoints
    from unimatch.callbacks import Guard as Guard
    from unimatch.checkpoints import load_model as load_model
    from unimatch.checkpoints import load_official as load_official
    from unimatch.data import SegmentationData as SegmentationData
    from unimatch.data import SemiSupervisedDataModule as SemiSupervisedDataModule
    from unimatch.engines.test_time import Inference as Inference
    from unimatch.errors import ConfigError as ConfigError
    from unimatch.errors import DataError as DataError
    from unimatch.errors import UnimatchError as UnimatchError
    from unimatch.errors import WeightsError as WeightsError
    from unimatch.inference import Classifier as Classifier
    from unimatch.inference import Prediction as Prediction
    from unimatch.inference import Predictor as Predictor
    from unimatch.inference.hub import HubModel as HubModel
    from unimatch.methods import FixMatch as FixMatch
    from unimatch.methods import Losses as Losses
    from unimatch.methods import Method as Method
    from unimatch.methods import PseudoLabels as PseudoLabels
    from unimatch.methods import SemiSupervised as SemiSupervised
    from unimatch.methods import Supervised as Supervised
    from unimatch.methods import UniMatchV1 as UniMatchV1
    from unimatch.methods import UniMatchV2 as UniMatchV2
    from unimatch.models import ChangeModel as ChangeModel
    from unimatch.models import ClassificationModel as ClassificationModel
    from unimatch.models import SegmentationModel as SegmentationModel
    from unimatch.models import build_encoder as build_encoder
    from unimatch.models import register_model as register_model
    from unimatch.selection import select as select
    from unimatch.speed.compile import Compile as Compile
    from unimatch.tasks import ChangeDetection as ChangeDetection
    from unimatch.tasks import Classification as Classification
    from unimatch.tasks import Segmentation as Segmentation
    from unimatch.trainer import Trainer as Trainer
    from unimatch.types import TrainBatch as TrainBatch

HOMES = {
    "ChangeDetection": "tasks",
    "ChangeModel": "models",
    "Checkpoints": "callbacks",
    "Classification": "tasks",
    "ClassificationModel": "models",
    "Classifier": "inference",
    "Compile": "speed.compile",
    "ConfigError": "errors",
    "DataError": "errors",
    "FixMatch": "methods",
    "Guard": "callbacks",
    "HubModel": "inference.hub",
    "Inference": "engines.test_time",
    "Losses": "methods",
    "Method": "methods",
    "Prediction": "inference",
    "Predictor": "inference",
    "PseudoLabels": "methods",
    "Segmentation": "tasks",
    "SegmentationData": "data",
    "SegmentationModel": "models",
    "SemiSupervised": "methods",
    "SemiSupervisedDataModule": "data",
    "StrongAugmentation": "augment",
    "Supervised": "methods",
    "TrainBatch": "types",
    "Trainer": "trainer",
    "UniMatchV1": "methods",
    "UniMatchV2": "methods",
    "UnimatchError": "errors",
    "WeightsError": "errors",
    "build_encoder": "models",
    "load_model": "checkpoints.files",
    "load_official": "checkpoints.official",
    "register_model": "models",
    "select": "selection",
}
"""Where each public name is defined, below ``unimatch``."""

PARTS = (
    "augment",
    "callbacks",
    "checkpoints",
    "data",
    "errors",
    "inference",
    "labelling",
    "methods",
    "models",
    "selection",
    "tasks",
    "trainer",
)
"""Packages that are imported when they are asked for, as ``unimatch.data`` is in ``unimatch.data.camvid(...)``."""

__all__ = ["__version__", *HOMES]  # the names are strings
__getattr__ = on_first_use(__name__, HOMES, PARTS)


def __dir__() -> list[str]:
    """Lists the public names, for completion."""
    return [*__all__, *PARTS]
