"""Views -> logits."""

from unimatch.models.dpt import DPTDecoder
from unimatch.models.encoders import Encoder, build_encoder
from unimatch.models.networks import ChangeModel, ClassificationModel, Model, SegmentationModel
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
]
