"""Classification: one class for each image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix

from unimatch.models.networks import ClassificationModel, Model
from unimatch.tasks.base import Task
from unimatch.tasks.scores import Scores, ratios
from unimatch.types import NO_CLASS


@dataclass(frozen=True)
class ClassificationScores(Scores):
    """Shares of images, in percent."""

    headline: ClassVar[str] = "top1"
    titles: ClassVar[Mapping[str, str]] = {"top1": "top-1", "top5": "top-5", "recall": "recall"}
    unit: ClassVar[str] = "images"

    top1: float
    """Images whose most probable class is the true one."""
    top5: float
    """Images whose true class is among the five most probable ones."""
    recall: tuple[float | None, ...]
    """Top-1 of the images of each class; None where there are none."""


class Classification(Task):
    """Images (3, H, W) -> a class per image, seen as its model's ``resize`` and ``image_size`` say.

    Args:
        inference: of no effect: an image is seen once and whole.
        absent: of no effect.
    """

    name = "classification"
    scores_type = ClassificationScores
    ignore_index = NO_CLASS

    def predict(self, model: Model, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C): logits of the middle of the images."""
        assert isinstance(model, ClassificationModel)
        return model(middle(images, model.image_size, model.resize))

    def metric(self, num_classes: int) -> MetricCollection:
        """Images by truth and prediction, and those whose class is among the first five."""
        confusion = MulticlassConfusionMatrix(num_classes, validate_args=False)
        return MetricCollection({"confusion": confusion, "among_five": AmongFirst(5)}, compute_groups=False)

    def scores(self, counts: Mapping[str, Tensor]) -> ClassificationScores:
        """Shares of the counts."""
        confusion = counts["confusion"].double().cpu()
        right, total = confusion.diag(), confusion.sum(1)
        images = total.sum().clamp(min=1)
        return ClassificationScores(
            top1=float(100 * right.sum() / images),
            top5=float(100 * counts["among_five"].double().cpu() / images),
            recall=tuple(ratios(right, total)),
        )


class AmongFirst(Metric):
    """The number of images whose class is among the ``k`` most probable ones."""

    count: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count (B, C) logits against (B,) class ids."""
        first = logits.topk(min(self.k, logits.shape[1]), dim=1).indices  # (B, k)
        self.count += (first == labels[:, None]).sum()

    def compute(self) -> Tensor:
        """() int64."""
        return self.count


def middle(images: Tensor, size: int, resize: int | None) -> Tensor:
    """(B, 3, H, W) -> (B, 3, size, size): resized to a short side of ``resize``, or as they are, and cut in the middle.

    Images smaller than the cut are enlarged to it; shrinking averages.
    """
    height, width = images.shape[-2:]
    short = min(height, width)
    length = max(resize or short, size)
    if length != short:
        height, width = (max(length, round(side * length / short)) for side in (height, width))
        images = F.interpolate(images, (height, width), mode="bilinear", antialias=True)
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top : top + size, left : left + size]
