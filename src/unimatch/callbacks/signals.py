"""Signals that ask a training to end: noted when they arrive, acted on between two steps."""

import os
import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")
"""From schedulers; from SLURM, some time before its end, the second from submitit's jobs; from Ctrl-C."""


class Stopped(SystemExit):
    """Training was asked to end by a signal. The process ends with 128 + its number, as a shell reports it."""

    def __init__(self, signum: int, *, status: int | None = None) -> None:
        super().__init__(128 + signum if status is None else status)
        self.signum = signum


class Signals:
    """Remembers signals, so that they neither end a step halfway nor are lost."""

    def __init__(self) -> None:
        self.received = 0
        self.submitits: dict[int, Any] = {}  # handlers that have the job run again

    def install(self) -> None:
        """Takes signals over from Lightning, whose handlers act at once; its teardown restores the ones from before."""
        if threading.current_thread() is threading.main_thread():
            for name in NAMES:
                if hasattr(signal, name):  # Windows has fewer
                    number = getattr(signal, name)
                    before = signal.signal(number, self.note)
                    if str(getattr(before, "__module__", "")).startswith("submitit"):
                        self.submitits[number] = before

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Remembers the signal; a second Ctrl-C ends at once."""
        if signum == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        self.received = self.received or signum
        text = f"\nunimatch: {signal.Signals(signum).name}: ending after this step\n"
        os.write(2, text.encode())  # print is not safe in a handler


def agreed(trainer: Trainer, number: int) -> int:
    """Returns the largest of all processes' numbers: what one of them was told, all then know."""
    if trainer.world_size == 1:
        return number
    everyone = trainer.strategy.reduce(torch.tensor(number, device=trainer.strategy.root_device), reduce_op="max")
    assert isinstance(everyone, torch.Tensor)
    return int(everyone)


def is_launched(trainer: Trainer) -> bool:
    """Returns whether the first process started this one, and would kill the run if this one ended with an error."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return isinstance(environment, LightningEnvironment) and trainer.local_rank > 0
