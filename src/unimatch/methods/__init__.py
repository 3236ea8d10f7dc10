"""Logits -> losses: one file per method."""

from unimatch.methods.base import Method
from unimatch.methods.fixmatch import FixMatch
from unimatch.methods.losses import Losses, PseudoLabels
from unimatch.methods.options import MethodOptions, SemiSupervisedOptions
from unimatch.methods.semi_supervised import SemiSupervised
from unimatch.methods.supervised import Supervised
from unimatch.methods.unimatch_v1 import UniMatchV1
from unimatch.methods.unimatch_v2 import UniMatchV2

__all__ = [
    "FixMatch",
    "Losses",
    "Method",
    "MethodOptions",
    "PseudoLabels",
    "SemiSupervised",
    "SemiSupervisedOptions",
    "Supervised",
    "UniMatchV1",
    "UniMatchV2",
]
