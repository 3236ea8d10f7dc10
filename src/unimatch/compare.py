"""``python -m unimatch.compare RUNS...``: one table of several runs, mean and spread over their seeds."""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimatch.errors import DataError
from unimatch.published import find_published

COLUMNS = {
    "teacher/{}": "teacher",
    "student/{}": "student",
    "teacher/{}_best": "best teacher",
    "seconds": "seconds",
}
"""A run's summary says which score stands for {}: ``miou`` and the like."""
IDENTITY = ("dataset", "encoder", "labeled", "steps", "method")
"""Runs that agree in these and in their configuration, but for the seed, are one row."""

IGNORED = ("seed", "data", "workers", "devices", "root", "weights", "every_n_steps", "every_minutes", "idle_steps")
"""Settings that may differ between the runs of one row: where files lie and how fast they are read."""


def load_runs(places: Sequence[Path]) -> list[dict[str, Any]]:
    """Read every ``summary.json`` at or below the given places.

    Raises:
        DataError: there is none at a place, or one cannot be read.
    """
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
            runs.append({**summary, "place": str(file.parent), "settings": flat(config)})
    return runs


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"method.tau": "0.8", ...}`` for a nested configuration, without what rows may differ in."""
    result: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            result.update(flat(value, f"{prefix}{key}."))
        elif key not in IGNORED:
            result[f"{prefix}{key}"] = json.dumps(value)
    return result


def group_runs(runs: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs of one row together, in the order in which the rows first appear."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        key = json.dumps([[run.get(name) for name in IDENTITY], run["settings"]], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return [sorted(group, key=lambda run: run.get("seed", 0)) for group in groups.values()]


def differing_settings(groups: Sequence[list[dict[str, Any]]]) -> list[str]:
    """Settings that rows of the same identity differ in: without them the rows would look alike."""
    names: set[str] = set()
    for first in groups:
        for second in groups:
            a, b = first[0], second[0]
            if all(a.get(name) == b.get(name) for name in IDENTITY):
                names |= {
                    name
                    for name in {**a["settings"], **b["settings"]}
                    if a["settings"].get(name) != b["settings"].get(name)
                }
    return sorted(names - {name for name in names if name.startswith("recipe.")})


def spread(values: Sequence[float], digits: int = 1) -> str:
    """``mean ± standard deviation`` (of the sample), the mean alone for one value.

    >>> spread([70.0, 72.0, 74.0]), spread([70.0])
    ('72.0 ± 2.0', '70.0')
    """
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def table(runs: Sequence[dict[str, Any]]) -> str:
    """The comparison as a Markdown table: a row per method and setting, seeds together.

    Where a run repeats a published one, the published mIoU and its source stand in a last column.
    """
    groups = group_runs(runs)
    settings = differing_settings(groups)
    found = [find_published(group[0], group[0]["settings"]) for group in groups]
    split = ["split"] if any(run.get("split") for run in runs) else []
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
            row.append(f"{known.miou:.1f} ({known.source})" if known else "-")
        rows.append(row)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [header, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and where the pictures are; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m unimatch.compare",
        description="One table of several runs: the task's first score on validation, such as mIoU, in percent; "
        "mean ± standard deviation over seeds.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders that hold some (sweeps)")
    options = parser.parse_args(arguments)
    try:
        runs = load_runs(options.runs)
    except DataError as error:
        print(f"unimatch: {error}", file=sys.stderr)
        return 2
    print(table(runs))
    pictures = [place / "validation.png" for place in sorted({Path(run["place"]) for run in runs})]
    found = [str(picture) for picture in pictures if picture.is_file()]
    if found:
        print("\npictures:", *found, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
