"""Writes a data set's files in parallel. Each write is atomic; existing files are never overwritten silently."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimatch._version import __version__
from unimatch.data.parallel import for_each
from unimatch.data.prepare.archives import Member
from unimatch.disk import check_space, replace_text, sync_below, write_output
from unimatch.errors import DataError

MARK = "prepared.json"
"""Lies in a prepared root and says what it was made from, and whether that was finished."""


@dataclass(frozen=True)
class Job:
    """One file to write."""

    target: str
    """Its path below the root, with ``/``."""
    make: Callable[[], bytes]
    """Its bytes; importable or a partial of what is, because other processes call it."""
    size: int
    """About how many bytes those are."""
    original: Path | None = None
    """The file on disk that it is made from, None for one in an archive."""
    copied: bool = False
    """Whether its bytes are those of the original."""


def copy_of(member: Member, target: str) -> Job:
    """Makes the job that copies a file."""
    return Job(target, member.read, member.size, member.path, copied=True)


@dataclass(frozen=True)
class Outcome:
    """How many files were written, and how many were there before."""

    written: int
    kept: int


def run(
    jobs: Sequence[Job], root: Path, facts: dict[str, Any], *, overwrite: bool = False, workers: int | None = None
) -> Outcome:
    """Writes the files that are not there yet.

    Files of an earlier, unfinished preparation of the same data set are kept; other files are in the way.

    Args:
        jobs: the files.
        root: the folder they are written below.
        facts: what the data set is and was made from, for the mark in the root; ``facts["dataset"]`` is its name.
        overwrite: whether to write files that are there anew.
        workers: processes; None for one per core.

    Raises:
        DataError: a file is in the way, the disk has too little room, or an original is damaged.
    """
    marked = read_mark(root).get("dataset")
    if marked not in (None, facts["dataset"]):
        raise DataError(f"{root / MARK}: data set {marked} was prepared here; choose another root")
    todo = [job for job in jobs if is_needed(job, root, started=marked is not None, overwrite=overwrite)]
    check_space(root, sum(job.size for job in todo))
    root.mkdir(parents=True, exist_ok=True)
    write_mark(root, {**facts, "finished": False})
    for _ in for_each(write, root, todo, workers=workers, title=f"writing {facts['dataset']}", unit="file"):
        pass
    sync_below(root)
    write_mark(root, {**facts, "finished": True, "files": len(jobs)})
    return Outcome(len(todo), len(jobs) - len(todo))


def is_needed(job: Job, root: Path, *, started: bool, overwrite: bool) -> bool:
    """Tells whether a job's file is still to be written; ``started``: an earlier call began with this data set here."""
    target = root / job.target
    if not target.exists():
        return True
    if job.original is not None and target.samefile(job.original):
        if job.copied:
            return False
        raise DataError(f"{target}: this published file would be replaced by the converted one; choose another root")
    if overwrite:
        return True
    if started or (job.copied and target.stat().st_size == job.size):
        return False
    raise DataError(
        f"{target}: is there already and was not made by unimatch.prepare; choose another root, or overwrite=true"
    )


def write(root: Path, job: Job) -> None:
    """Writes a job's file, whole or not at all."""
    write_output(root / job.target, lambda file: file.write(job.make()))


def read_mark(root: Path) -> dict[str, Any]:
    """Reads from a root's mark what it was made from; nothing where there is no mark."""
    path = root / MARK
    if not path.is_file():
        return {}
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove it") from error
    return mark if isinstance(mark, dict) else {}


def write_mark(root: Path, facts: dict[str, Any]) -> None:
    """Writes into the root's mark what it was made from."""
    replace_text(root / MARK, json.dumps({"unimatch": __version__, **facts}, indent=1) + "\n")
