"""Starts a command: faster imports, messages while they take long, and streams and limits fit for its work."""

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

FIRST, NEXT = 5.0, 10.0
"""Seconds before the first message, and between two messages."""

OPEN_FILES = 65_536
"""How many open files a command asks the system for at most."""

_started = threading.Event()
"""Set when the imports are done."""
_gc_paused = False
"""Whether :func:`watch` has turned garbage collection off."""


def command_of(words: Sequence[str]) -> str | None:
    """Returns ``NAME`` if Python was started as ``python -m unimatch.NAME``, else None.

    >>> command_of(["python", "-m", "unimatch.run"]), command_of(["python", "-m", "pytest", "unimatch.run"])
    ('run', None)
    >>> command_of(["python", "-m", "torch.distributed.run", "-m", "unimatch.run"])  # a launcher, and no command
    """
    module = next((after for flag, after in pairwise(words) if flag == "-m"), "")
    return module.removeprefix("unimatch.") if module.startswith("unimatch.") else None


def watch() -> None:
    """Writes messages to stderr at intervals until :func:`done` is called; of several processes only the first does.

    Until then garbage collection is off: imports create hundreds of thousands of objects that stay alive, and
    traversing them again and again takes a quarter of a command's start.
    """
    global _gc_paused
    if gc.isenabled():
        _gc_paused = True
        gc.disable()
    open_streams()
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    if all(rank == "0" for rank in ranks):
        threading.Thread(target=_write_messages, args=(time.monotonic(),), daemon=True).start()


class PipeSafeStream:
    """A stream that drops what is written once its reader has closed the pipe, as ``| head`` does, without an error."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Writes text, or drops it, and returns its length."""
        with self.dropping():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is left in the buffer, or drops it."""
        with self.dropping():
            self.stream.flush()

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """Sends the stream, with what is left in its buffer, to the null device if the reader has closed the pipe."""
        try:
            yield
        except BrokenPipeError:
            with suppress(OSError), Path(os.devnull).open("w") as null:  # the stream may have no file descriptor
                os.dup2(null.fileno(), self.stream.fileno())


def open_streams() -> None:
    """Makes stdout and stderr safe to write to, even after their reader has closed the pipe.

    A process that was started without them (``2>&-``, a service) gets streams to the null device.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif not isinstance(stream, PipeSafeStream):
            setattr(sys, name, PipeSafeStream(stream))


def allow_open_files() -> None:
    """Raises this process's limit of open files as far as the system allows, to at most :data:`OPEN_FILES`.

    Loading processes hand images over through open files, and shells often allow only 1,024.
    """
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, and a system may refuse
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def done() -> None:
    """Ends the messages, and turns garbage collection on again.

    What has been imported by now is left out of later collections too. Collections during training are then short, and
    loading processes share the memory of the imports for longer.
    """
    global _gc_paused
    _started.set()
    if _gc_paused:
        _gc_paused = False
        gc.freeze()
        gc.enable()


def _write_messages(since: float) -> None:
    wait = FIRST
    while not _started.wait(wait):
        sys.stderr.write(f"unimatch: loading PyTorch and other libraries, {time.monotonic() - since:.0f} s so far\n")
        sys.stderr.flush()
        wait = NEXT
