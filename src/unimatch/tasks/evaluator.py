"""Scores models on a data set: exact at any number of processes."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import ModuleDict
from torchmetrics import MetricCollection
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.base import Model
from unimatch.speed.half_precision import warn_of_slow_half
from unimatch.tasks import Task
from unimatch.tasks.plain_batches import for_model, label_errors_explained, samples_of, warn_unless_normalized
from unimatch.tasks.shared_encoder import encoded_once, share_encoder

Counts = dict[str, Tensor]
"""What :meth:`unimatch.tasks.Task.metric` has counted, by the names of its metrics."""

TOGETHER_ON = {"cuda"}
"""Kinds of devices on which samples of one size are predicted together; the results are the same, to rounding."""


class EvaluationLoop(lightning.LightningModule):
    """Predicts each sample with each model, at the sample's own size, and counts the predictions against the labels.

    On a GPU, consecutive samples of one size are predicted together; all others are predicted one by one. Validation
    and testing are the same. Batches are lists of :class:`unimatch.types.EvaluationSample`, or anything else that
    :func:`unimatch.tasks.plain_batches.samples_of` takes. A step returns, by the model's name, the list of its samples'
    counts.
    """

    task: Task

    def build_metrics(self, names: Iterable[str], num_classes: int) -> None:
        """Prepares metrics for the models of these names."""
        self.metrics: Mapping[str, MetricCollection]
        self.metrics = ModuleDict({name: self.task.metric(num_classes) for name in names})  # type: ignore[assignment]
        self.counts: dict[str, Counts] = {}
        """The counts of the last evaluation over all processes, by the model's name."""
        self.encode_once = False
        """Whether the models share an encoder, as student and teacher do while it is frozen."""

    @override
    def setup(self, stage: str) -> None:
        warn_of_slow_half(self.trainer.strategy.root_device, self.trainer.precision)

    @property
    @abstractmethod
    def evaluated_models(self) -> Mapping[str, Model]:
        """The models by name, in eval mode."""

    @override
    def on_validation_epoch_start(self) -> None:
        for metric in self.metrics.values():
            metric.reset()
        self.encode_once = share_encoder([*self.evaluated_models.values()])

    @override
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[Counts]]:
        if dataloader_idx:
            raise ConfigError(
                "several loaders: an evaluation counts the images of one; evaluate them one after the other, such as "
                "trainer.validate(method, loader), or join their data sets: torch.utils.data.ConcatDataset"
            )
        models = self.evaluated_models
        samples = samples_of(batch, next(iter(models.values())).bands)
        if batch_idx == 0:
            warn_unless_normalized([sample["image"] for sample in samples])
        found: dict[str, list[Counts]] = {name: [] for name in self.metrics}
        with encoded_once([*models.values()]) if self.encode_once else nullcontext():
            for alike in of_one_size(samples):
                images = [sample["image"] for sample in alike]
                stacked = images[0][None] if len(images) == 1 else torch.stack(images)
                for name, model in models.items():
                    predictions = self.task.predict(model, for_model(stacked, model))
                    for sample, prediction in zip(alike, predictions, strict=True):
                        with label_errors_explained(prediction, sample["label"], self.task.ignore_index):
                            found[name].append(self.metrics[name](prediction[None], sample["label"][None]))
        return found

    @override
    def on_validation_epoch_end(self) -> None:
        self.counts = {
            name: {key: count.cpu() for key, count in metric.compute().items()} for name, metric in self.metrics.items()
        }

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    @override
    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end()


def of_one_size(samples: Sequence[dict[str, Tensor]]) -> Iterator[list[dict[str, Tensor]]]:
    """Yields the samples in order, in groups that are predicted together."""

    def group_of(numbered: tuple[int, dict[str, Tensor]]) -> object:
        number, sample = numbered
        image = sample["image"]
        return image.shape if image.device.type in TOGETHER_ON else number

    for _, group in groupby(enumerate(samples), group_of):
        yield [sample for _, sample in group]


class Evaluator(EvaluationLoop):
    """Evaluates trained models: ``lightning.Trainer().test(Evaluator(...), datamodule=...)`` fills :attr:`counts`."""

    def __init__(self, models: Mapping[str, Model], task: Task) -> None:
        super().__init__()
        self.task = task
        self.models: Mapping[str, Model] = ModuleDict(models)  # type: ignore[assignment]
        self.build_metrics(models, next(iter(models.values())).num_classes)

    @property
    @override
    def evaluated_models(self) -> Mapping[str, Model]:
        return self.models
