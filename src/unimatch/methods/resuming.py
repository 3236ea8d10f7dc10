"""The progress of a training in a checkpoint: the position in the data, the evaluations, and pseudo-label counts."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from unimatch.checkpoints.content import Training, method_settings_of, training_of, write
from unimatch.checkpoints.counters import place_of, rewrite_counters
from unimatch.errors import ConfigError
from unimatch.lightning_internals import is_attached
from unimatch.methods.evaluations import Evaluation
from unimatch.tasks.scores import Scores

if TYPE_CHECKING:
    from unimatch.methods.base import Method

log = logging.getLogger("unimatch")


def write_progress(checkpoint: dict[str, Any], method: "Method") -> None:
    """Writes into a checkpoint what is needed to resume the training, beside what Lightning writes."""
    place = place_of(method.trainer, method.evaluated_after)
    last = place.batch == method.trainer.num_training_batches
    rewrite_counters(checkpoint["loops"], place, step=method.global_step, last=last)
    counts = method.trainer.strategy.reduce(method.pseudo_quality.counts.clone(), reduce_op="sum")
    kept = counts if method.pseudo_quality.update_called else None
    evaluations = [asdict(evaluation) for evaluation in method.evaluations]
    write(checkpoint, Training(place, method.evaluated_after, evaluations, kept, method.parts_at_once))


def continue_from(checkpoint: dict[str, Any], method: "Method") -> None:
    """Resumes a checkpoint's training; does nothing for a method without a trainer.

    The training of another method is continued with a warning: weights and optimiser state are of the same kind.

    Raises:
        ConfigError: the checkpoint is from the middle of an optimizer step, or its batches have another number of
            parts.
    """
    training = training_of(checkpoint)
    if training is None or not is_attached(method):  # load_from_checkpoint continues nothing
        return
    if training.place.accumulating:
        raise ConfigError(
            "this checkpoint holds no gradients, and was written between two batches whose gradients are summed: "
            "training cannot continue from it exactly; use last.ckpt"
        )
    if training.parts_at_once != method.parts_at_once:
        raise ConfigError(
            f"trainer.parts_at_once: this checkpoint counts batches of {training.parts_at_once} parts of a step, "
            f"and here a batch holds {method.parts_at_once}; set trainer.parts_at_once={training.parts_at_once}, "
            "with resume_changed=true where it was auto"
        )
    saved = method_settings_of(checkpoint)
    if saved and method.trainer.is_global_zero and saved.name not in [base.__name__ for base in type(method).__mro__]:
        log.warning("this checkpoint is of %s, and its training is continued by %s", saved.name, type(method).__name__)
    method.start = (training.place.epoch, training.place.batch)
    method.evaluated_after = training.evaluated_after
    method.evaluations = [read_evaluation(stored, method.task.scores_type) for stored in training.evaluations]
    counts = training.pseudo_label_counts
    if counts is not None:  # they are the sum over all processes: only the first process takes them
        method.pseudo_quality.restore(counts if method.trainer.is_global_zero else torch.zeros_like(counts))


def read_evaluation(stored: Mapping[str, Any], scores: type[Scores]) -> Evaluation:
    """Returns an evaluation that a checkpoint holds as plain values; ``scores`` is the type of its task's scores."""
    student, teacher = scores(**stored["student"]), scores(**stored["teacher"])
    return Evaluation(**{**stored, "student": student, "teacher": teacher})
