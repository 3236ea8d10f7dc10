"""A task: how samples are predicted and scored. What a method trains, it does not know."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor
from torchmetrics import MetricCollection

from unimatch.engines.test_time import Inference
from unimatch.engines.torch import TorchEngine
from unimatch.models.networks import Model
from unimatch.tasks.scores import Absent, Scores, confusion_metric, mean_iou
from unimatch.types import IGNORE_INDEX


class Task(ABC):
    """Everything in which evaluating one kind of model differs from another. ``*S`` is the shape of a label.

    Args:
        inference: how samples are predicted; None for whole images.
        absent: what a class that occurs in neither truth nor prediction does to means over classes: ``"exclude"``
            leaves it out, ``"zero"`` counts it as 0, as the published code does.
    """

    name: ClassVar[str]
    scores_type: ClassVar[type[Scores]]
    """What :meth:`scores` returns; its ``headline`` is the task's."""

    ignore_index: ClassVar[int] = IGNORE_INDEX
    """The label that no loss counts."""
    cutmix: ClassVar[bool] = True
    """Whether a box of one image can be pasted into another, its labels along."""

    def __init__(self, inference: Inference | None = None, *, absent: Absent = "exclude") -> None:
        self.inference, self.absent = inference or Inference(), absent

    @abstractmethod
    def predict(self, model: Model, images: Tensor) -> Tensor:
        """(1, ..., H, W) normalised floats -> (1, C, *S), whose highest class is the prediction.

        Args:
            model: in eval mode, on the images' device.
            images: one evaluation sample at its own size.
        """

    @abstractmethod
    def metric(self, num_classes: int) -> MetricCollection:
        """What counts: updated with (predictions (1, C, *S), labels (1, *S)), computes counts of all processes.

        One of its metrics is called ``confusion``: (C, C) counts with truth along the rows.
        """

    @abstractmethod
    def scores(self, counts: Mapping[str, Tensor]) -> Scores:
        """Returns what :meth:`metric` has counted as scores."""

    def image_score(self, counts: Mapping[str, Tensor]) -> Tensor:
        """Returns one sample's score in percent from its own counts: a scalar that stays on the device."""
        return mean_iou(counts["confusion"])


class PixelTask(Task):
    """A class for each pixel: ``*S`` is H, W. What is scored is up to the subclass."""

    def predict(self, model: Model, images: Tensor) -> Tensor:
        """(1, ..., 3, H, W) -> (1, C, H, W) by the rule of inference."""
        return self.inference.scores(TorchEngine(model), images)

    def metric(self, num_classes: int) -> MetricCollection:
        """Pixels by truth and prediction."""
        return MetricCollection({"confusion": confusion_metric(num_classes)}, compute_groups=False)
