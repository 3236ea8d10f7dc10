"""Change detection: which pixels differ between two dates. Source: UniMatch V2, table 14."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from unimatch.tasks.base import PixelTask
from unimatch.tasks.scores import Scores, ratios

CHANGED = 1
"""The class id of changed pixels."""


@dataclass(frozen=True)
class ChangeScores(Scores):
    """Holds the usual scores of the changed class, from one confusion matrix of the whole set."""

    headline: ClassVar[str] = "changed_iou"
    titles: ClassVar[Mapping[str, str]] = {
        "changed_iou": "changed-class IoU",
        "f1": "F1",
        "precision": "precision",
        "recall": "recall",
        "overall_accuracy": "overall accuracy",
        "iou": "IoU",
    }

    changed_iou: float
    """Intersection over union of the changed pixels."""
    f1: float
    """Of the changed pixels: the harmonic mean of precision and recall."""
    precision: float
    """The share of the pixels predicted as changed that have changed."""
    recall: float
    """The share of the changed pixels that are predicted as changed."""
    overall_accuracy: float
    """The share of all pixels that are predicted right."""
    iou: tuple[float | None, ...]
    """Of both classes; None where a class has no pixel in truth or prediction."""


class ChangeDetection(PixelTask):
    """Tells for each pixel of a pair of dates (2, 3, H, W), resized, cut and flipped alike, whether it changed."""

    name = "change"
    scores_type = ChangeScores

    @override
    def scores(self, counts: Mapping[str, Tensor]) -> ChangeScores:
        return change_scores(counts["confusion"])


def change_scores(confusion: Tensor) -> ChangeScores:
    """Returns scores from a (2, 2) int64 matrix with truth along the rows; 0, not NaN, where nothing was counted.

    >>> import torch
    >>> scores = change_scores(torch.tensor([[5, 1], [1, 3]]))
    >>> scores.changed_iou, scores.f1, scores.overall_accuracy
    (60.0, 75.0, 80.0)
    """
    counts = confusion.double().cpu()
    right, truth, predicted = counts.diag(), counts.sum(1), counts.sum(0)
    union, mean = truth + predicted - right, (truth + predicted) / 2
    iou, f1, precision, recall = (ratios(right, whole) for whole in (union, mean, predicted, truth))
    return ChangeScores(
        changed_iou=iou[CHANGED] or 0.0,
        f1=f1[CHANGED] or 0.0,
        precision=precision[CHANGED] or 0.0,
        recall=recall[CHANGED] or 0.0,
        overall_accuracy=float(100 * right.sum() / counts.sum().clamp(min=1)),
        iou=tuple(iou),
    )
