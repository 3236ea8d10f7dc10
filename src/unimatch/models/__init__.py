"""Views -> logits."""

from unimatch.models.checkpoint import load_model
from unimatch.models.dpt import DPTDecoder
from unimatch.models.encoders import Encoder, build_encoder
from unimatch.models.networks import ChangeModel, ClassificationModel, Model, SegmentationModel
from unimatch.models.official import load_official
from unimatch.models.presets import PRESETS

__all__ = [
    "PRESETS",
    "ChangeModel",
    "ClassificationModel",
    "DPTDecoder",
    "Encoder",
    "Model",
    "SegmentationModel",
    "build_encoder",
    "load_model",
    "load_official",
]
