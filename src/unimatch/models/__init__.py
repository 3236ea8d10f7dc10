"""Views -> logits."""

from unimatch.models.base import Model
from unimatch.models.dpt import DPTDecoder
from unimatch.models.encoder_base import Encoder
from unimatch.models.encoders import build_encoder
from unimatch.models.networks import ChangeModel, ClassificationModel, SegmentationModel
from unimatch.models.own import register_model
from unimatch.models.own_encoder import ModuleEncoder
from unimatch.models.presets import PRESETS

__all__ = [
    "PRESETS",
    "ChangeModel",
    "ClassificationModel",
    "DPTDecoder",
    "Encoder",
    "Model",
    "ModuleEncoder",
    "SegmentationModel",
    "build_encoder",
    "register_model",
]
