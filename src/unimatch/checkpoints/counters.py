"""Finds the place in a training that a checkpoint continues from, and makes Lightning's counters agree with it.

Lightning resumes exactly from some of the moments at which it can save, but not from others: a checkpoint written after
a training batch loses the evaluation that was due next; one written at the end of an epoch counts this twice when it is
resumed again. Therefore the counters of every checkpoint are rewritten to one of the states from which Lightning does
resume exactly: between two epochs, or between two batches, with the evaluation that may be due there done or to come.
"""

from typing import Any

import lightning

from unimatch.checkpoints.content import Place
from unimatch.lightning_internals import LOG_STEP, evaluation_is_due


def place_of(trainer: lightning.Trainer, evaluated_after: int) -> Place:
    """Returns where training stands, between two batches or during an evaluation.

    Args:
        trainer: while it fits.
        evaluated_after: number of batches, over all epochs, after which the last evaluation was finished.
    """
    loop: Any = trainer.fit_loop  # Lightning types the counters loosely
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress
    done, evaluated = batches.current.processed, evaluated_after == batches.total.processed
    last = done == trainer.num_training_batches
    if epochs.started == epochs.processed:  # before the first batch, or after the last
        return Place(epochs.processed, 0, True, False)
    if last and (evaluated or not evaluation_is_due(trainer)):
        return Place(epochs.processed + 1, 0, True, False)
    accumulating = not last and done % trainer.accumulate_grad_batches != 0
    return Place(epochs.processed, done, evaluated, accumulating)


def rewrite_counters(loops: dict[str, Any], place: Place, *, step: int, last: bool) -> None:
    """Rewrites a checkpoint's ``loops`` so that training continues at a place, each evaluation run exactly once.

    Args:
        loops: of a checkpoint, changed in place.
        place: where to continue.
        step: optimizer steps done.
        last: whether the epoch's last batch is done, but not its evaluation.
    """
    fit = loops["fit_loop"]
    epochs = _counters(place.epoch + 1 if place.batch > 0 else place.epoch, place.epoch)
    fit["epoch_progress"] = {"total": epochs, "current": dict(epochs)}
    total = fit["epoch_loop.batch_progress"]["total"]["processed"]
    fit["epoch_loop.batch_progress"] = {
        "total": _counters(total, total),
        "current": _counters(place.batch, place.batch),
        "is_last_batch": last,
    }
    # Lightning evaluates before it trains only if an evaluation was begun and not finished, and if one is due here.
    open_evaluation = _counters(0 if place.evaluated else 1, 0)
    fit["epoch_loop.val_loop.batch_progress"] = {
        "total": open_evaluation,
        "current": dict(open_evaluation),
        "is_last_batch": False,
    }
    # The step under which the next evaluation is logged; Method.on_train_batch_start corrects it afterwards.
    fit["epoch_loop.state_dict"][LOG_STEP] = max(step - 1, 0)


def _counters(begun: int, done: int) -> dict[str, int]:
    """Returns Lightning's counters of what has been begun and what is done."""
    return {"ready": begun, "started": begun, "processed": done, "completed": done}
