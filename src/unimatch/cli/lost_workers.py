"""What is said when a process that loads images has died, or has reached a limit of the system."""

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
    """Turns the error that a killed loading process causes into one line.

    PyTorch tells of its death by a signal, so that this error may come out of any line, also as another one: what is
    in a ``try`` just then, such as Python's ``inspect``, may raise an error of its own kind from it.

    Args:
        key: the setting that says how many loading processes there are.
        afterwards: what can be done after a remedy, such as to resume.

    Raises:
        ProcessError: which limit was reached, or which process has died, and what to do.
    """
    end = "" if afterwards is None else f". {afterwards}"
    try:
        yield
    except Exception as error:
        limits = isinstance(error, (RuntimeError, OSError))
        if limits and lacks_shared_memory(error):
            raise ProcessError(
                "the shared memory in which loading processes hand over images (/dev/shm) is full: make room there, "
                f"give a container more of it (docker run --shm-size=8g), or set {key}=0{end}"
            ) from error
        if limits and lacks_open_files(error):
            raise ProcessError(f"{OPEN_FILES}{end}") from error
        dead = None if isinstance(error, UnimatchError) else worker_behind(error)
        if dead is None:
            raise
        raise ProcessError(
            f"a process that loads images has died ({first_line(dead)}). If the system killed it for memory: fewer "
            f"{key}, or smaller images{end}"
        ) from error
