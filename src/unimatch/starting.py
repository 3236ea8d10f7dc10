"""The start of a command: quick imports, and lines that say when they take long: on a busy machine, a network drive."""

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
"""Seconds before the first line, and between the others."""

FILES = 65_536
"""Open files that a command asks to be allowed, where it may have as many."""

_begun = threading.Event()
_collects = True
"""Whether Python collects garbage as its own settings say."""


def command_of(words: Sequence[str]) -> str | None:
    """Returns the ``NAME`` with which Python was started as ``python -m unimatch.NAME``; None if it was not.

    >>> command_of(["python", "-m", "unimatch.run"]), command_of(["python", "-m", "pytest", "unimatch.run"])
    ('run', None)
    >>> command_of(["python", "-m", "torch.distributed.run", "-m", "unimatch.run"])  # whose processes are commands
    """
    module = next((after for flag, after in pairwise(words) if flag == "-m"), "")
    return module.removeprefix("unimatch.") if module.startswith("unimatch.") else None


def watch() -> None:
    """Writes a line to stderr now and then until :func:`done` is called; of several processes the first one writes.

    Until then no garbage is collected: imports make hundreds of thousands of objects that stay, and to look through
    them again and again is a quarter of a command's start.
    """
    global _collects
    if gc.isenabled():
        _collects = False
        gc.disable()
    open_streams()
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    if all(rank == "0" for rank in ranks):
        threading.Thread(target=_watch, args=(time.monotonic(),), daemon=True).start()


class UntilReaderLeaves:
    """A stream that forgets what it gets once nobody reads it any more, as after ``| head``: the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Writes, or forgets."""
        with self.forgetting():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hands over what is left, or forgets it."""
        with self.forgetting():
            self.stream.flush()

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Makes what is done inside, and what is left in buffers, go nowhere once the reader has left."""
        try:
            yield
        except BrokenPipeError:
            with suppress(OSError), Path(os.devnull).open("w") as nowhere:  # a stream need not be a file
                os.dup2(nowhere.fileno(), self.stream.fileno())


def open_streams() -> None:
    """Makes stdout and stderr streams that end no command when their reader leaves.

    A process that was started without them (``2>&-``, a service) gets some that forget what they are given.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif not isinstance(stream, UntilReaderLeaves):
            setattr(sys, name, UntilReaderLeaves(stream))


def allow_open_files() -> None:
    """Raises this process's limit of open files to what the system lets it have, at most :data:`FILES`.

    Loading processes hand images over by open files, and shells often allow 1,024 of them.
    """
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, and a system may refuse
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
        if now != resource.RLIM_INFINITY and now < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def done() -> None:
    """Ends the lines: from here on the command itself says what it does.

    What is imported by now is not looked at by later collections either, so that those of a training are short, and
    loading processes share its memory for longer.
    """
    global _collects
    _begun.set()
    if not _collects:
        _collects = True
        gc.freeze()
        gc.enable()


def _watch(since: float) -> None:
    wait = FIRST
    while not _begun.wait(wait):
        sys.stderr.write(f"unimatch: loading PyTorch and other libraries, {time.monotonic() - since:.0f} s so far\n")
        sys.stderr.flush()
        wait = NEXT
