"""A task: how samples are predicted and scored. Methods do not know which task they train."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor
from torchmetrics import MetricCollection
from typing_extensions import override

from unimatch.data.sources.base import SegmentationData
from unimatch.engines.test_time import Inference
from unimatch.engines.torch import TorchEngine
from unimatch.errors import ConfigError
from unimatch.models.base import Model
from unimatch.tasks.scores import Absent, Scores, confusion_metric, mean_iou
from unimatch.types import IGNORE_INDEX


class Task(ABC):
    """Holds all that is particular to evaluating one kind of model. ``*S`` is the shape of a label.

    Args:
        inference: how samples are predicted; None for whole images.
        absent: how means over classes treat a class that is in neither truth nor prediction: ``"exclude"`` leaves it
            out, ``"zero"`` counts it as 0, as the published code does.
    """

    name: ClassVar[str]
    scores_type: ClassVar[type[Scores]]
    """What :meth:`scores` returns."""

    ignore_index: ClassVar[int] = IGNORE_INDEX
    """The label that no loss counts."""
    cutmix: ClassVar[bool] = True
    """Whether a box of one image can be pasted into another, its labels along."""
    areas: ClassVar[bool] = True
    """Whether classes have areas in an image, which Dice compares; else an image has one class."""
    dates: ClassVar[int] = 1
    """How many images a sample has: 2 for the dates of a pair."""

    def __init__(self, inference: Inference | None = None, *, absent: Absent = "exclude") -> None:
        self.inference, self.absent = inference or Inference(), absent

    def check_data(self, data: SegmentationData) -> None:
        """Refuses data of other samples or labels; one labelled image is read.

        Raises:
            ConfigError: naming what is needed, and what there is.
        """
        dates = 2 if data.labeled.image(0).ndim == 4 else 1
        needed, found = samples_of(self.dates, self.areas), samples_of(dates, not data.one_class)
        if needed != found:
            raise ConfigError(
                f"the model is for {self.name}, {needed}, and the data set {data.info.name} has {found}; leave task "
                "out, which the data set chooses, or in Python choose a model of another task"
            )

    @abstractmethod
    def predict(self, model: Model, images: Tensor) -> Tensor:
        """Returns scores (B, C, *S), whose highest class is the prediction.

        Args:
            model: in eval mode, on the images' device.
            images: (B, ..., H, W), evaluation samples of one size, normalised floats.
        """

    def probabilities(self, model: Model, images: Tensor) -> Tensor:
        """Returns the probabilities (B, C, *S) that :meth:`predict` decides by, float32; arguments as there."""
        return self.predict(model, images).float().softmax(1)

    @abstractmethod
    def metric(self, num_classes: int) -> MetricCollection:
        """Builds what counts predictions (1, C, *S) and labels (1, *S), of all processes together.

        ``confusion`` among them gives (C, C) counts with truth along the rows.
        """

    @abstractmethod
    def scores(self, counts: Mapping[str, Tensor]) -> Scores:
        """Returns what :meth:`metric` has counted as scores."""

    def image_score(self, counts: Mapping[str, Tensor]) -> Tensor:
        """Returns one sample's score in percent from its own counts: a scalar that stays on the device."""
        return mean_iou(counts["confusion"])


def samples_of(dates: int, areas: bool) -> str:
    """Says what samples and labels are."""
    return (
        f"{'pairs of dates' if dates == 2 else 'single images'} with a class for each {'pixel' if areas else 'image'}"
    )


class PixelTask(Task):
    """Predicts a class for each pixel: ``*S`` is H, W. A subclass says how that is scored."""

    @override
    def predict(self, model: Model, images: Tensor) -> Tensor:
        return self.inference.scores(TorchEngine(model), images)

    @override
    def probabilities(self, model: Model, images: Tensor) -> Tensor:
        scores = self.predict(model, images).float()
        return scores if self.inference.averages(*images.shape[-2:]) else scores.softmax(1)

    @override
    def metric(self, num_classes: int) -> MetricCollection:
        return MetricCollection({"confusion": confusion_metric(num_classes)}, compute_groups=False)
