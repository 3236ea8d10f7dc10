"""A run directory belongs to one training: no other one replaces what is there, or writes beside it."""

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

from unimatch.disk import LOCK, check_writable, remove_half_files, unwritten
from unimatch.errors import TakenError

log = logging.getLogger("unimatch")

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
CHECKPOINTS = tuple(f"checkpoints/{name}" for name in (LAST, PREVIOUS, BEST))
RESULTS = (
    *("summary.json", "evaluations.jsonl", "report.html", "confusion.csv", "validation.png", "curves.png"),
    "held_out.txt",
)


def refuse_other_run(run_dir: Path, checkpoint: Path | None, *, overwrite: bool) -> None:
    """Refuses to train where another training has left its checkpoints or its result.

    Args:
        run_dir: the run directory, which need not be there.
        checkpoint: that training continues from; None to begin. One of this run directory is no other training's.
        overwrite: whether the other training may be replaced.

    Raises:
        TakenError: naming the directory.
    """
    finished = is_finished(run_dir)
    if (
        (checkpoint is not None and is_of(checkpoint, run_dir))
        or overwrite
        or not (finished or any((run_dir / name).exists() for name in CHECKPOINTS))
    ):
        return
    goes_on = "resume=auto continues it from its last checkpoint, " if can_go_on(run_dir) else ""
    raise TakenError(
        f"{run_dir} holds a {'finished run' if finished else 'run that was not finished'}: {goes_on}overwrite=true "
        "replaces it, another hydra.run.dir keeps it"
    )


def can_go_on(run_dir: Path) -> bool:
    """Returns whether a run directory holds a checkpoint that training can continue from."""
    return any((run_dir / "checkpoints" / name).exists() for name in (LAST, PREVIOUS))


def bytes_held(run_dir: Path) -> int:
    """Returns the size of the checkpoints in a run directory, which a training there will replace."""
    paths = (run_dir / name for name in CHECKPOINTS)
    return sum(path.stat().st_size for path in paths if path.is_file())


def is_of(checkpoint: Path, run_dir: Path) -> bool:
    """Returns whether a checkpoint lies in a run directory."""
    return checkpoint.resolve().parent.parent == run_dir.resolve()


def is_finished(run_dir: Path) -> bool:
    """Returns whether a run directory's summary says that the run was finished."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("finished") is True


def files_of_run(run_dir: Path) -> list[Path]:
    """Returns what another training has left: its checkpoints, its results and its event files."""
    named = (run_dir / name for name in (*CHECKPOINTS, *RESULTS))
    return [*(path for path in named if path.exists()), *run_dir.glob("tensorboard/events.out.tfevents.*")]


@contextmanager
def alone_in(run_dir: Path) -> Iterator[None]:
    """Keeps every other process out of a run directory, which must be there. The lock ends with this process.

    Raises:
        TakenError: another process has the lock, naming it and its machine.
    """
    if sys.platform == "win32":
        yield  # there are no such locks
        return
    import fcntl

    check_writable(run_dir)
    path = run_dir / LOCK
    while True:
        with path.open("a+") as file:
            try:
                # A lock of the process: its children, such as those that load images, do not keep it.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    log.warning("%s cannot be locked (%s): let no second run write to it", run_dir, error.strerror)
                    yield
                    return
                file.seek(0)
                raise TakenError(
                    f"{run_dir}: {file.read() or 'another process'} trains there; wait until it has ended, or choose "
                    "another hydra.run.dir"
                ) from error
            if not is_at(file.fileno(), path):
                continue  # another process had the lock and has just removed this file
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},")
            file.flush()
            for folder in (run_dir, run_dir / "checkpoints"):
                remove_half_files(folder)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_at(descriptor: int, path: Path) -> bool:
    """Tells whether an open file still has this name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


@contextmanager
def removed_if_empty(run_dir: Path) -> Iterator[None]:
    """Removes a run directory in the end where a call that failed, or only planned, has left nothing but its log.

    Of a training whose files a full disk did not take, the log is all that is left, and is kept.
    """
    try:
        yield
    finally:
        if not unwritten:
            remove_if_empty(run_dir)


def remove_if_empty(run_dir: Path) -> None:
    """Removes a run directory that holds at most a log, and the folders that it leaves empty, up to the present one."""
    run_dir = run_dir.absolute()
    with suppress(OSError):
        if {path.name for path in run_dir.iterdir()} <= {"run.log", "checkpoints"}:
            here = Path.cwd()
            with suppress(FileNotFoundError):
                (run_dir / "checkpoints").rmdir()
            (run_dir / "run.log").unlink(missing_ok=True)
            for folder in (run_dir, *(parent for parent in run_dir.parents if here in parent.parents)):
                folder.rmdir()
