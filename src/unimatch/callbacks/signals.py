"""Signals that end a training: remembered when they arrive, acted on between two steps."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException

NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")
"""Sent by schedulers (SIGTERM), by SLURM before a job's time limit (the next two, one for submitit), by Ctrl-C."""


class Stopped(SystemExit):
    """A signal ended the training. The exit status is 128 + its number, as shells report it, or ``status``."""

    def __init__(self, signum: int, *, status: int | None = None) -> None:
        super().__init__(128 + signum if status is None else status)
        self.signum = signum


class Signals:
    """Remembers the first signal that arrives, so that no step is cut short and no signal is lost."""

    def __init__(self) -> None:
        self.received = 0  # the signal's number; 0 for none
        self.submitit_handlers: dict[int, Any] = {}  # by signal number; they requeue the job

    def install(self) -> None:
        """Replaces Lightning's handlers, which act at once. Its teardown restores those from before the training."""
        if threading.current_thread() is threading.main_thread():
            for name in NAMES:
                if hasattr(signal, name):  # Windows has fewer
                    number = getattr(signal, name)
                    before = signal.signal(number, self.note)
                    if str(getattr(before, "__module__", "")).startswith("submitit"):
                        self.submitit_handlers[number] = before

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Remembers the signal; a second Ctrl-C ends the run at once."""
        if signum == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        self.received = self.received or signum
        text = f"\nunimatch: {signal.Signals(signum).name}: ending after this step\n"
        os.write(2, text.encode())  # print is not reentrant, so not safe in a handler


@contextmanager
def status_of_signals() -> Iterator[None]:
    """Ends a call of Lightning's trainer that a signal interrupts with the signal's status, and says so.

    By itself Lightning ends the process with status 0 after SIGTERM, as if all were done, and with 1 after Ctrl-C. For
    calls that save no checkpoints, and so have no :class:`Signals`.
    """
    try:
        yield
    except SystemExit as error:
        if isinstance(error, SIGTERMException):
            received = signal.SIGTERM
        elif isinstance(error.__context__, KeyboardInterrupt):
            received = signal.SIGINT
        else:
            raise
        os.write(2, f"\nunimatch: {received.name}: ended, and nothing was written\n".encode())
        raise Stopped(received) from error


def agreed(trainer: Trainer, number: int) -> int:
    """Returns the largest of all processes' numbers, so that what one process received all processes know."""
    if trainer.world_size == 1:
        return number
    everyone = trainer.strategy.reduce(torch.tensor(number, device=trainer.strategy.root_device), reduce_op="max")
    assert isinstance(everyone, torch.Tensor)
    return int(everyone)


def is_launched(trainer: Trainer) -> bool:
    """Returns whether the first process started this one, and would kill the run if this one ended with an error."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return isinstance(environment, LightningEnvironment) and trainer.local_rank > 0
