"""Prepares the processes that load images: checks their limits, and sets their threads and signals."""

import multiprocessing
import pickle
import signal
import sys
from types import TracebackType
from typing import Any

import cv2
from torch.multiprocessing import get_sharing_strategy

from unimatch.errors import ConfigError, first_line

OWN_FILES = 64
"""Files that a training process has open without workers, about."""

FILES_OF_A_WORKER = 16
"""Open files for each worker, which prepares two batches of some ten tensors."""


def check_open_files(workers: int) -> None:
    """Refuses more workers than the limit of open files allows: they pass every tensor through a file.

    Beyond the limit PyTorch's processes print errors without end.

    Raises:
        ConfigError: the limit is too low.
    """
    strategy = get_sharing_strategy()  # type: ignore[no-untyped-call]
    if not workers or strategy != "file_descriptor":  # other systems than Linux pass tensors by names
        return
    import resource  # Windows does not have it

    allowed, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], OWN_FILES + FILES_OF_A_WORKER * workers
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        raise ConfigError(
            f"workers={workers}: needs about {needed} open files, and this process may have {allowed}: raise the limit "
            "(ulimit -n 4096 in the shell, LimitNOFILE of a service), or take fewer workers; workers=0 needs none"
        )


def check_sent(workers: int, objects: Any) -> None:
    """Refuses objects that cannot be pickled, if workers are not forked from this process.

    That is so on Windows and macOS, and everywhere from Python 3.14 on.

    Raises:
        ConfigError: an object, such as a lambda, cannot be pickled.
    """
    if not workers or (method := multiprocessing.get_start_method()) == "fork":
        return
    try:
        pickle.dumps(objects)
    except Exception as error:  # the user's own objects may raise anything
        raise ConfigError(
            f"workers={workers}: data and views cannot be sent to processes that load images, which are started by "
            f"{method} here ({first_line(error)}): define their functions and classes at the top of a module, not as "
            "a lambda or within a function; or workers=0"
        ) from error


def prepare_worker(worker: int) -> None:
    """Limits a worker to one thread, and keeps it alive when a signal reaches all processes of the run.

    After such a signal the main process finishes its step, needs batches for that, and then ends its workers. A worker
    that it does not end dies 30 seconds after SIGTERM.
    """
    cv2.setNumThreads(0)  # OpenCV starts no threads
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):  # Windows has fewer
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda signum, frame: signal.alarm(30))
    sys.excepthook = report_unless_left


def report_unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints a worker's error, unless the main process ended while the worker was passing it a batch.

    A run that ends early interrupts its workers; its main process says why.
    """
    if not issubclass(kind, (EOFError, ConnectionError)):
        sys.__excepthook__(kind, error, trace)
