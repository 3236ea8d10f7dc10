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
from unimatch.options import one_of
from unimatch.tasks.scores import Absent, Scores, confusion_metric, mean_iou
from unimatch.types import IGNORE_INDEX


class Task(ABC):
    """Says how one kind of model is evaluated. ``*S`` is the shape of a label.

    Args:
        inference: how samples are predicted; None for whole images.
        absent: how means over classes treat a class that is in neither truth nor prediction: ``"exclude"`` leaves it
            out, ``"zero"`` counts it as 0, as the published code does.

    Raises:
        ConfigError: ``absent`` is another word, or ``inference`` another object.
    """

    name: ClassVar[str]
    scores_type: ClassVar[type[Scores]]
    """What :meth:`scores` returns."""

    ignore_index: ClassVar[int] = IGNORE_INDEX
    """The label that no loss counts."""
    cutmix: ClassVar[bool] = True
    """Whether CutMix can paste a box of one image into another, together with its labels."""
    areas: ClassVar[bool] = True
    """Whether classes cover areas of an image, which Dice compares; False if an image has one class."""
    dates: ClassVar[int] = 1
    """How many images a sample has: 2 for the dates of a pair."""

    def __init__(self, inference: Inference | None = None, *, absent: Absent = "exclude") -> None:
        one_of("absent", absent, ("exclude", "zero"))
        if inference is not None and not isinstance(inference, Inference):
            raise ConfigError(f"inference={inference}: must be a unimatch.Inference, such as Inference('sliding')")
        self.inference, self.absent = inference or Inference(), absent

    def check_data(self, data: SegmentationData) -> None:
        """Refuses a data set with another kind of samples or labels, after reading its first labelled image.

        Raises:
            ConfigError: saying what the task needs and what the data set has.
        """
        dates = 2 if data.labeled.image(0).ndim == 4 else 1
        needed = describe_samples(self.dates, self.areas)
        found = describe_samples(dates, not data.one_class)
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
        """Returns the probabilities (B, C, *S) float32 of the scores of :meth:`predict`; the arguments are the same."""
        return self.predict(model, images).float().softmax(1)

    @abstractmethod
    def metric(self, num_classes: int) -> MetricCollection:
        """Builds the metrics that count scores (1, C, *S) against labels (1, *S), over all processes.

        One of them, ``confusion``, gives (C, C) counts with truth along the rows.
        """

    @abstractmethod
    def scores(self, counts: Mapping[str, Tensor]) -> Scores:
        """Returns the scores that follow from what :meth:`metric` has counted."""

    def image_score(self, counts: Mapping[str, Tensor]) -> Tensor:
        """Returns the score of one sample, in percent, from the counts of this sample: a scalar on their device."""
        return mean_iou(counts["confusion"])


def describe_samples(dates: int, areas: bool) -> str:
    """Describes samples and labels in words, for a message."""
    samples = "pairs of dates" if dates == 2 else "single images"
    return f"{samples} with a class for each {'pixel' if areas else 'image'}"


class PixelTask(Task):
    """Predicts a class for each pixel: ``*S`` is H, W. Subclasses say how the predictions are scored."""

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
