"""Change detection: which pixels differ between two dates. Source: UniMatch V2, table 14."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torchmetrics import MetricCollection
from typing_extensions import override

from unimatch.engines.test_time import Inference
from unimatch.options import one_of
from unimatch.tasks.base import PixelTask
from unimatch.tasks.scores import Absent, Ignored, IgnoredPixels, Scores, ratios

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
    """The share of all pixels that are predicted right; ignored pixels are left out, or count as wrong on request."""
    iou: tuple[float | None, ...]
    """Intersection over union of each class; None where a class has no pixel in truth or prediction."""


class ChangeDetection(PixelTask):
    """Predicts for each pixel of a pair of dates (2, 3, H, W) whether it has changed.

    Both dates are resized, cropped and flipped in the same way.

    Args:
        inference: see :class:`Task`.
        absent: see :class:`Task`.
        ignored: whether pixels with an ignored label are left out of the overall accuracy (``"exclude"``) or count as
            ``"wrong"``, as in the published code. They are left out of all other scores.
    """

    name = "change"
    scores_type = ChangeScores
    dates = 2

    def __init__(
        self, inference: Inference | None = None, *, absent: Absent = "exclude", ignored: Ignored = "exclude"
    ) -> None:
        super().__init__(inference, absent=absent)
        one_of("ignored", ignored, ("exclude", "wrong"))
        self.ignored = ignored

    @override
    def metric(self, num_classes: int) -> MetricCollection:
        counts = super().metric(num_classes)
        if self.ignored == "wrong":
            counts.add_metrics({"ignored": IgnoredPixels()})
        return counts

    @override
    def scores(self, counts: Mapping[str, Tensor]) -> ChangeScores:
        return change_scores(counts["confusion"], ignored=int(counts.get("ignored", 0)))


def change_scores(confusion: Tensor, *, ignored: int = 0) -> ChangeScores:
    """Returns scores from a (2, 2) int64 matrix with truth along the rows; 0, not NaN, where nothing was counted.

    The number of ``ignored`` pixels, whose truth is unknown, counts as wrong in the overall accuracy.

    >>> import torch
    >>> scores = change_scores(torch.tensor([[5, 1], [1, 3]]))
    >>> scores.changed_iou, scores.f1, scores.overall_accuracy
    (60.0, 75.0, 80.0)
    """
    counts = confusion.double().cpu()
    right, truth, predicted = counts.diag(), counts.sum(1), counts.sum(0)
    iou = ratios(right, truth + predicted - right)
    return ChangeScores(
        changed_iou=iou[CHANGED] or 0.0,
        f1=ratios(right, (truth + predicted) / 2)[CHANGED] or 0.0,
        precision=ratios(right, predicted)[CHANGED] or 0.0,
        recall=ratios(right, truth)[CHANGED] or 0.0,
        overall_accuracy=float(100 * right.sum() / (counts.sum() + ignored).clamp(min=1)),
        iou=tuple(iou),
    )
