"""Scores trained models on a data set: exact at any number of processes."""

from collections.abc import Mapping

import lightning
from torch import Tensor
from torch.nn import ModuleList

from unimatch.inference.rule import Inference
from unimatch.inference.torch_engine import TorchEngine
from unimatch.metrics import confusion_metric
from unimatch.models.networks import SegmentationModel
from unimatch.types import EvaluationSample


class Evaluator(lightning.LightningModule):
    """Counts the pixels of each model's predictions against the masks.

    ``lightning.Trainer().test(Evaluator(...), datamodule=...)`` fills :attr:`confusions`.

    Args:
        models: by name.
        inference: how images are predicted.
    """

    def __init__(self, models: Mapping[str, SegmentationModel], inference: Inference) -> None:
        super().__init__()
        self.models = dict(models)
        self.inference = inference
        self.metrics = {name: confusion_metric(model.num_classes) for name, model in models.items()}
        self.on_device = ModuleList([*self.models.values(), *self.metrics.values()])
        self.confusions: dict[str, Tensor] = {}
        """By model's name: (C, C) pixel counts of all processes together, truth along the rows."""

    def test_step(self, batch: list[EvaluationSample], batch_idx: int) -> None:
        """Count one batch."""
        for sample in batch:
            image, mask = sample["image"][None], sample["mask"][None]
            for name, model in self.models.items():
                labels = self.inference.scores(TorchEngine(model), image).argmax(1)
                self.metrics[name].update(labels, mask)

    def validation_step(self, batch: list[EvaluationSample], batch_idx: int) -> None:
        """As in testing."""
        self.test_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Sum the counts of all processes, while they are all here."""
        self.confusions = {name: metric.compute().cpu() for name, metric in self.metrics.items()}

    def on_validation_epoch_end(self) -> None:
        """As in testing."""
        self.on_test_epoch_end()
