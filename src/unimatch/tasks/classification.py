"""Classification: one class for each image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassStatScores
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.base import Model
from unimatch.models.networks import ClassificationModel
from unimatch.speed.apply import speed_up
from unimatch.tasks.base import Task
from unimatch.tasks.scores import Scores, ratios
from unimatch.types import NO_CLASS


@dataclass(frozen=True)
class ClassificationScores(Scores):
    """Holds shares of images, in percent."""

    headline: ClassVar[str] = "top1"
    titles: ClassVar[Mapping[str, str]] = {"top1": "top-1", "top5": "top-5", "recall": "recall"}
    unit: ClassVar[str] = "images"

    top1: float
    """The share of images whose most probable class is the true one."""
    top5: float
    """The share of images whose true class is among the five most probable ones."""
    recall: tuple[float | None, ...]
    """``top1`` of the images of each class; None for a class without images."""


class Classification(Task):
    """Predicts one class for each image (3, H, W), resized and cropped by the model's ``resize`` and ``image_size``.

    Args:
        inference: without effect: an image is predicted once, whole.
        absent: without effect.
    """

    name = "classification"
    scores_type = ClassificationScores
    ignore_index = NO_CLASS
    cutmix = False
    areas = False

    @override
    def predict(self, model: Model, images: Tensor) -> Tensor:
        assert isinstance(model, ClassificationModel)
        speed_up(model, images.device)
        return model(center_crop(images, model.image_size, model.resize))

    @override
    def metric(self, num_classes: int) -> MetricCollection:
        confusion = MulticlassConfusionMatrix(num_classes, validate_args=False)
        five = MulticlassStatScores(num_classes, top_k=min(5, num_classes), average="micro", validate_args=False)
        return MetricCollection({"confusion": confusion, "among_five": five}, compute_groups=False)

    @override
    def scores(self, counts: Mapping[str, Tensor]) -> ClassificationScores:
        confusion = counts["confusion"].double().cpu()
        right, total = confusion.diag(), confusion.sum(1)
        images = total.sum().clamp(min=1)
        return ClassificationScores(
            top1=float(100 * right.sum() / images),
            top5=float(100 * counts["among_five"][0].double().cpu() / images),
            recall=tuple(ratios(right, total)),
        )


def refuse_inference(settings: Mapping[str, Any]) -> None:
    """Refuses settings of windows, scales and mirror images (``inference.*``) that are not None.

    Raises:
        ConfigError: naming the first of them.
    """
    for name, value in settings.items():
        if value is not None:
            why = "nothing reads this: a classifier sees each image once and whole; leave it out"
            raise ConfigError(f"inference.{name}={value}: {why}")


def center_crop(images: Tensor, size: int, resize: int | None) -> Tensor:
    """Resizes images to a short side of ``resize`` and crops the centre: (B, 3, H, W) -> (B, 3, size, size).

    With ``resize=None`` only images smaller than the crop are resized, to a short side of ``size``. Shrinking is
    antialiased.
    """
    height, width = images.shape[-2:]
    short = min(height, width)
    length = max(resize or short, size)
    if length != short:
        height, width = (max(length, round(side * length / short)) for side in (height, width))
        images = F.interpolate(images, (height, width), mode="bilinear", antialias=True)
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top : top + size, left : left + size]
