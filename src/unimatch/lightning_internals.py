"""Holds every use of Lightning's private names, one function for each purpose.

If a new version of Lightning renames one, ``tests/test_lightning_internals.py`` fails, and only this file must change.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

LOG_STEP = "_batches_that_stepped"
"""The name of the counter that Lightning logs as ``step``, in the epoch loop and in that loop's checkpoint state."""


def is_attached(module: lightning.LightningModule) -> bool:
    """Returns whether a module is attached to a trainer."""
    return module._trainer is not None


def is_compiled(module: lightning.LightningModule) -> bool:
    """Returns whether ``fit`` was given ``torch.compile(module)``."""
    return module._compiler_ctx is not None


def set_log_step(trainer: lightning.Trainer, step: int) -> None:
    """Sets the step under which values are logged next: after resuming, Lightning's own counter is wrong."""
    setattr(trainer.fit_loop.epoch_loop, LOG_STEP, step)


def evaluation_is_due(trainer: lightning.Trainer) -> bool:
    """Returns whether Lightning will evaluate after the current batch."""
    loop = trainer.fit_loop
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)  # type: ignore[arg-type]


def stop_after_evaluating(trainer: lightning.Trainer) -> None:
    """Ends training after this batch, with a last evaluation, which Lightning makes before it stops early.

    The least numbers of epochs and steps, which would prevent stopping early, are set to 0.
    """
    trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = 0
    trainer.should_stop = True


def is_accumulating(trainer: lightning.Trainer) -> bool:
    """Returns whether the current batch does not end an optimizer step, but only accumulates gradients."""
    return trainer.fit_loop._should_accumulate()


def restore_within(
    trainer: lightning.Trainer,
    context: Callable[[], AbstractContextManager[None]],
    check: Callable[[str | Path], None] | None = None,
) -> None:
    """Makes Lightning restore checkpoints within a context, which may explain its errors.

    ``check`` is called with the path of a checkpoint before it is read.
    """
    connector = trainer._checkpoint_connector

    def within_context(restore: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any, **options: Any) -> None:
            with context():
                if check is not None and arguments and arguments[0] is not None:  # restore_training_state takes no path
                    check(arguments[0])
                restore(*arguments, **options)

        return wrapped

    for name in ("_restore_modules_and_callbacks", "restore_training_state"):
        setattr(connector, name, within_context(getattr(connector, name)))


def restores_within(trainer: lightning.Trainer) -> bool:
    """Returns whether :func:`restore_within` has been called for a trainer."""
    return "restore_training_state" in vars(trainer._checkpoint_connector)


def stop_watching_processes() -> None:
    """Stops Lightning's thread that, when a process dies, kills all processes without a message."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            vars(thread)["_child_processes"] = []


def slurm_of(trainer: lightning.Trainer) -> SLURMEnvironment | None:
    """Returns Lightning's view of the SLURM job that the trainer runs in; None outside one."""
    environment = trainer._accelerator_connector.cluster_environment
    return environment if isinstance(environment, SLURMEnvironment) else None


def hide_events_from(logger: TensorBoardLogger, step: int) -> None:
    """Makes TensorBoard ignore what earlier files hold from this step on: those steps are logged again."""
    logger._kwargs["purge_step"] = step  # an option of the writer, which is created for the first value


def end_wandb_run(logger: WandbLogger, *, failed: bool) -> None:
    """Ends the logger's run of Weights & Biases, so that the next training in this process starts its own."""
    if logger._experiment is not None:
        logger._experiment.finish(exit_code=int(failed))
        logger._experiment = None
