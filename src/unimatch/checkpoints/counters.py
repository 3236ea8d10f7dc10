"""The place in training that a checkpoint continues from, and Lightning's own counters brought into line with it.

Lightning restarts exactly from some of the moments at which it can save, and not from others: a checkpoint written
after a training batch loses the evaluation that was due next, one written at the end of an epoch counts it twice when
resumed again. So the counters of every checkpoint are rewritten to one of the states that Lightning does restart from
exactly: between two epochs, or between two batches with the evaluation that may be due there done or still to come.
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
        last: whether the epoch's last batch is done, and only its evaluation is not.
    """
    fit = loops["fit_loop"]
    epochs = _counters(place.epoch + (place.batch > 0), place.epoch)
    fit["epoch_progress"] = {"total": epochs, "current": dict(epochs)}
    total = fit["epoch_loop.batch_progress"]["total"]["processed"]
    fit["epoch_loop.batch_progress"] = {
        "total": _counters(total, total),
        "current": _counters(place.batch, place.batch),
        "is_last_batch": last,
    }
    # An evaluation that was begun and not finished is the one thing that makes Lightning evaluate before it trains;
    # where none is due it goes on training.
    open_evaluation = _counters(0 if place.evaluated else 1, 0)
    fit["epoch_loop.val_loop.batch_progress"] = {
        "total": open_evaluation,
        "current": dict(open_evaluation),
        "is_last_batch": False,
    }
    # The logs' step. An evaluation is logged with its last batch's; Method.on_train_batch_start corrects it after.
    fit["epoch_loop.state_dict"][LOG_STEP] = max(step - 1, 0)


def _counters(begun: int, done: int) -> dict[str, int]:
    return {"ready": begun, "started": begun, "processed": done, "completed": done}
