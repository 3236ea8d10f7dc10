"""Writes a data set's files in parallel, each atomically; existing files are not overwritten unasked."""

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
"""A file in a prepared root that says what it was made from, and whether that was finished."""


@dataclass(frozen=True)
class Job:
    """One file to write."""

    target: str
    """Its path below the root, with ``/``."""
    make: Callable[[], bytes]
    """Returns its bytes; worker processes call it, so that it must be importable, or a partial of such a function."""
    size: int
    """About how many bytes these are."""
    original: Path | None = None
    """The file on disk from which it is made; None for one in an archive."""
    copied: bool = False
    """Whether it is a copy of the original."""


def copy_of(member: Member, target: str) -> Job:
    """Returns the job that copies a file."""
    return Job(target, member.read, member.size, member.path, copied=True)


@dataclass(frozen=True)
class Outcome:
    """How many files were written, and how many existed already."""

    written: int
    kept: int


def run(
    jobs: Sequence[Job], root: Path, facts: dict[str, Any], *, overwrite: bool = False, workers: int | None = None
) -> Outcome:
    """Writes the files that do not exist yet.

    Files of an earlier, unfinished preparation of the same data set are kept; other files are in the way.

    Args:
        jobs: the files.
        root: the folder below which they are written.
        facts: what the root is made from, to be noted in it; ``facts["dataset"]`` is the name of the data set.
        overwrite: whether to write existing files anew.
        workers: processes; None for one per core.

    Raises:
        DataError: a file is in the way, or an original is damaged.
        WriteError: the disk has too little room.
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
    """Tells whether a job's file must be written; ``started`` says that an earlier call began to prepare this root.

    Raises:
        DataError: another file is in the way.
    """
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
    """Writes a job's file, completely or not at all."""
    write_output(root / job.target, lambda file: file.write(job.make()))


def read_mark(root: Path) -> dict[str, Any]:
    """Returns what the mark in a root says; empty if there is no mark.

    Raises:
        DataError: the mark cannot be read.
    """
    path = root / MARK
    if not path.is_file():
        return {}
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove it") from error
    return mark if isinstance(mark, dict) else {}


def write_mark(root: Path, facts: dict[str, Any]) -> None:
    """Writes the mark of a root, which says what it was made from."""
    replace_text(root / MARK, json.dumps({"unimatch": __version__, **facts}, indent=1) + "\n")
