"""Explains errors of processes that load images: one has died, or has reached a limit of the system."""

from collections.abc import Iterator
from contextlib import contextmanager

from unimatch.errors import (
    OPEN_FILES,
    ProcessError,
    UnimatchError,
    first_line,
    lacks_open_files,
    lacks_shared_memory,
    worker_behind,
)


@contextmanager
def lost_workers_explained(key: str = "workers", *, afterwards: str | None = None) -> Iterator[None]:
    """Turns the errors that lost loading processes cause into one line.

    PyTorch raises an error from a signal handler when such a process dies, so that any line of code may raise it. Code
    that is in a ``try`` at that moment, such as Python's ``inspect``, may replace it by an error of another kind.

    Args:
        key: the setting for the number of loading processes.
        afterwards: what the message says can be done after the remedy, such as to resume.

    Raises:
        ProcessError: with the limit that was reached, or the process that has died, and what to do.
    """
    end = "" if afterwards is None else f". {afterwards}"
    try:
        yield
    except Exception as error:
        may_be_limit = isinstance(error, (RuntimeError, OSError))
        if may_be_limit and lacks_shared_memory(error):
            raise ProcessError(
                "the shared memory in which loading processes hand over images (/dev/shm) is full: make room there, "
                f"give a container more of it (docker run --shm-size=8g), or set {key}=0{end}"
            ) from error
        if may_be_limit and lacks_open_files(error):
            raise ProcessError(f"{OPEN_FILES}{end}") from error
        dead = None if isinstance(error, UnimatchError) else worker_behind(error)
        if dead is None:
            raise
        raise ProcessError(
            f"a process that loads images has died ({first_line(dead)}). If the system killed it for memory: fewer "
            f"{key}, or smaller images{end}"
        ) from error
