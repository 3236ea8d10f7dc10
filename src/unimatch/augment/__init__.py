"""Images -> views."""

from unimatch.augment.cutmix import cutmix, draw_box
from unimatch.augment.geometry import Geometry, draw_geometry
from unimatch.augment.strong import StrongAugmentation
from unimatch.augment.views import LabeledView, UnlabeledViews

__all__ = [
    "Geometry",
    "LabeledView",
    "StrongAugmentation",
    "UnlabeledViews",
    "cutmix",
    "draw_box",
    "draw_geometry",
]
