"""The evaluations during a training: student and teacher are scored on the same images, the last time at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from unimatch.lightning_internals import evaluation_is_due, stop_after_evaluating
from unimatch.methods.after_training import AfterTraining
from unimatch.methods.pseudo_quality import PseudoLabelQuality
from unimatch.methods.sharding import free, gather
from unimatch.models.base import Model
from unimatch.tasks.scores import Scores
from unimatch.trainer import evaluates_training


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of student and teacher on the same images."""

    step: int
    epoch: int
    student: Scores
    teacher: Scores
    pseudo: dict[str, Any] = field(default_factory=dict)
    """:meth:`unimatch.methods.pseudo_quality.PseudoLabelQuality.compute` since the evaluation before, and
    :meth:`EvaluatedTraining.measure_pseudo_labels`."""


class EvaluatedTraining(AfterTraining):
    """The part of :class:`unimatch.Method` that evaluates student and teacher during a training and at its end."""

    student: Model
    pseudo_quality: PseudoLabelQuality
    evaluations: list[Evaluation]
    """The evaluations of this training, in order."""
    evaluated_after: int
    """How many batches, over all epochs, had been trained on at the last of them."""
    scores: Mapping[str, Scores] = {}
    """The scores of the last evaluation, in a training or outside one, by the model's name."""

    def forget_evaluations(self) -> None:
        """Discards the evaluations of an earlier fit."""
        self.evaluations, self.evaluated_after = [], 0
        self.pseudo_quality.reset()

    @property
    @override
    def evaluated_models(self) -> Mapping[str, Model]:
        return {"student": self.student, "teacher": self.teacher.model}

    @override
    def on_train_batch_end(self, *arguments: Any, **options: Any) -> None:
        """Makes the run end with an evaluation, whatever its last step: Lightning evaluates before it stops early."""
        if self.has_ended and (self.global_step == self.trainer.max_steps or not evaluation_is_due(self.trainer)):
            stop_after_evaluating(self.trainer)

    @property
    def has_ended(self) -> bool:
        """Whether the last training batch of the whole run is done."""
        batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress  # Lightning types the counters loosely
        epoch_is_done = batches.is_last_batch and batches.current.processed == batches.current.ready
        last_epoch = self.current_epoch + 1 == self.trainer.max_epochs
        return self.global_step == self.trainer.max_steps or (last_epoch and epoch_is_done)

    @override
    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        for model in self.evaluated_models.values():
            gather(model)

    @override
    def on_validation_end(self) -> None:
        for model in self.evaluated_models.values():
            free(model)

    on_test_epoch_start = on_validation_epoch_start
    on_test_end = on_validation_end

    @override
    def on_validation_epoch_end(self) -> None:
        """Logs the scores, and keeps those of training in :attr:`evaluations`.

        ``trainer.validate`` and ``trainer.test`` log under other names, such as ``test/teacher/miou``.
        """
        super().on_validation_epoch_end()
        if self.trainer.sanity_checking:
            return
        self.scores = {name: self.task.scores(counts) for name, counts in self.counts.items()}
        of_training = evaluates_training(self.trainer)
        prefix = "" if of_training or self.trainer.state.fn is None else f"{self.trainer.state.fn.value}/"
        for name, result in self.scores.items():
            self.log_dict({f"{prefix}{name}/{key}": number for key, number in result.overall().items()})
        if not of_training:
            return
        pseudo = self.pseudo_quality.compute() if self.pseudo_quality.update_called else {}
        pseudo |= self.measure_pseudo_labels()
        self.pseudo_quality.reset()
        self.evaluated_after = self.batches_done
        self.evaluations.append(Evaluation(self.global_step, self.current_epoch, **self.scores, pseudo=pseudo))
        self.log_dict({f"pseudo_label/{key}": value for key, value in pseudo.items() if isinstance(value, float)})

    def measure_pseudo_labels(self) -> dict[str, Any]:
        """Returns what else the method measures of its pseudo labels at an evaluation of its training, by name."""
        return {}

    @property
    def batches_done(self) -> int:
        """How many batches have been trained on, over all epochs."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]

    @property
    def is_evaluated(self) -> bool:
        """Whether an evaluation has been finished since the last training batch."""
        return self.evaluated_after == self.batches_done
