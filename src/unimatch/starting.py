"""Says that a command is still starting, where its imports take long: a busy machine, a network drive."""

import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

FIRST, NEXT = 5.0, 10.0
"""Seconds before the first line, and between the others."""

FILES = 65_536
"""Open files that a command asks to be allowed, where it may have as many."""

_begun = threading.Event()


def is_command(words: Sequence[str]) -> bool:
    """Returns whether Python was started as ``python -m unimatch.NAME``.

    >>> is_command(["python", "-m", "unimatch.run"]), is_command(["python", "-m", "pytest", "unimatch.run"])
    (True, False)
    """
    return any(pair[0] == "-m" and pair[1].startswith("unimatch.") for pair in pairwise(words))


def watch() -> None:
    """Writes a line to stderr now and then until :func:`done` is called; of several processes the first one writes."""
    open_streams()
    if os.environ.get("LOCAL_RANK", "0") == "0":
        threading.Thread(target=_watch, args=(time.monotonic(),), daemon=True).start()


def open_streams() -> None:
    """Gives a process that was started without stdout or stderr (``2>&-``, a service) one that forgets what it gets."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


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
    """Ends the lines: from here on the command itself says what it does."""
    _begun.set()


def _watch(since: float) -> None:
    wait = FIRST
    while not _begun.wait(wait):
        sys.stderr.write(f"unimatch: loading PyTorch and other libraries, {time.monotonic() - since:.0f} s so far\n")
        sys.stderr.flush()
        wait = NEXT
