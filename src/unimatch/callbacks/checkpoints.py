"""Checkpoints: when they are written, and how they reach the disk."""

import logging
import os
import signal
import time
from pathlib import Path
from sys import float_info
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from unimatch.callbacks.signals import Signals, Stopped, agreed, is_launched
from unimatch.checkpoints.files import read_checkpoint
from unimatch.checkpoints.run_folder import BEST, LAST, PREVIOUS
from unimatch.disk import replace_file, training_goes_on, unwritten
from unimatch.errors import ConfigError, NumericalError
from unimatch.kinds import checked
from unimatch.launchers import requeue
from unimatch.methods.base import Method
from unimatch.options import MOST, is_between, within
from unimatch.trainer import evaluates_training

log = logging.getLogger("unimatch")

TIMER = 1
"""What a process asks for when only ``every_minutes`` have passed; all signals that end a run have larger numbers."""


@checked
class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after each evaluation, at intervals and when a signal ends the run; and ``best.ckpt``.

    ``best.ckpt`` is from the evaluation with the teacher's highest headline score. ``previous.ckpt`` is the
    ``last.ckpt`` before the current one: training continues from it if ``last.ckpt`` is damaged. Writing a checkpoint
    does not change the training.

    SIGTERM, SIGUSR1, SIGUSR2 and Ctrl-C end the run after the step in which they arrive, with a checkpoint and exit
    status 128 + the signal's number (143, 138, 140, 130). Several processes agree on that step when they log.

    Args:
        run_dir: the run directory; checkpoints are written to its folder ``checkpoints``, which is created.
        every_n_steps: optimizer steps between checkpoints, in addition to those after evaluations; None for no such
            checkpoints.
        every_minutes: the same by the clock.

    Raises:
        ConfigError: an interval is not above 0.
    """

    def __init__(
        self, run_dir: str | Path, *, every_n_steps: int | None = None, every_minutes: float | None = None
    ) -> None:
        for key, interval in (("every_n_steps", every_n_steps), ("every_minutes", every_minutes)):
            if interval is not None and not is_between(interval, float_info.min, float_info.max):
                raise ConfigError(f"{key}={interval}: must be above 0, or null for none")
        within(1, MOST, every_n_steps=every_n_steps)
        self.folder = Path(run_dir) / "checkpoints"
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self.begin_anew()

    def begin_anew(self) -> None:
        """Resets the state of an earlier fit, including the signal that ended it."""
        self.signals = Signals()
        self.saved_step = 0  # of the last checkpoint that was written, or that training continues from
        self.step = 0
        self.overdue = False  # an evaluation fell between accumulated batches: its checkpoint follows the step
        self.is_between_steps = False  # training has begun, and no optimizer step is half done

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.begin_anew()

    @override
    def on_sanity_check_start(self, *arguments: Any, **options: Any) -> None:
        self.signals.install()

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.install()
        self.saved_step = self.step = trainer.global_step
        self.is_between_steps = True
        self.clock = time.monotonic()

    @override
    def on_train_batch_end(self, trainer: Trainer, *arguments: Any, **options: Any) -> None:
        # A checkpoint does not hold accumulated gradients: it can be written only after a batch that ends a step.
        self.is_between_steps = trainer.global_step != self.step
        self.step = trainer.global_step

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Here the previous step has been logged too. From now to the end of this step nothing can be saved.
        self.save_or_stop(trainer, pl_module)
        self.is_between_steps = False

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if evaluates_training(trainer):
            self.save_or_stop(trainer, pl_module)

    def save_or_stop(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes ``last.ckpt`` if it is due, and ends the run if a signal has arrived; only between two steps."""
        assert isinstance(pl_module, Method)
        if not self.is_between_steps:
            return
        # The processes ask one another only at the steps that they log: the question waits for the device.
        request = 0
        if trainer.world_size == 1 or self.step % pl_module.log_interval == 0:
            request = agreed(trainer, self.signals.received or (TIMER if self.is_time(trainer) else 0))
        by_steps = self.every_n_steps is not None and self.step > 0 and self.step % self.every_n_steps == 0
        if self.overdue or ((by_steps or request) and self.saved_step != self.step):
            self.save(trainer)
        if request > TIMER:
            self.stop(trainer, request)

    @override
    def on_validation_batch_end(self, trainer: Trainer, *arguments: Any, **options: Any) -> None:
        # One process stops within the evaluation, which is repeated on resuming; several processes finish it first.
        if self.signals.received and trainer.world_size == 1:
            if evaluates_training(trainer) and self.is_between_steps:
                self.save(trainer)
            self.stop(trainer, self.signals.received)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        if not evaluates_training(trainer):
            return
        *earlier, latest = (evaluation.teacher.main for evaluation in pl_module.evaluations)
        if all(latest > score for score in earlier):
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        self.overdue = not self.is_between_steps
        if self.is_between_steps:
            self.save(trainer)
        if signum := agreed(trainer, self.signals.received):
            self.stop(trainer, signum)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A training without evaluations has no last checkpoint yet, and a disk that was full may have room again.
        if agreed(trainer, int(self.saved_step != trainer.global_step or self.folder / LAST in unwritten)):
            self.save(trainer)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # An error between two steps, such as an unreadable image, leaves a state that is worth saving. Several
        # processes may not be at the same step, so that they save nothing.
        expected = isinstance(exception, (SystemExit, KeyboardInterrupt, NumericalError))
        unsaved = self.is_between_steps and self.saved_step != trainer.global_step
        if unsaved and not expected and trainer.world_size == 1:
            self.save(trainer)

    def is_time(self, trainer: Trainer) -> bool:
        """Returns whether the first process's clock says that a checkpoint is due."""
        if self.every_minutes is None or not trainer.is_global_zero:
            return False
        return time.monotonic() - self.clock >= 60 * self.every_minutes

    def save(self, trainer: Trainer) -> None:
        """Writes ``last.ckpt``, after everything that was logged.

        After the last step nothing is written until its evaluation is done: on resuming, Lightning would leave it out.
        """
        method = trainer.lightning_module
        assert isinstance(method, Method)
        ends_with_an_evaluation = method.has_ended and trainer.should_stop and trainer.enable_validation
        if ends_with_an_evaluation and not method.is_evaluated:
            return
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.saved_step, self.overdue = trainer.global_step, False
        self.clock = time.monotonic()

    def stop(self, trainer: Trainer, signum: int) -> None:
        """Ends the run because of a signal, by raising :class:`Stopped`."""
        if trainer.is_global_zero:
            name = signal.Signals(signum).name
            place = f"step {self.saved_step}" if self.folder / LAST not in unwritten else "the last whole checkpoint"
            log.warning("ended by %s at step %d; resume=auto continues from %s", name, self.step, place)
        requeue_by_submitit = self.signals.submitit_handlers.get(signum)
        if requeue_by_submitit is None:
            requeue(trainer, signum)
        else:
            requeue_by_submitit(signum, None)
        raise Stopped(signum, status=0 if is_launched(trainer) else None)


class CheckpointFiles(TorchCheckpointIO):
    """Writes and reads checkpoint files for Lightning: a file is replaced whole, and reading it never runs code.

    If a file cannot be written, a warning says so, the previous file stays and training continues.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        previous = path.with_name(PREVIOUS) if path.name == LAST else None
        # torch.save may raise a RuntimeError in place of an OSError.
        with training_goes_on(path, (OSError, RuntimeError), of=f" of step {checkpoint['global_step']}"):
            replace_file(path, lambda file: torch.save(checkpoint, file), previous=previous)

    @override
    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        # Tensors and plain values only, whatever Lightning asks for.
        return read_checkpoint(Path(path))
