"""What a process that loads images does about threads, signals and its end."""

import signal
import sys
from types import TracebackType

import cv2


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
