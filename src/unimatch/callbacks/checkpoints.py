"""Checkpoints: when they are written, how they reach the disk, and which one to continue from."""

import logging
import os
import signal
import time
from pathlib import Path
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
from unimatch.launchers import requeue
from unimatch.methods.base import Method
from unimatch.trainer import evaluates_training

log = logging.getLogger("unimatch")


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after evaluations, every so often and when a signal asks to end; ``best.ckpt`` too.

    ``previous.ckpt`` is the last but one: what training continues from if ``last.ckpt`` is damaged. ``best.ckpt`` is of
    the evaluation with the highest headline score of the teacher. Writing changes nothing in training.

    SIGTERM, SIGUSR1, SIGUSR2 and Ctrl-C end the run after the step they arrive in, with a checkpoint and status 128 +
    the signal's number (143, 138, 140, 130). With several processes they agree on the step, at the interval of the log.

    Args:
        run_dir: the run directory; its folder ``checkpoints`` is made.
        every_n_steps: optimizer steps between checkpoints, beside those after evaluations; None for none.
        every_minutes: likewise by the clock. Both must be above 0.
    """

    def __init__(self, run_dir: Path, *, every_n_steps: int | None = None, every_minutes: float | None = None) -> None:
        for key, interval in (("every_n_steps", every_n_steps), ("every_minutes", every_minutes)):
            if interval is not None and not interval > 0:
                raise ConfigError(f"{key}={interval}: must be above 0, or null for none")
        self.folder, self.every_n_steps, self.every_minutes = run_dir / "checkpoints", every_n_steps, every_minutes
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forgets an earlier fit, and the signal that has ended it."""
        self.signals = Signals()
        self.saved = 0  # the step of the last checkpoint, written or continued from
        self.step = 0
        self.overdue = False
        self.whole = False  # between two optimizer steps of a training that has begun, with nothing half done

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
        self.saved = self.step = trainer.global_step
        self.whole = True
        self.clock = time.monotonic()

    @override
    def on_train_batch_end(self, trainer: Trainer, *arguments: Any, **options: Any) -> None:
        # Gradients that are being accumulated are not in a checkpoint: only a batch that ends a step leaves all whole.
        self.whole, self.step = trainer.global_step != self.step, trainer.global_step

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Between two steps: here the step before is logged too. From here to its end nothing can be saved.
        self.between_steps(trainer, pl_module)
        self.whole = False

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if evaluates_training(trainer):
            self.between_steps(trainer, pl_module)

    def between_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes ``last.ckpt`` if it is time to, and ends the run if a signal has asked for that."""
        assert isinstance(pl_module, Method)
        if not self.whole:
            return
        by_steps = self.every_n_steps is not None and self.step > 0 and self.step % self.every_n_steps == 0
        due = by_steps and self.saved != self.step
        # The processes ask one another no more often than they log: it waits for the device.
        wanted = 0
        if trainer.world_size == 1 or self.step % pl_module.log_interval == 0:
            wanted = agreed(trainer, self.signals.received or int(self.is_time(trainer)))
        if due or self.overdue or (wanted and self.saved != self.step):
            self.save(trainer)
        if wanted > 1:
            self.leave(trainer, wanted)

    @override
    def on_validation_batch_end(self, trainer: Trainer, *arguments: Any, **options: Any) -> None:
        # An evaluation that a signal ends is run again on resuming. Several processes finish it first.
        if self.signals.received and trainer.world_size == 1:
            if evaluates_training(trainer) and self.whole:
                self.save(trainer)
            self.leave(trainer, self.signals.received)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        if not evaluates_training(trainer):
            return
        *before, now = (evaluation.teacher.main for evaluation in pl_module.evaluations)
        if all(now > earlier for earlier in before):
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        self.overdue = not self.whole
        if self.whole:
            self.save(trainer)
        if wanted := agreed(trainer, self.signals.received):
            self.leave(trainer, wanted)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A training without evaluations has no last checkpoint yet; and there may be room now.
        if agreed(trainer, int(self.saved != trainer.global_step or self.folder / LAST in unwritten)):
            self.save(trainer)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # What fails between two steps, such as reading an image, leaves all whole; several processes may differ.
        told = isinstance(exception, (SystemExit, KeyboardInterrupt, NumericalError))
        if not told and self.whole and trainer.world_size == 1 and self.saved != trainer.global_step:
            self.save(trainer)

    def is_time(self, trainer: Trainer) -> bool:
        """Returns whether the first process's clock says that a checkpoint is due."""
        if self.every_minutes is None or not trainer.is_global_zero:
            return False
        return time.monotonic() - self.clock >= 60 * self.every_minutes

    def save(self, trainer: Trainer) -> None:
        """Writes ``last.ckpt``, and first all that is logged.

        Nothing is written before the evaluation that ends training: Lightning would not run it on resuming.
        """
        method = trainer.lightning_module
        assert isinstance(method, Method)
        ends_with_an_evaluation = method.has_ended and trainer.should_stop and trainer.enable_validation
        if ends_with_an_evaluation and not method.is_evaluated:
            return
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.saved, self.overdue = trainer.global_step, False
        self.clock = time.monotonic()

    def leave(self, trainer: Trainer, signum: int) -> None:
        """Ends the run because of a signal, by raising :class:`Stopped`."""
        if trainer.is_global_zero:
            name = signal.Signals(signum).name
            place = f"step {self.saved}" if self.folder / LAST not in unwritten else "the last whole checkpoint"
            log.warning("ended by %s at step %d; resume=auto continues from %s", name, self.step, place)
        submitits = self.signals.submitits.get(signum)
        if submitits is None:
            requeue(trainer, signum)
        else:
            submitits(signum, None)
        raise Stopped(signum, status=0 if is_launched(trainer) else None)


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's plugin that writes and reads checkpoint files: safely, and never unpickling code.

    A file that cannot be written is a warning: the one before is still there, and training goes on.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        # The file holds a CRC-32 for each of its parts.
        path = Path(path)
        previous = path.with_name(PREVIOUS) if path.name == LAST else None
        # torch's writer makes a RuntimeError of an OSError.
        with training_goes_on(path, (OSError, RuntimeError), of=f" of step {checkpoint['global_step']}"):
            replace_file(path, lambda file: torch.save(checkpoint, file), previous=previous)

    @override
    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        # Tensors and plain values alone, whatever Lightning asks for.
        return read_checkpoint(Path(path))
