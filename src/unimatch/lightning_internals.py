"""Every private name of Lightning that this package uses, one function for each purpose.

Where a new Lightning renames one, ``tests/test_lightning_internals.py`` says which, and this file is the one to mend.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import lightning
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

LOG_STEP = "_batches_that_stepped"
"""The counter that Lightning logs as ``step``, in the loop of an epoch and in its entry in a checkpoint."""


def is_attached(module: lightning.LightningModule) -> bool:
    """Returns whether a trainer has this module."""
    return module._trainer is not None


def is_compiled(module: lightning.LightningModule) -> bool:
    """Returns whether ``fit`` was given ``torch.compile(module)``."""
    return module._compiler_ctx is not None


def set_log_step(trainer: lightning.Trainer, step: int) -> None:
    """Makes what is logged from now on be of this step: Lightning's own counter is off after resuming."""
    setattr(trainer.fit_loop.epoch_loop, LOG_STEP, step)


def evaluation_is_due(trainer: lightning.Trainer) -> bool:
    """Returns whether Lightning evaluates after the batch that is done."""
    loop = trainer.fit_loop
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)  # type: ignore[arg-type]


def stop_after_evaluating(trainer: lightning.Trainer) -> None:
    """Ends training after this batch and an evaluation: before it stops early, Lightning evaluates.

    Least numbers of epochs and steps, which would keep it from stopping early, have nothing left to ask for.
    """
    trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = 0
    trainer.should_stop = True


def is_accumulating(trainer: lightning.Trainer) -> bool:
    """Returns whether the batch that is done ended no optimizer step."""
    return trainer.fit_loop._should_accumulate()


def restore_within(trainer: lightning.Trainer, context: Callable[[], AbstractContextManager[None]]) -> None:
    """Has whatever Lightning restores from a checkpoint restored within a context, which may explain its errors."""
    connector = trainer._checkpoint_connector

    def within(restore: Callable[..., None]) -> Callable[..., None]:
        def restored(*arguments: Any, **options: Any) -> None:
            with context():
                restore(*arguments, **options)

        return restored

    for name in ("_restore_modules_and_callbacks", "restore_training_state"):
        setattr(connector, name, within(getattr(connector, name)))


def stop_watching_processes() -> None:
    """Stops Lightning's thread that kills all processes, this one first, without a word, when one of them dies."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            vars(thread)["_child_processes"] = []


def slurm_of(trainer: lightning.Trainer) -> SLURMEnvironment | None:
    """Returns Lightning's view of the SLURM job that the trainer runs in; None outside one."""
    environment = trainer._accelerator_connector.cluster_environment
    return environment if isinstance(environment, SLURMEnvironment) else None


def hide_events_from(logger: TensorBoardLogger, step: int) -> None:
    """Has TensorBoard leave out what earlier files hold of this step and later ones: they are logged again."""
    logger._kwargs["purge_step"] = step  # of the writer, which is made when the first value is logged


def end_wandb_run(logger: WandbLogger, *, failed: bool) -> None:
    """Ends the logger's run of Weights & Biases, so that the next training in this process gets its own."""
    if logger._experiment is not None:
        logger._experiment.finish(exit_code=int(failed))
        logger._experiment = None
