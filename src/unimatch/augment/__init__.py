"""Images -> views."""

import os

# Otherwise importing albumentations asks the network whether there is a newer release.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from unimatch.augment.base import Cut, StrongView, WeakView
from unimatch.augment.cutmix import cutmix, draw_box
from unimatch.augment.geometry import Geometry, ScaledCrop, draw_geometry
from unimatch.augment.libraries import Albumentations, TorchvisionV2
from unimatch.augment.padded_crop import PaddedCrop
from unimatch.augment.randaugment import RandAugment
from unimatch.augment.strong import StrongAugmentation
from unimatch.augment.views import Views

__all__ = [
    "Albumentations",
    "Cut",
    "Geometry",
    "PaddedCrop",
    "RandAugment",
    "ScaledCrop",
    "StrongAugmentation",
    "StrongView",
    "TorchvisionV2",
    "Views",
    "WeakView",
    "cutmix",
    "draw_box",
    "draw_geometry",
]
