"""``python -m unimatch.compare RUNS...``: shows several runs in one table, with mean and spread over seeds."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimatch import startup
from unimatch.checkpoints.earlier_versions import IMPLIED_SETTINGS, migrated
from unimatch.disk import exit_with, lacks_room, replace_text
from unimatch.errors import DataError, WriteError
from unimatch.report.compare_page import Group, compare_page
from unimatch.report.compare_rows import IDENTITY, Comparison, compare_groups, group_runs, pairs_of
from unimatch.report.run_facts import flat
from unimatch.report.run_files import read_json, read_run
from unimatch.safe_text import one_line
from unimatch.terminal import text_table
from unimatch.untrusted import written_by_others

IGNORED = (
    *("seed", "datamodule.workers", "checkpoint.", "guard.idle_steps", "logger.", "callbacks", "resume", "plan"),
    "recipe.",
)
"""Prefixes of the settings that may differ within a row.

They change no numbers, or, as those of the recipe, only through other settings.
"""


def load_runs(places: Sequence[Path], ignored: Sequence[str] = (), *, page: bool = False) -> list[dict[str, Any]]:
    """Reads each run at or below the given places that has a result, which is a ``summary.json``.

    A run with damaged files is left out; :func:`without_result` names it.

    Args:
        places: run directories, and folders that hold some.
        ignored: prefixes of further settings that may differ within a row, in addition to :data:`IGNORED`.
        page: whether a run's entry ``files`` is to hold what a page shows.

    Returns:
        Each run's summary, with its folder as ``place``, and with the ``settings`` that may not differ within a row:
        values in JSON by full name.

    Raises:
        DataError: a place is no folder, or no run has a result that can be read.
    """
    for place in places:
        try:
            if not place.is_dir():
                raise DataError(f"{place}: no such folder")
        except OSError as error:  # such as a name that is too long
            raise DataError(f"{place}: cannot be read ({error.strerror})") from error
    summaries = {file.resolve(): file for place in places for file in sorted(place.rglob("summary.json"))}
    runs, damaged = [], []
    for file in summaries.values():
        try:
            runs.append(read_result(file.parent, ignored, page=page))
        except DataError as error:
            damaged.append(str(error))
    if not runs:
        everywhere = ", ".join(map(str, places))
        raise DataError("; ".join(damaged) or f"{everywhere}: no run with a result, no summary.json at or below it")
    add_defaults(runs)
    following = [seeds_that_follow(run, runs) for run in runs]  # of all runs, before any of them changes
    for run, names in zip(runs, following, strict=True):
        run["settings"] = {name: value for name, value in run["settings"].items() if name not in names}
    return runs


def read_result(folder: Path, ignored: Sequence[str] = (), *, page: bool = False) -> dict[str, Any]:
    """Reads the result of one run; see :func:`load_runs` for the arguments and the result.

    Raises:
        DataError: a file in the folder cannot be read, or unimatch has not written it. The message begins with the
            folder.
    """
    try:
        summary, config = read_json(folder / "summary.json"), read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: cannot be read ({error})") from error
    with written_by_others(folder):
        score, seed = f"teacher/{summary.get('headline', 'miou')}", summary.get("seed", 0)
        if score not in summary or type(seed) is not int:
            raise DataError(f"{folder}: summary.json holds no {score}, or a seed that is no whole number")
        may_differ = (*IGNORED, *ignored)
        settings = {
            name: value
            for name, value in flat(migrated(config))
            if not name.startswith(may_differ) and value != "{}"  # an empty mapping is the same as no such setting
        }
        settings |= {name: value for name, value in facts(summary).items() if name not in ignored}
        run = {**summary, "place": str(folder), "settings": settings}
        comparison = compare_groups([[run]])  # here an error is that of this run, and not of the whole comparison
        if page:
            run["files"] = read_run(folder)
            compare_page(comparison, [Group("", [run["files"]])], (), folder)
    return run


def add_defaults(runs: Sequence[dict[str, Any]]) -> None:
    """Adds to each run the settings that only comparable runs have, with what was done before they existed.

    A run of an earlier version is then in one row with a run of today that does not use the new settings.
    """
    names: dict[str, set[str]] = {}
    for run in runs:
        names.setdefault(identity(run), set()).update(run["settings"])
    for run in runs:
        earlier = {name: json.dumps(IMPLIED_SETTINGS.get(name)) for name in names[identity(run)]}
        run["settings"] = earlier | run["settings"]


def identity(run: dict[str, Any]) -> str:
    """Returns the values, as one text, that a run has in common with all that may be in one row with it."""
    return json.dumps([run.get(name) for name in IDENTITY])


def facts(summary: dict[str, Any]) -> dict[str, str]:
    """Returns facts that tell rows apart although all settings agree: ``devices=auto`` depends on the machine."""
    classes = next((value for key, value in summary.items() if key.startswith("teacher/") and type(value) is dict), ())
    found = {"processes": summary.get("processes"), "unlabeled": summary.get("unlabeled"), "classes": "/".join(classes)}
    return {name: json.dumps(value) for name, value in found.items() if value}


def without_result(
    places: Sequence[Path], runs: Sequence[dict[str, Any]] = (), *, page: bool = False
) -> list[tuple[Path, str]]:
    """Returns the run directories at or below the given places that have no result, with the reason.

    Args:
        places: run directories, and folders that hold some.
        runs: those that :func:`load_runs` has read.
        page: see :func:`load_runs`.
    """
    marks = ("summary.json", "config.json", "run.log", "failed.json")
    found = {mark.parent for place in places for name in marks for mark in place.rglob(name)}
    folders = {folder.resolve(): folder for folder in sorted(found.union(places))}
    with_result = {folder for folder in folders.values() if (folder / "summary.json").exists()}
    above = {folder for inner in with_result for folder in inner.resolve().parents}  # such as a sweep's folder
    read = {Path(run["place"]).resolve() for run in runs}
    return [
        (folder, reason(folder, page=page))
        for place, folder in folders.items()
        if place not in read and (folder in with_result or place not in above)
    ]


def reason(folder: Path, *, page: bool = False) -> str:
    """Returns why a run has no result, as far as its folder tells."""
    if (folder / "summary.json").exists():
        try:
            read_result(folder, page=page)
        except DataError as error:
            return str(error).removeprefix(f"{folder}: ")
    note = folder / "failed.json"
    if not note.is_file():
        return "not evaluated yet"
    try:
        why = read_json(note).get("why", "")
    except (OSError, ValueError):
        why = ""
    return f"failed: {str(why).strip().splitlines()[0][:200]}" if str(why).strip() else "failed"


def seeds_that_follow(run: dict[str, Any], runs: Sequence[dict[str, Any]]) -> set[str]:
    """Returns settings that follow a run's seed: with ``dataset.split_seed=${seed}`` each has its own labelled images.

    A setting that equals the seed may do so by chance. That is assumed if a run of another seed has the same value
    there, and none has its own seed.
    """
    comparable = [other for other in runs if identity(other) == identity(run)]
    others = [other for other in comparable if other.get("seed") != run.get("seed")]

    def equals_seed(one: dict[str, Any], name: str) -> bool:
        return bool(one["settings"].get(name) == json.dumps(one.get("seed")))

    found = set()
    for name, value in run["settings"].items():
        if name.endswith("seed") and equals_seed(run, name):
            follows_elsewhere = any(equals_seed(other, name) for other in others)
            is_constant = any(other["settings"].get(name) == value for other in others)
            if follows_elsewhere or not is_constant:
                found.add(name)
    return found


def table(comparison: Comparison) -> str:
    """Returns the comparison as a Markdown table."""
    header, *rows = [[cell.replace("|", r"\|") for cell in row] for row in (comparison.header, *comparison.rows)]
    rule = ["-" * max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = text_table([header, rule, *rows], left=range(len(header)), gap=" | ")
    return "\n".join(f"| {line} |" for line in lines)


def notes(comparison: Comparison) -> list[str]:
    """Returns the lines below the table: what all rows have in common, and how far one is ahead of the others."""
    same = ", ".join(f"{name} {value}" for name, value in comparison.same.items())
    found = [one_line(f"the same in all: {same}")] if same else []
    if pairs := pairs_of(comparison):
        found.append("teacher, seed by seed (mean ± standard deviation of the differences):")
    for pair in pairs:
        seeds = ",".join(map(str, pair.seeds))
        ahead = f"ahead in {pair.ahead} of {len(pair.seeds)} seeds ({seeds})"
        found.append(one_line(f"  {pair.first} - {pair.second}: {pair.difference}, {ahead}"))
    return found


def write_page(comparison: Comparison, missing: Sequence[tuple[Path, str]], path: Path) -> None:
    """Writes a comparison as a page, of runs that :func:`load_runs` has read for one.

    Args:
        comparison: of the runs.
        missing: the runs without a result, as :func:`without_result` returns them.
        path: of the page.

    Raises:
        DataError: the page cannot be written.
    """
    groups = [
        Group(name, [run["files"] for run in group])
        for name, group in zip(comparison.names, comparison.groups, strict=True)
    ]
    try:
        replace_text(path, compare_page(comparison, groups, missing, path.absolute().parent))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, the runs without a result and the paths of pictures; returns the exit status."""
    startup.done()
    parser = argparse.ArgumentParser(
        prog="python -m unimatch.compare",
        description="One table of several runs: the task's first score on validation, such as mIoU, in percent; "
        "mean ± standard deviation over seeds.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders that hold some (sweeps)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page: the table, curves and classes")
    help = "a setting that may differ between the seeds of one row, such as dataset.root; may be repeated"
    parser.add_argument("--ignore", action="append", default=[], metavar="KEY", help=help)
    options = parser.parse_args(arguments)
    try:
        runs = load_runs(options.runs, options.ignore, page=options.html is not None)
        with written_by_others("the runs"):
            comparison = compare_groups(group_runs(runs))
            text = table(comparison)
            if lines := notes(comparison):
                text += "\n\n" + "\n".join(lines)
            missing = without_result(options.runs, runs, page=options.html is not None)
            if options.html:
                write_page(comparison, missing, options.html)
    except DataError as error:
        print(f"unimatch: {error}", file=sys.stderr)
        return WriteError.status if lacks_room(error) else error.status
    print(text)
    if missing:
        print("\nno result:", *(one_line(f"{place}: {why}") for place, why in missing), sep="\n  ")
    pictures = [place / "validation.png" for place in sorted({Path(run["place"]) for run in runs})]
    found = [one_line(picture) for picture in pictures if picture.is_file()]
    if found:
        print("\npictures:", *found, sep="\n  ")
    if options.html:
        print(f"\npage: {options.html}")
    return 0


if __name__ == "__main__":
    exit_with(main)
