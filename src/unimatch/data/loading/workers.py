"""What a process that loads images does about threads, signals and its end."""

import multiprocessing
import pickle
import signal
import sys
from types import TracebackType
from typing import Any

import cv2
from torch.multiprocessing import get_sharing_strategy

from unimatch.errors import ConfigError, first_line

OWN_FILES, FILES_OF_A_WORKER = 64, 16
"""Open files of a process that trains, and for each worker, which prepares two batches of some ten tensors."""


def check_open_files(workers: int) -> None:
    """Refuses more loading processes than the limit of open files bears: they hand each tensor over by one.

    Beyond the limit PyTorch's processes print their errors without end.

    Raises:
        ConfigError: with the limit, and what to do.
    """
    strategy = get_sharing_strategy()  # type: ignore[no-untyped-call]
    if not workers or strategy != "file_descriptor":  # of Linux; others hand tensors over by names
        return
    import resource  # which Windows has not

    allowed, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], OWN_FILES + FILES_OF_A_WORKER * workers
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        raise ConfigError(
            f"workers={workers}: needs about {needed} open files, and this process may have {allowed}: raise the limit "
            "(ulimit -n 4096 in the shell, LimitNOFILE of a service), or take fewer workers; workers=0 needs none"
        )


def check_sent(workers: int, objects: Any) -> None:
    """Refuses objects that no loading process could get, where processes begin empty instead of as copies of this one.

    They do so on Windows and macOS, and anywhere from Python 3.14 on.

    Raises:
        ConfigError: naming what cannot be sent, such as a lambda.
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
    """Keeps a worker to one thread, and alive when a signal goes to all processes of the run.

    The main process finishes its step after such a signal, and needs batches for that; it ends its workers itself. A
    worker that it does not end dies 30 seconds after the signal to terminate.
    """
    cv2.setNumThreads(0)  # no threads of OpenCV's below a worker
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):  # Windows has fewer
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda signum, frame: signal.alarm(30))
    sys.excepthook = report_unless_left


def report_unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints a worker's error, except that the main process has gone while the worker was handing a batch over.

    A run that ends early, whose reason its main process states, ends its workers in the middle of their work.
    """
    if not issubclass(kind, (EOFError, ConnectionError)):
        sys.__excepthook__(kind, error, trace)
