"""Ends the processes of a run together: when one dies, the others report it and exit instead of waiting for it."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import torch
from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from unimatch.callbacks.signals import is_launched
from unimatch.errors import ProcessError, UnimatchError, first_line
from unimatch.lightning_internals import stop_watching_processes
from unimatch.safe_text import one_line

log = logging.getLogger("unimatch")


def is_lost(exception: BaseException) -> bool:
    """Returns whether an error means that the run's processes lost contact: one has died, or the network has failed."""
    of_gloo = isinstance(exception, RuntimeError) and "gloo/transport" in str(exception)
    return of_gloo or isinstance(exception, torch.distributed.DistError)


class EndTogether(Callback):
    """Ends all processes of a run when one dies: the first process watches those it has started, and they watch it.

    Args:
        seconds: time between two checks.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.over = threading.Event()
        # Both are set when the fit starts: an error before that is not blamed on another process.
        self.parent: int | None = None
        self.children: list[subprocess.Popen[bytes]] = []

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.over = threading.Event()  # the event of an earlier fit is set
        self.parent = os.getppid() if is_launched(trainer) else None
        self.children = getattr(trainer.strategy.launcher, "procs", [])
        stop_watching_processes()
        if self.parent is not None or self.children:
            threading.Thread(target=self.watch, name="watch", daemon=True).start()

    def watch(self) -> None:
        """Checks every ``seconds`` whether another process has died, until training is over."""
        while not self.over.wait(self.seconds):
            if cause := self.death():
                self.end(*cause)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # An error in communication may be the consequence of a death that the system reports a moment later.
        explained = isinstance(exception, (SystemExit, KeyboardInterrupt, UnimatchError))
        if trainer.world_size > 1 and not explained:
            for _ in range(20):
                if cause := self.death():
                    self.end(*cause)
                time.sleep(0.1)
        if is_lost(exception):  # the other process was started by srun or torchrun, or runs on another machine
            self.end(
                f"the connection to another process of this run is lost: {one_line(first_line(exception))}",
                ProcessError.status,
            )
        self.over.set()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.over.set()

    def death(self) -> tuple[str, int] | None:
        """Returns how another process has died, and the exit status for this one; None if none has died."""
        if self.parent is not None and os.getppid() != self.parent:
            return "the first process of this run is gone", ProcessError.status
        ended = [(rank, child.poll()) for rank, child in enumerate(self.children, start=1)]
        # Processes that were killed (negative statuses) come first: the others failed because of them.
        for rank, status in sorted(ended, key=lambda item: item[1] or 0):
            if status is not None and status < 0:
                return f"process {rank} of this run was killed by {signal.Signals(-status).name}", ProcessError.status
            if status:
                return f"process {rank} of this run ended with status {status}", status
        return None

    def end(self, cause: str, status: int) -> None:
        """Prints the cause, and ends this process and all processes that it has started."""
        sys.stderr.write(f"unimatch: {cause}; ending. resume=auto continues from the last checkpoint\n")
        sys.stderr.flush()
        for child in self.children:
            child.kill()
        for worker in multiprocessing.active_children():
            worker.kill()
        logging.shutdown()
        os._exit(status)
