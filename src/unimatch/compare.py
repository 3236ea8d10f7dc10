"""``python -m unimatch.compare RUNS...``: one table of several runs, mean and spread over their seeds; a page too."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimatch import starting
from unimatch.checkpoints.earlier import IMPLIED_SETTINGS, migrated
from unimatch.disk import exit_with, lacks_room, replace_text
from unimatch.errors import DataError, WriteError
from unimatch.plain import below, written_by_others
from unimatch.report.compare_page import Group, compare_page
from unimatch.report.compare_rows import IDENTITY, Comparison, compare_groups, group_runs, pairs_of
from unimatch.report.run_files import read_json, read_run
from unimatch.terminal import text_table
from unimatch.texts import one_line

IGNORED = (
    *("seed", "datamodule.workers", "checkpoint.", "guard.idle_steps", "logger.", "callbacks", "resume", "plan"),
    "recipe.",
)
"""Settings that may differ within a row: how fast files are read, what else is written, what acts through others."""


def load_runs(places: Sequence[Path], ignored: Sequence[str] = (), *, page: bool = False) -> list[dict[str, Any]]:
    """Reads the runs at or below the given places that have a result, a ``summary.json``: each once.

    A run whose files are damaged is left out; :func:`without_result` names it.

    Args:
        places: run directories and folders that hold some.
        ignored: settings that may differ within a row, beside :data:`IGNORED`.
        page: whether to read, as ``files``, what a page shows of a run too.

    Raises:
        DataError: a place is no folder, or no run has a result that can be read.
    """
    for place in places:
        try:
            if not place.is_dir():
                raise DataError(f"{place}: no such folder")
        except OSError as error:  # such as a name that is too long
            raise DataError(f"{place}: cannot be read ({error.strerror})") from error
    runs, damaged = [], []
    for file in {file.resolve(): file for place in places for file in sorted(place.rglob("summary.json"))}.values():
        try:
            runs.append(read_result(file.parent, ignored, page=page))
        except DataError as error:
            damaged.append(str(error))
    if not runs:
        everywhere = ", ".join(map(str, places))
        raise DataError("; ".join(damaged) or f"{everywhere}: no run with a result, no summary.json at or below it")
    fill_in(runs)
    for run, names in [(run, seeds_that_follow(run, runs)) for run in runs]:
        run["settings"] = {name: value for name, value in run["settings"].items() if name not in names}
    return runs


def read_result(folder: Path, ignored: Sequence[str] = (), *, page: bool = False) -> dict[str, Any]:
    """Reads the result of one run, for the arguments of :func:`load_runs`.

    Raises:
        DataError: beginning with the folder: a file in it cannot be read, or holds what unimatch does not write there.
    """
    try:
        summary, config = read_json(folder / "summary.json"), read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: cannot be read ({error})") from error
    with written_by_others(folder):
        score, seed = f"teacher/{summary.get('headline', 'miou')}", summary.get("seed", 0)
        if score not in summary or type(seed) is not int:
            raise DataError(f"{folder}: summary.json holds no {score}, or a seed that is no whole number")
        settings = {k: value for k, value in flat(migrated(config)).items() if not k.startswith((*IGNORED, *ignored))}
        settings |= {name: value for name, value in facts(summary).items() if name not in ignored}
        run = {**summary, "place": str(folder), "settings": settings}
        comparison = compare_groups([[run]])  # what one run holds is shown without error, or this names it
        if page:
            run["files"] = read_run(folder)
            compare_page(comparison, [Group("", [run["files"]])], (), folder)
    return run


def fill_in(runs: Sequence[dict[str, Any]]) -> None:
    """Gives runs, where others like them have settings that these lack, what was done before there were such settings.

    A run of an older version is then no other row than one of today that leaves the new settings alone.
    """
    names: dict[str, set[str]] = {}
    for run in runs:
        names.setdefault(identity(run), set()).update(run["settings"])
    for run in runs:
        earlier = {name: json.dumps(IMPLIED_SETTINGS.get(name)) for name in names[identity(run)]}
        run["settings"] = earlier | run["settings"]


def identity(run: dict[str, Any]) -> str:
    """Returns what a run shares with all that can be of one row with it."""
    return json.dumps([run.get(name) for name in IDENTITY])


def facts(summary: dict[str, Any]) -> dict[str, str]:
    """Returns what a run was beside its settings: ``devices=auto`` and one path mean other things elsewhere."""
    classes = next((value for key, value in summary.items() if key.startswith("teacher/") and type(value) is dict), ())
    found = {"processes": summary.get("processes"), "unlabeled": summary.get("unlabeled"), "classes": "/".join(classes)}
    return {name: json.dumps(value) for name, value in found.items() if value}


def without_result(
    places: Sequence[Path], runs: Sequence[dict[str, Any]] = (), *, page: bool = False
) -> list[tuple[Path, str]]:
    """Returns the run directories at or below the given places that have no result, and what became of each.

    Args:
        places: run directories and folders that hold some.
        runs: those that :func:`load_runs` has read.
        page: as for :func:`load_runs`.
    """
    marks = ("summary.json", "config.json", "run.log", "failed.json")
    found = {mark.parent for place in places for name in marks for mark in place.rglob(name)}
    folders = {folder.resolve(): folder for folder in sorted(found.union(places))}
    with_result = {folder for folder in folders.values() if (folder / "summary.json").exists()}
    above = {folder for inner in with_result for folder in inner.resolve().parents}  # such as a sweep's
    read = {Path(run["place"]).resolve() for run in runs}
    return [
        (folder, fate(folder, page=page))
        for place, folder in folders.items()
        if place not in read and (folder in with_result or place not in above)
    ]


def fate(folder: Path, *, page: bool = False) -> str:
    """Says why a run has no result, as far as its folder tells."""
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
    """Returns settings that follow a run's seed: ``dataset.split_seed=${seed}`` gives each its own labelled images.

    One that equals the seed does so by chance where runs of other seeds have the same number there, and none has its
    own.
    """
    like = [other for other in runs if identity(other) == identity(run)]
    others = [other for other in like if other.get("seed") != run.get("seed")]

    def follows(one: dict[str, Any], name: str) -> bool:
        return bool(one["settings"].get(name) == json.dumps(one.get("seed")))

    return {
        name
        for name, value in run["settings"].items()
        if name.endswith("seed")
        and follows(run, name)
        and (
            any(follows(other, name) for other in others)
            or not any(other["settings"].get(name) == value for other in others)
        )
    }


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns ``{"method.tau": "0.8", ...}`` for a nested configuration."""
    result: dict[str, str] = {}
    for key, value in config.items():
        name = below(prefix, key)
        result |= flat(value, name) if isinstance(value, dict) else {name: json.dumps(value)}
    return result


def table(comparison: Comparison) -> str:
    """Returns the comparison as a Markdown table."""
    header, rows = comparison.header, comparison.rows
    rule = ["-" * max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = text_table([header, rule, *rows], left=range(len(header)), gap=" | ")
    return "\n".join(f"| {line} |" for line in lines)


def notes(comparison: Comparison) -> list[str]:
    """Returns what stands below the table: what all rows share, and how far one is ahead of the others."""
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
    """Writes the comparison of :func:`load_runs`' runs, read for a page, as one."""
    read = [
        Group(name, [run["files"] for run in group])
        for name, group in zip(comparison.names, comparison.groups, strict=True)
    ]
    try:
        replace_text(path, compare_page(comparison, read, missing, path.absolute().parent))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and where the pictures are; returns the exit status."""
    starting.done()
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
            text = "\n\n".join([table(comparison), *filter(None, ["\n".join(notes(comparison))])])
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
