"""The progress of a training in a checkpoint: the position in the data, the evaluations, and pseudo-label counts."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch

from unimatch.checkpoints.content import Training, method_settings_of, training_of, write
from unimatch.checkpoints.counters import place_of, rewrite_counters
from unimatch.checkpoints.files import check_undamaged, misfit_of, read_checkpoint
from unimatch.errors import ConfigError, UnimatchError, WeightsError, own_place
from unimatch.lightning_internals import is_attached, restore_within, restores_within
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
    """Resumes a checkpoint's training; does nothing for a method without a trainer, or outside ``fit``.

    The training of another method is continued with a warning: weights and optimiser state are of the same kind.

    Raises:
        ConfigError: the checkpoint is from the middle of an optimizer step, or its batches have another number of
            parts.
    """
    training = training_of(checkpoint)
    # Neither load_from_checkpoint nor an evaluation of a checkpoint continues anything.
    if training is None or not is_attached(method) or method.trainer.state.fn != "fit":
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


def explain_restoring(trainer: lightning.Trainer) -> None:
    """Makes a trainer refuse a ``ckpt_path`` that is missing or damaged, and explain other errors of restoring it.

    PyTorch takes altered weights without a word, and Lightning's errors do not name the file. Does nothing where the
    caller explains these errors itself (:func:`unimatch.lightning_internals.restore_within`).
    """
    if not restores_within(trainer):
        restore_within(trainer, partial(restoring_explained, trainer), partial(check_ckpt_path, trainer))


def check_ckpt_path(trainer: lightning.Trainer, path: str | Path) -> None:
    """Refuses a checkpoint that is missing or damaged.

    Raises:
        WeightsError: with the reason.
    """
    file = Path(path).expanduser()
    in_parts = trainer.strategy.restore_checkpoint_after_setup and file.is_dir()  # such as those of FSDP2
    if "://" not in str(path) and not in_parts:  # Lightning reads addresses of many kinds
        check_undamaged(file)


@contextmanager
def restoring_explained(trainer: lightning.Trainer) -> Iterator[None]:
    """Explains errors while Lightning restores ``ckpt_path``; those of the user's own code pass unchanged.

    Raises:
        WeightsError: naming the file, with the reason.
    """
    try:
        yield
    except (UnimatchError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # Lightning and torch trust a file's content, so anything may fail
        path = trainer.ckpt_path
        if path is None or own_place(error) is not None:
            raise
        if Path(path).is_file():
            read_checkpoint(path)  # says what is wrong with a file that is not one of ours
        raise WeightsError(
            f"{path}: cannot be restored ({misfit_of(error)}); is it of another model, optimiser or version of "
            f"Lightning? {type(trainer.lightning_module).__name__}.load_from_checkpoint begins a new training with its "
            "weights"
        ) from error


def read_evaluation(stored: Mapping[str, Any], scores: type[Scores]) -> Evaluation:
    """Returns an evaluation that a checkpoint holds as plain values; ``scores`` is the type of its task's scores."""
    student, teacher = scores(**stored["student"]), scores(**stored["teacher"])
    return Evaluation(**{**stored, "student": student, "teacher": teacher})
