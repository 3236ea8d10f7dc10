"""Views -> logits."""

from unimatch.models.checkpoint import load_model
from unimatch.models.dpt import DPTDecoder
from unimatch.models.encoders import PRESETS, Encoder, build_encoder
from unimatch.models.networks import SegmentationModel

__all__ = ["PRESETS", "DPTDecoder", "Encoder", "SegmentationModel", "build_encoder", "load_model"]
