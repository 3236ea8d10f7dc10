"""Protects run directories: no other training replaces what is in one, or writes to it at the same time."""

import errno
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from unimatch.disk import LOCK, check_writable, remove_half_files, unwritten
from unimatch.errors import TakenError

log = logging.getLogger("unimatch")

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
CHECKPOINTS = tuple(f"checkpoints/{name}" for name in (LAST, PREVIOUS, BEST))
"""The checkpoints of a run, below its directory."""
RESULTS = (
    "summary.json",
    "evaluations.jsonl",
    "report.html",
    "confusion.csv",
    "validation.png",
    "curves.png",
    "held_out.txt",
)
"""The results of a run, below its directory."""


def refuse_other_run(run_dir: Path, checkpoint: Path | None, *, overwrite: bool) -> None:
    """Refuses to train where another training has left its checkpoints or its result.

    Args:
        run_dir: the run directory, which need not exist.
        checkpoint: from which the training continues; None to begin. If it lies in this run directory, the training
            there is the same one.
        overwrite: whether the other training may be replaced.

    Raises:
        TakenError: naming the directory.
    """
    continues = checkpoint is not None and is_of(checkpoint, run_dir)
    if overwrite or continues:
        return
    finished = is_finished(run_dir)
    begun = any((run_dir / name).exists() for name in CHECKPOINTS)
    if not finished and not begun:
        return
    how_to_continue = "resume=auto continues it from its last checkpoint, " if can_go_on(run_dir) else ""
    raise TakenError(
        f"{run_dir} holds a {'finished run' if finished else 'run that was not finished'}: {how_to_continue}"
        "overwrite=true replaces it, another hydra.run.dir keeps it"
    )


def can_go_on(run_dir: Path) -> bool:
    """Returns whether a run directory holds a checkpoint that training can continue from."""
    return any((run_dir / "checkpoints" / name).exists() for name in (LAST, PREVIOUS))


def bytes_held(run_dir: Path) -> int:
    """Returns the size in bytes of the checkpoints in a run directory, which a training there will replace."""
    paths = (run_dir / name for name in CHECKPOINTS)
    return sum(path.stat().st_size for path in paths if path.is_file())


def is_of(checkpoint: Path, run_dir: Path) -> bool:
    """Returns whether a checkpoint belongs to a run directory."""
    return checkpoint.resolve().parent.parent == run_dir.resolve()


def is_finished(run_dir: Path) -> bool:
    """Returns whether a run directory's summary says that the run was finished."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("finished") is True


def files_of_run(run_dir: Path) -> list[Path]:
    """Returns the files that a training has left: its checkpoints, results and event files."""
    named = (run_dir / name for name in (*CHECKPOINTS, *RESULTS))
    return [*(path for path in named if path.exists()), *run_dir.glob("tensorboard/events.out.tfevents.*")]


@contextmanager
def alone_in(run_dir: Path) -> Iterator[None]:
    """Keeps every other training out of a run directory, which must exist. The lock ends with this process.

    Raises:
        TakenError: another process has the lock; the message names it and its machine.
    """
    if sys.platform == "win32":
        yield  # Windows has no such locks
        return
    check_writable(run_dir)
    lock = lock_of(run_dir)
    if lock is None:
        yield
        return
    with lock:
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},")
        lock.flush()
        for folder in (run_dir, run_dir / "checkpoints"):
            remove_half_files(folder)
        try:
            yield
        finally:
            (run_dir / LOCK).unlink(missing_ok=True)


def lock_of(run_dir: Path) -> TextIO | None:
    """Locks a run directory: returns the open lock file, or None, with a warning, where files cannot be locked.

    Raises:
        TakenError: another process has the lock.
    """
    import fcntl

    path = run_dir / LOCK
    while True:
        file = open(path, "a+", opener=without_links)  # noqa: SIM115 - the caller closes it
        try:
            # This lock belongs to the process alone: children, such as those that load images, do not inherit it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with file:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    log.warning("%s cannot be locked (%s): let no second run write to it", run_dir, error.strerror)
                    path.unlink(missing_ok=True)
                    return None
                file.seek(0)
                raise TakenError(
                    f"{run_dir}: {file.read() or 'another process'} trains there; wait until it has ended, or choose "
                    "another hydra.run.dir"
                ) from error
        if is_at(file.fileno(), path):
            return file
        file.close()  # of a process that had the lock and has just removed the file: try again


def without_links(path: str, flags: int) -> int:
    """Opens a file for :func:`open`, but not through a link, whose target would be written to."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def is_at(descriptor: int, path: Path) -> bool:
    """Tells whether an open file still has this name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


@contextmanager
def removed_if_empty(run_dir: Path) -> Iterator[None]:
    """Removes a run directory at the end of a call that failed, or only planned, if it holds nothing but a log.

    The log is kept if files could not be written to a full disk: then it is all that is left of the training.
    """
    try:
        yield
    finally:
        if not unwritten:
            remove_if_empty(run_dir)


def remove_if_empty(run_dir: Path) -> None:
    """Removes a run directory that holds at most a log, and the empty folders above it, up to the current folder."""
    run_dir = run_dir.absolute()
    with suppress(OSError):
        if {path.name for path in run_dir.iterdir()} <= {"run.log", "checkpoints"}:
            here = Path.cwd()
            with suppress(FileNotFoundError):
                (run_dir / "checkpoints").rmdir()
            (run_dir / "run.log").unlink(missing_ok=True)
            for folder in (run_dir, *(parent for parent in run_dir.parents if here in parent.parents)):
                folder.rmdir()
