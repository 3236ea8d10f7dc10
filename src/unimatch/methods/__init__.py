"""Logits -> losses: one file per method."""

from unimatch.methods.base import Method
from unimatch.methods.supervised import Supervised
from unimatch.methods.unimatch_v2 import UniMatchV2

__all__ = ["Method", "Supervised", "UniMatchV2"]
