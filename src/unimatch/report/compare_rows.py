"""Groups runs that differ only in their seeds into rows, the best first, and measures how far two rows are apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimatch.report.published import find_published
from unimatch.report.run_files import finite

SCORES = {"teacher/{}": "teacher", "student/{}": "student", "teacher/{}_best": "best teacher"}
"""The keys of scores in a run's summary, with the titles of their columns; {} is the headline, such as ``miou``."""
IDENTITY = ("method", "dataset", "encoder", "labeled", "steps")
"""Runs are in one row if they agree in these and in all settings but the seed."""
WIDEST = 40
"""How many characters of a setting are shown, counted from its end."""
MOST_PAIRS = 12
"""How many pairs of rows are compared seed by seed."""

Run = Mapping[str, Any]
"""A run's summary with its settings, as :func:`unimatch.compare.load_runs` returns it."""


@dataclass(frozen=True)
class Comparison:
    """The rows of a table and what is the same in all of them."""

    groups: Sequence[Sequence[Run]]
    """The runs of each row."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    same: Mapping[str, str]
    """What is the same in all rows, and so has no column."""
    names: Sequence[str]
    """A name for each row, made of what differs between rows."""


def compare_groups(groups: Sequence[Sequence[Run]]) -> Comparison:
    """Returns a row for each group of runs, the best teacher first.

    A row has the scores over all seeds, and the settings that differ between rows. If a run repeats a published one,
    the published score and its source follow the scores.
    """
    groups = sorted(groups, key=lambda group: -(mean_score(group) or 0.0))
    settings = short_names(differing_settings(groups))
    with_splits = any(run.get("split") for group in groups for run in group)
    facts = [facts_of(group[0], settings, with_splits=with_splits) for group in groups]
    varying = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
    same = {name: value for name, value in facts[0].items() if name not in varying}
    published = [find_published(group[0], group[0]["settings"]) for group in groups]
    methods = [str(group[0].get("method", "?")) for group in groups]
    rows, names = [], []
    for group, method, known, fact in zip(groups, methods, published, facts, strict=True):
        headline = group[0].get("headline", "miou")
        row = {"method": method}
        row |= {title: mean_of(group, key.format(headline)) for key, title in SCORES.items()}
        if any(published):
            row["published"] = f"{known.score:.1f} ({known.source})" if known else "-"
        row |= {name: fact[name] for name in varying}
        row["seeds"] = seeds_of(group)
        row["seconds"] = mean_of(group, "seconds", digits=0)
        rows.append(row)
        parts = [fact[name] if name in IDENTITY else f"{name}={fact[name]}" for name in varying]
        if len(set(methods)) > 1 or not parts:
            parts.insert(0, method)
        names.append(" ".join(parts))
    return Comparison(groups, list(rows[0]), [list(row.values()) for row in rows], same, names)


def facts_of(run: Run, settings: Mapping[str, str], *, with_splits: bool) -> dict[str, str]:
    """Returns what a row's column may hold, by the column's title.

    Args:
        run: one of the row's.
        settings: the columns' titles by the settings' full names.
        with_splits: whether there is a column for the split.
    """
    found = {title: run["settings"].get(key, "-").strip('"')[-WIDEST:] for key, title in settings.items()}
    found |= {name: str(run.get(name, "?")) for name in IDENTITY[1:]}
    if with_splits:
        found["split"] = str(run.get("split") or "-")
    return found


def seeds_of(group: Sequence[Run]) -> str:
    """Returns the seeds of a row, and those whose runs are not finished.

    >>> seeds_of([{"seed": 0, "finished": True}, {"seed": 1}])
    '0,1 (unfinished: 1)'
    """
    unfinished = [str(run.get("seed", "?")) for run in group if not run.get("finished")]
    seeds = ",".join(str(run.get("seed", "?")) for run in group)
    return f"{seeds} (unfinished: {','.join(unfinished)})" if unfinished else seeds


def group_runs(runs: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Returns the runs of each row, sorted by seed; rows are in the order in which they first appear."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        key = json.dumps([[run.get(name) for name in IDENTITY], run["settings"]], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return [sorted(group, key=lambda run: run.get("seed", 0)) for group in groups.values()]


def differing_settings(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Returns the settings that tell rows of one :data:`IDENTITY` apart.

    Of settings that have the same values in every row, such as ``encoder.weights`` and ``model.weights``, one is kept.
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


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns the last part of each key, or the whole key if another key or a column has the same name.

    >>> short_names(["method.tau", "method.seed", "datamodule.seed"])
    {'method.tau': 'tau', 'method.seed': 'method.seed', 'datamodule.seed': 'datamodule.seed'}
    """
    ends = [key.rpartition(".")[2] for key in keys]
    taken = {*IDENTITY, *SCORES.values(), "seeds", "seconds", "published", "split"}
    return {key: key if ends.count(end) > 1 or end in taken else end for key, end in zip(keys, ends, strict=True)}


def main_score(run: Run) -> float | None:
    """Returns the teacher's score at the end of training."""
    return finite(run.get(f"teacher/{run.get('headline', 'miou')}"))


def mean_score(group: Sequence[Run]) -> float | None:
    """Returns the mean of the teachers' scores of a row; None if there is none."""
    values = [score for run in group if (score := main_score(run)) is not None]
    return float(np.mean(values)) if values else None


def mean_of(group: Sequence[Run], key: str, digits: int = 1) -> str:
    """Returns mean and standard deviation of a number in the runs' summaries; a dash if none has it."""
    values = [float(run[key]) for run in group if run.get(key) is not None]
    return spread(values, digits=digits) if values else "-"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Returns ``mean ± standard deviation`` (of the sample); of one value, only the mean.

    >>> spread([70.0, 72.0, 74.0]), spread([70.0]), spread([70.0, float("nan")])
    ('72.0 ± 2.0', '70.0', 'nan ± nan')
    """
    with np.errstate(all="ignore"):  # a run may have no score, or an infinite one
        mean = f"{np.mean(values):.{digits}f}"
        return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


@dataclass(frozen=True)
class Pair:
    """How far one row is ahead of another, seed by seed."""

    first: str
    second: str
    seeds: Sequence[Any]
    """The seeds with which both rows have a finished run."""
    differences: Sequence[float]
    """The first's score minus the second's, for each seed."""

    @property
    def ahead(self) -> int:
        """For how many seeds the first is better."""
        return sum(difference > 0 for difference in self.differences)

    @property
    def difference(self) -> str:
        """Their mean and standard deviation, with a sign."""
        text = spread(self.differences)
        return text if text.startswith("-") else f"+{text}"


def pairs_of(comparison: Comparison) -> list[Pair]:
    """Compares one row with each of the others that has at least two seeds in common with it.

    It is the first row for which there is such another row: a single lucky run at the top is passed over. A seed
    chooses the labelled images and the initial weights, so that their effect cancels in the differences. Only finished
    runs count.
    """
    scores = [
        {run.get("seed"): score for run in group if run.get("finished") and (score := main_score(run)) is not None}
        for group in comparison.groups
    ]
    for i, first in enumerate(scores):
        found = []
        for j, other in enumerate(scores):
            common = [seed for seed in first if seed in other]
            if i != j and len(common) > 1:
                differences = [first[seed] - other[seed] for seed in common]
                found.append(Pair(comparison.names[i], comparison.names[j], common, differences))
        if found:
            return found[:MOST_PAIRS]
    return []
