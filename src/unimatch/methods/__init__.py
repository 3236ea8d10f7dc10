"""Logits -> losses: one file per method."""

from unimatch.methods.base import Losses, Method, PseudoLabels
from unimatch.methods.fixmatch import FixMatch
from unimatch.methods.semi_supervised import SemiSupervised
from unimatch.methods.supervised import Supervised
from unimatch.methods.unimatch_v1 import UniMatchV1
from unimatch.methods.unimatch_v2 import UniMatchV2

__all__ = [
    "FixMatch",
    "Losses",
    "Method",
    "PseudoLabels",
    "SemiSupervised",
    "Supervised",
    "UniMatchV1",
    "UniMatchV2",
]
