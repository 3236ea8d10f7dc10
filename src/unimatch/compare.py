"""``python -m unimatch.compare RUNS...``: one table of several runs, mean and spread over their seeds; a page too."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimatch.checkpoints.content import migrated
from unimatch.disk import replace_text
from unimatch.errors import DataError
from unimatch.report.compare_page import Group, compare_page, spread
from unimatch.report.published import find_published
from unimatch.report.run_files import read_run
from unimatch.terminal import text_table
from unimatch.texts import one_line

COLUMNS = {"teacher/{}": "teacher", "student/{}": "student", "teacher/{}_best": "best teacher", "seconds": "seconds"}
"""A run's summary says which score stands for {}: ``miou`` and the like."""
IDENTITY = ("dataset", "encoder", "labeled", "steps", "method")
"""Runs that agree in these and in their configuration, but for the seed, are one row."""

IGNORED = (
    *("seed", "data", "workers", "devices", "root", "weights", "every_n_steps", "every_minutes", "idle_steps"),
    "callbacks",
)
"""Settings that may differ within a row: where files lie, how fast they are read, what else is written."""


def load_runs(places: Sequence[Path]) -> list[dict[str, Any]]:
    """Reads every ``summary.json`` at or below the given places; each place must have one."""
    runs = []
    for place in places:
        files = sorted(place.rglob("summary.json")) if place.is_dir() else []
        if not files:
            raise DataError(f"{place}: no run directory, no summary.json at or below it")
        for file in files:
            try:
                summary = json.loads(file.read_text())
                config_file = file.parent / "config.json"
                config = json.loads(config_file.read_text()) if config_file.is_file() else {}
            except (OSError, ValueError) as error:
                raise DataError(f"{file}: cannot be read ({error})") from error
            runs.append({**summary, "place": str(file.parent), "settings": flat(migrated(config))})
    for run, names in [(run, seeds_that_follow(run, runs)) for run in runs]:
        run["settings"] = {name: value for name, value in run["settings"].items() if name not in names}
    return runs


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
        if name.endswith("_seed")
        and follows(run, name)
        and (
            any(follows(other, name) for other in others)
            or not any(other["settings"].get(name) == value for other in others)
        )
    }


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns ``{"method.tau": "0.8", ...}`` for a nested configuration, without :data:`IGNORED`."""
    result: dict[str, str] = {}
    for key, value in config.items():
        if key not in IGNORED:
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
    """Returns settings in which rows of one identity differ: without them they would look alike."""
    names: set[str] = set()
    for first in groups:
        for second in groups:
            a, b = first[0], second[0]
            if all(a.get(name) == b.get(name) for name in IDENTITY):
                names |= {name for name, _ in a["settings"].items() ^ b["settings"].items()}
    return sorted(name for name in names if not name.startswith("recipe."))


def cells(groups: Sequence[list[dict[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Returns the table's header, and a row for each group: one method with its settings, all seeds.

    Where a run repeats a published one, the published score and its source stand in a last column.
    """
    settings = differing_settings(groups)
    found = [find_published(group[0], group[0]["settings"]) for group in groups]
    split = ["split"] if any(run.get("split") for group in groups for run in group) else []
    header = [*IDENTITY, *split, *settings, "seeds", *COLUMNS.values(), *(["published"] if any(found) else [])]
    rows = []
    for group, known in zip(groups, found, strict=True):
        first = group[0]
        row = [str(first.get(name, "?")) for name in IDENTITY] + [str(first.get(name) or "-") for name in split]
        row += [first["settings"].get(name, "-").strip('"') for name in settings]
        row.append(
            ",".join(str(run.get("seed", "?")) for run in group)
            + ("" if all(r.get("finished") for r in group) else " (unfinished)")
        )
        for column in COLUMNS:
            key = column.format(first.get("headline", "miou"))
            values = [float(run[key]) for run in group if run.get(key) is not None]
            row.append(spread(values, digits=0 if key == "seconds" else 1) if values else "-")
        if any(found):
            row.append(f"{known.score:.1f} ({known.source})" if known else "-")
        rows.append(row)
    return header, rows


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
    named = [i for i, title in enumerate(header) if title not in ("seeds", "published", *COLUMNS.values())]
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
    options = parser.parse_args(arguments)
    try:
        runs = load_runs(options.runs)
        if options.html:
            write_page(runs, options.html)
    except DataError as error:
        print(f"unimatch: {error}", file=sys.stderr)
        return 2
    print(table(runs))
    pictures = [place / "validation.png" for place in sorted({Path(run["place"]) for run in runs})]
    found = [one_line(picture) for picture in pictures if picture.is_file()]
    if found:
        print("\npictures:", *found, sep="\n  ")
    if options.html:
        print(f"\npage: {options.html}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
