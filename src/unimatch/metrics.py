"""Mean intersection over union from one confusion matrix of the whole set, and pseudo labels' quality."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from unimatch.types import IGNORE_INDEX

Absent = Literal["exclude", "zero"]


@dataclass(frozen=True)
class Scores:
    """What one evaluation of one model found, in percent."""

    miou: float
    """The mean over classes of (sum of intersections) / (sum of unions) over the whole set."""
    iou: tuple[float | None, ...]
    """Per class; None where the class has no pixel in truth or prediction."""
    pixel_accuracy: float


def confusion_metric(num_classes: int) -> MulticlassConfusionMatrix:
    """Counts of (truth, prediction) over all pixels that are not ignored; exact at any number of processes."""
    return MulticlassConfusionMatrix(num_classes, ignore_index=IGNORE_INDEX, validate_args=False)


def scores(confusion: Tensor, absent: Absent = "exclude") -> Scores:
    """Scores from a (C, C) int64 matrix with truth along the rows.

    Args:
        confusion: pixel counts.
        absent: what a class without a pixel in truth and prediction does to the mean: ``"exclude"`` leaves it out,
            ``"zero"`` counts it as 0, as the published code does.

    >>> scores(torch.tensor([[3, 1], [0, 4]])).miou  # (3/4 + 4/5) / 2
    77.5
    """
    counts = confusion.double().cpu()
    intersection = counts.diag()
    union = counts.sum(0) + counts.sum(1) - intersection
    present = union > 0
    iou = torch.where(present, 100 * intersection / union.clamp(min=1), torch.zeros(()).double())
    counted = present if absent == "exclude" else torch.ones_like(present)
    miou = iou[counted].sum() / counted.sum().clamp(min=1)
    total = counts.sum().clamp(min=1)
    return Scores(
        miou=float(miou),
        iou=tuple(float(value) if here else None for value, here in zip(iou, present, strict=True)),
        pixel_accuracy=float(100 * intersection.sum() / total),
    )


class PseudoLabelQuality(Metric):
    """How many pseudo labels pass the threshold, and how many of those are right, per true class.

    Only pixels whose truth is known count, so that it needs masks of unlabelled images; they are never trained on.
    """

    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        # Row: true class. Column: pseudo label, or the last one where the teacher is not confident.
        zeros = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, label: Tensor, confident: Tensor, valid: Tensor, truth: Tensor) -> None:
        """Count one batch; all four are (B, H, W). Nothing leaves the device."""
        columns = self.num_classes + 1
        known = valid & (truth < self.num_classes)  # UNKNOWN_TRUTH is above every class id
        cell = truth * columns + torch.where(confident, label, self.num_classes)
        cell = torch.where(known, cell, self.num_classes * columns)  # one cell more for all that does not count
        flat = torch.zeros(self.num_classes * columns + 1, dtype=torch.int64, device=label.device)
        flat.scatter_add_(0, cell.flatten(), torch.ones_like(cell).flatten())
        self.counts += flat[:-1].view(self.num_classes, columns)

    def restore(self, counts: Tensor) -> None:
        """Continue from the counts of a checkpoint, this process's share of them."""
        self.counts = counts.to(self.counts.device)
        self._update_count = 1  # counts as updated

    def compute(self) -> dict[str, list[float | None] | float | None]:
        """Shares and accuracies in percent, None where nothing was counted.

        ``share`` and ``accuracy`` are over all pixels, ``share_mean`` and ``accuracy_mean`` the means over the true
        classes, ``class_share`` and ``class_accuracy`` per class.
        """
        counts = self.counts.double().cpu()
        confident, total, right = counts[:, :-1].sum(1), counts.sum(1), counts[:, :-1].diag()
        class_share = ratios(confident, total)
        class_accuracy = ratios(right, confident)
        return {
            "share": ratios(confident.sum()[None], total.sum()[None])[0],
            "accuracy": ratios(right.sum()[None], confident.sum()[None])[0],
            "share_mean": mean_of(class_share),
            "accuracy_mean": mean_of(class_accuracy),
            "class_share": list(class_share),
            "class_accuracy": list(class_accuracy),
        }


def ratios(part: Tensor, whole: Tensor) -> list[float | None]:
    """Percentages, None where the whole is zero."""
    return [float(100 * p / w) if w > 0 else None for p, w in zip(part, whole, strict=True)]


def mean_of(values: list[float | None]) -> float | None:
    """The mean of those that are not None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
