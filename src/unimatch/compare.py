"""``python -m unimatch.compare RUNS...``: one table of several runs, mean and spread over their seeds; a page too."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimatch.checkpoints.content import migrated
from unimatch.disk import lacks_room, replace_text
from unimatch.errors import DataError, WriteError
from unimatch.plain import written_by_others
from unimatch.report.compare_page import Group, compare_page, spread
from unimatch.report.published import find_published
from unimatch.report.run_files import read_json, read_run
from unimatch.terminal import text_table
from unimatch.texts import one_line

SCORES = {"teacher/{}": "teacher", "student/{}": "student", "teacher/{}_best": "best teacher"}
"""A run's summary says which score stands for {}: ``miou`` and the like."""
IDENTITY = ("method", "dataset", "encoder", "labeled", "steps")
"""Runs that agree in these and in their settings, but for the seed, are one row."""

IGNORED = ("seed", "datamodule.workers", "checkpoint.", "guard.idle_steps", "logger.", "callbacks", "resume", "plan")
"""Settings that may differ within a row: how fast files are read, what else is written."""

WIDEST = 40
"""Characters of a setting that are shown, its end."""


def load_runs(places: Sequence[Path], ignored: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Reads the runs at or below the given places that have a result, a ``summary.json``: each once.

    Args:
        places: run directories and folders that hold some.
        ignored: settings that may differ within a row, beside :data:`IGNORED`.

    Raises:
        DataError: a place is no folder, no run has a result, or one cannot be read.
    """
    for place in places:
        try:
            if not place.is_dir():
                raise DataError(f"{place}: no such folder")
        except OSError as error:  # such as a name that is too long
            raise DataError(f"{place}: cannot be read ({error.strerror})") from error
    runs = []
    for file in {file.resolve(): file for place in places for file in sorted(place.rglob("summary.json"))}.values():
        try:
            summary, config = read_json(file), read_json(file.parent / "config.json")
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be read ({error})") from error
        with written_by_others(file.parent):
            settings = {
                k: value for k, value in flat(migrated(config)).items() if not k.startswith((*IGNORED, *ignored))
            }
            settings |= {name: value for name, value in facts(summary).items() if name not in ignored}
            run = {**summary, "place": str(file.parent), "settings": settings}
            cells([[run]])  # what one run holds is shown without error, or this names it
        runs.append(run)
    if not runs:
        raise DataError(f"{', '.join(map(str, places))}: no run with a result, no summary.json at or below it")
    for run, names in [(run, seeds_that_follow(run, runs)) for run in runs]:
        run["settings"] = {name: value for name, value in run["settings"].items() if name not in names}
    return runs


def facts(summary: dict[str, Any]) -> dict[str, str]:
    """Returns what a run was beside its settings: ``devices=auto`` and one path mean other things elsewhere."""
    classes = next((value for key, value in summary.items() if key.startswith("teacher/") and type(value) is dict), ())
    found = {"processes": summary.get("processes"), "unlabeled": summary.get("unlabeled"), "classes": "/".join(classes)}
    return {name: json.dumps(value) for name, value in found.items() if value}


def without_result(places: Sequence[Path]) -> list[Path]:
    """Returns the run directories at or below the given places that have no result: they failed, or go on."""
    marks = ("config.json", "run.log", "failed.json")
    found = {mark.parent for place in places for name in marks for mark in place.rglob(name)}
    empty = {place for place in places if not any(place.rglob("summary.json"))}
    return sorted(folder for folder in found | empty if not any(folder.rglob("summary.json")))


def seeds_that_follow(run: dict[str, Any], runs: Sequence[dict[str, Any]]) -> set[str]:
    """Returns settings that follow a run's seed: ``dataset.split_seed=${seed}`` gives each its own labelled images.

    One that equals the seed does so by chance where runs of other seeds have the same number there, and none has its
    own.
    """
    like = [other for other in runs if all(other.get(name) == run.get(name) for name in IDENTITY)]
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
        name = f"{prefix}{key}"
        result |= flat(value, name + ".") if isinstance(value, dict) else {name: json.dumps(value)}
    return result


def group_runs(runs: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Groups runs by row, in the order in which the rows first appear."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        key = json.dumps([[run.get(name) for name in IDENTITY], run["settings"]], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return [sorted(group, key=lambda run: run.get("seed", 0)) for group in groups.values()]


def differing_settings(groups: Sequence[list[dict[str, Any]]]) -> list[str]:
    """Returns settings in which rows of one identity differ: without them they would look alike.

    Of those that say the same of every row, such as ``encoder.weights`` and ``model.weights``, one is enough.
    """
    names: set[str] = set()
    for first in groups:
        for second in groups:
            a, b = first[0], second[0]
            if all(a.get(name) == b.get(name) for name in IDENTITY):
                names |= {name for name, _ in a["settings"].items() ^ b["settings"].items()}
    kept: dict[Any, str] = {}
    for name in sorted(name for name in names if not name.startswith("recipe.")):
        values = tuple(group[0]["settings"].get(name) for group in groups)
        kept.setdefault((name.rpartition(".")[2], values), name)
    return list(kept.values())


def cells(groups: Sequence[list[dict[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Returns the table's header, and a row for each group: the scores of one method with its settings, all seeds.

    Where a run repeats a published one, the published score and its source stand behind the scores.
    """
    settings = differing_settings(groups)
    published = [find_published(group[0], group[0]["settings"]) for group in groups]
    split = ["split"] if any(run.get("split") for group in groups for run in group) else []
    rows = []
    for group, known in zip(groups, published, strict=True):
        first = group[0]
        seeds = ",".join(str(run.get("seed", "?")) for run in group)
        row = {"method": str(first.get("method", "?"))}
        row |= {title: mean_of(group, key.format(first.get("headline", "miou"))) for key, title in SCORES.items()}
        if any(published):
            row["published"] = f"{known.score:.1f} ({known.source})" if known else "-"
        row["seeds"] = seeds + ("" if all(run.get("finished") for run in group) else " (unfinished)")
        row |= {name: first["settings"].get(name, "-").strip('"')[-WIDEST:] for name in settings}
        row |= {name: str(first.get(name, "?")) for name in IDENTITY} | {n: str(first.get(n) or "-") for n in split}
        row["seconds"] = mean_of(group, "seconds", digits=0)
        rows.append(row)
    return list(rows[0]), [list(row.values()) for row in rows]


def mean_of(group: Sequence[dict[str, Any]], key: str, digits: int = 1) -> str:
    """Returns the mean and the deviation of a number in the runs' summaries; a dash where none has it."""
    values = [float(run[key]) for run in group if run.get(key) is not None]
    return spread(values, digits=digits) if values else "-"


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Returns the comparison as a Markdown table."""
    header, rows = cells(group_runs(runs))
    rule = ["-" * max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = text_table([header, rule, *rows], left=range(len(header)), gap=" | ")
    return "\n".join(f"| {line} |" for line in lines)


def write_page(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes the comparison of :func:`load_runs`' runs as a page."""
    groups = group_runs(runs)
    header, rows = cells(groups)
    # A group is called by what its row has of its own; what all rows have in common tells nothing.
    named = [i for i, title in enumerate(header) if title not in ("seeds", "published", "seconds", *SCORES.values())]
    telling = [i for i in named if len({row[i] for row in rows}) > 1] or [header.index("method")]
    names = [" ".join(row[i] if header[i] in IDENTITY else f"{header[i]}={row[i]}" for i in telling) for row in rows]
    read = [
        Group(name, [read_run(Path(run["place"])) for run in group]) for name, group in zip(names, groups, strict=True)
    ]
    try:
        replace_text(path, compare_page(read, header, rows, path.absolute().parent))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and where the pictures are; returns the exit status."""
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
        runs = load_runs(options.runs, options.ignore)
        with written_by_others("the runs"):
            text = table(runs)
            if options.html:
                write_page(runs, options.html)
    except DataError as error:
        print(f"unimatch: {error}", file=sys.stderr)
        return WriteError.status if lacks_room(error) else error.status
    print(text)
    if missing := without_result(options.runs):
        print("\nno result, failed or not evaluated yet:", *missing, sep="\n  ")
    pictures = [place / "validation.png" for place in sorted({Path(run["place"]) for run in runs})]
    found = [one_line(picture) for picture in pictures if picture.is_file()]
    if found:
        print("\npictures:", *found, sep="\n  ")
    if options.html:
        print(f"\npage: {options.html}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
