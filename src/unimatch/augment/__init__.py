"""Images -> views."""

from unimatch.augment.class_views import ClassLabeledView, ClassUnlabeledViews
from unimatch.augment.cutmix import cutmix, draw_box
from unimatch.augment.geometry import Geometry, draw_geometry
from unimatch.augment.randaugment import RandAugment
from unimatch.augment.strong import StrongAugmentation
from unimatch.augment.views import LabeledView, UnlabeledViews

__all__ = [
    "ClassLabeledView",
    "ClassUnlabeledViews",
    "Geometry",
    "LabeledView",
    "RandAugment",
    "StrongAugmentation",
    "UnlabeledViews",
    "cutmix",
    "draw_box",
    "draw_geometry",
]
