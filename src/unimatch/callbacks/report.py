"""Writes ``report.html`` when training ends, with the files that it shows."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.data.loading.datasets import EvaluationDataset
from unimatch.data.sources.base import SegmentationData
from unimatch.disk import training_goes_on
from unimatch.images.tensors import normalize
from unimatch.methods.base import Method
from unimatch.methods.semi_supervised import SemiSupervised
from unimatch.methods.sharding import gather
from unimatch.report import write_report
from unimatch.report.examples import (
    classified_rows,
    uncertain_rows,
    validation_rows,
    with_bar,
    write_confusion,
    write_examples,
)
from unimatch.report.views import view_rows
from unimatch.tasks import PixelTask
from unimatch.trainer import evaluates_training


class Report(Callback):
    """Scores each validation image, and at the end writes ``confusion.csv``, ``examples/`` and ``report.html``.

    A file that cannot be made is a warning: the checkpoints and the record are written before.

    Args:
        run_dir: the run directory.
        data: the data set whose validation images are evaluated.
    """

    def __init__(self, run_dir: Path, data: SegmentationData) -> None:
        self.run_dir, self.data = run_dir, data
        self.confusion: Tensor | None = None

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # (2, N): each image's score, and a 1 if it has one. Each process fills in the images that it evaluates.
        self.scores = torch.zeros(2, len(self.data.val), device=pl_module.device)

    @override
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *arguments: Any, **options: Any
    ) -> None:
        assert isinstance(pl_module, Method)
        if not evaluates_training(trainer):  # trainer.validate may be given other images
            return
        for sample, counts in zip(batch, outputs["teacher"], strict=True):
            self.scores[0, sample["index"]] = pl_module.task.image_score(counts)
            self.scores[1, sample["index"]] = 1

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        if evaluates_training(trainer):
            self.confusion = pl_module.counts["teacher"]["confusion"]
            total = trainer.strategy.reduce(self.scores, reduce_op="sum")  # of all processes
            assert isinstance(total, Tensor)
            scores, counts = total.cpu()
            self.scores = scores / counts  # NaN for images that the trainer left out

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        for model in pl_module.evaluated_models.values():
            gather(model)  # by all processes, although only the first one predicts
        if not trainer.is_global_zero or not pl_module.evaluations:
            return
        pl_module.eval()
        with training_goes_on(self.run_dir / "confusion.csv", Exception):
            if self.confusion is None and not self.has_files_of(trainer.global_step):
                self.evaluate_again(trainer, pl_module)
            if self.confusion is not None:
                write_confusion(self.run_dir / "confusion.csv", self.confusion, self.data.info.classes)
        if self.confusion is not None:
            with training_goes_on(self.run_dir / "examples", Exception):
                self.write_examples(trainer, pl_module)
        with training_goes_on(self.run_dir / "report.html", Exception):
            write_report(self.run_dir)

    def has_files_of(self, step: int) -> bool:
        """Returns whether ``confusion.csv`` exists, and an ``examples/`` from this step."""
        try:
            content = json.loads((self.run_dir / "examples" / "examples.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(content, dict) and content.get("step") == step and (self.run_dir / "confusion.csv").is_file()

    @torch.no_grad()
    def evaluate_again(self, trainer: Trainer, method: Method) -> None:
        """Evaluates the teacher once more, for a run that is resumed at its end and has lost its files."""
        samples, metric = EvaluationDataset(self.data.val, self.data.info.bands), method.metrics["teacher"]
        found = []
        for i in with_bar(range(len(samples)), "validation images"):
            sample = samples[i]
            image, label = sample["image"][None].to(method.device), sample["label"][None].to(method.device)
            with trainer.precision_plugin.val_step_context():
                prediction = method.task.predict(method.teacher.model, normalize(image, self.data.info.bands))
            found.append(metric(prediction, label))
        self.scores = torch.tensor([float(method.task.image_score(counts)) for counts in found])
        self.confusion = torch.stack([counts["confusion"] for counts in found]).sum(0).cpu()

    def write_examples(self, trainer: Trainer, method: Method) -> None:
        """Writes ``examples/``: validation images, training views and the least certain unlabelled images."""
        info = self.data.info
        models = {"student": method.student, "teacher": method.teacher.model}
        rows = validation_rows if isinstance(method.task, PixelTask) else classified_rows
        validation = rows(models, method.task, self.data.val, info, self.scores)
        module = getattr(trainer, "datamodule", None)
        views, uncertain = [], []
        if isinstance(method, SemiSupervised) and isinstance(module, SemiSupervisedDataModule):
            views = view_rows(method, module, max(trainer.current_epoch - 1, 0))
            uncertain = uncertain_rows(method.teacher.model, method.task, self.data.unlabeled, info)
        write_examples(self.run_dir / "examples", info, trainer.global_step, validation, views, uncertain)
