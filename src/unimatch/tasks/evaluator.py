"""Scores trained models on a data set: exact at any number of processes."""

from collections.abc import Mapping

import lightning
from torch import Tensor
from torch.nn import ModuleList

from unimatch.models.networks import Model
from unimatch.tasks import Task
from unimatch.types import EvaluationSample


class Evaluator(lightning.LightningModule):
    """Counts each model's predictions against the labels.

    ``lightning.Trainer().test(Evaluator(...), datamodule=...)`` fills :attr:`counts`.

    Args:
        models: by name.
        task: how samples are predicted and counted.
    """

    def __init__(self, models: Mapping[str, Model], task: Task) -> None:
        super().__init__()
        self.models = dict(models)
        self.task = task
        self.metrics = {name: task.metric(model.num_classes) for name, model in models.items()}
        self.on_device = ModuleList([*self.models.values(), *self.metrics.values()])
        self.counts: dict[str, dict[str, Tensor]] = {}
        """By model's name: what :meth:`unimatch.tasks.Task.metric` counted, of all processes together."""

    def test_step(self, batch: list[EvaluationSample], batch_idx: int) -> None:
        """Count one batch."""
        for sample in batch:
            image, label = sample["image"][None], sample["label"][None]
            for name, model in self.models.items():
                self.metrics[name].update(self.task.predict(model, image), label)

    def validation_step(self, batch: list[EvaluationSample], batch_idx: int) -> None:
        """As in testing."""
        self.test_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Sum the counts of all processes, while they are all here."""
        self.counts = {
            name: {key: value.cpu() for key, value in metric.compute().items()} for name, metric in self.metrics.items()
        }

    def on_validation_epoch_end(self) -> None:
        """As in testing."""
        self.on_test_epoch_end()
