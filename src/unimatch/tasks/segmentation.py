"""Semantic segmentation: a class for each pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from unimatch.tasks.base import PixelTask
from unimatch.tasks.scores import Absent, Scores, ratios


@dataclass(frozen=True)
class SegmentationScores(Scores):
    """Holds intersections over unions, from one confusion matrix of the whole set."""

    headline: ClassVar[str] = "miou"
    titles: ClassVar[Mapping[str, str]] = {"miou": "mIoU", "iou": "IoU", "pixel_accuracy": "pixel accuracy"}

    miou: float
    """The mean over classes of (sum of intersections) / (sum of unions) over the whole set."""
    iou: tuple[float | None, ...]
    """Intersection over union of each class; None where a class has no pixel in truth or prediction."""
    pixel_accuracy: float
    """The share of all pixels that are predicted right."""


class Segmentation(PixelTask):
    """Predicts a class for each pixel of an image (3, H, W)."""

    name = "segmentation"
    scores_type = SegmentationScores

    @override
    def scores(self, counts: Mapping[str, Tensor]) -> SegmentationScores:
        return scores(counts["confusion"], self.absent)


def scores(confusion: Tensor, absent: Absent = "exclude") -> SegmentationScores:
    """Returns scores from a (C, C) int64 matrix with truth along the rows; ``absent`` as for :class:`Segmentation`.

    >>> scores(torch.tensor([[3, 1], [0, 4]])).miou  # (3/4 + 4/5) / 2
    77.5
    """
    counts = confusion.double().cpu()
    intersection = counts.diag()
    union = counts.sum(0) + counts.sum(1) - intersection
    present = union > 0
    iou = 100 * intersection / union.clamp(min=1)  # 0 where absent
    counted = present if absent == "exclude" else torch.ones_like(present)
    return SegmentationScores(
        miou=float(iou[counted].sum() / counted.sum().clamp(min=1)),
        iou=tuple(ratios(intersection, union)),
        pixel_accuracy=float(100 * intersection.sum() / counts.sum().clamp(min=1)),
    )
