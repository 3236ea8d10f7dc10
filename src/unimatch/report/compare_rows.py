"""Puts runs that differ in their seeds alone into rows, the best first, and says how far two rows are apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimatch.report.published import find_published
from unimatch.report.run_files import finite

SCORES = {"teacher/{}": "teacher", "student/{}": "student", "teacher/{}_best": "best teacher"}
"""A run's summary says which score stands for {}: ``miou`` and the like."""
IDENTITY = ("method", "dataset", "encoder", "labeled", "steps")
"""Runs that agree in these and in their settings, but for the seed, are one row."""
WIDEST = 40
"""Characters of a setting that are shown, its end."""
PAIRS = 12
"""How many pairs of rows are compared seed by seed, at most."""

Run = Mapping[str, Any]
"""A run's summary, with its settings, as :func:`unimatch.compare.load_runs` returns it."""


@dataclass(frozen=True)
class Comparison:
    """The rows of a table and what is the same in all of them."""

    groups: Sequence[Sequence[Run]]
    """Runs by row."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    same: Mapping[str, str]
    """Columns that would hold one value."""
    names: Sequence[str]
    """What each row is called: what it has of its own."""


def compare_groups(groups: Sequence[Sequence[Run]]) -> Comparison:
    """Returns a row for each group, the best teacher first: the scores of one method with its settings, all seeds.

    Where a run repeats a published one, the published score and its source stand behind the scores.
    """
    groups = sorted(groups, key=lambda group: -(mean_score(group) or 0.0))
    settings = short_names(differing_settings(groups))
    published = [find_published(group[0], group[0]["settings"]) for group in groups]
    facts, rows, names = [], [], []
    for group in groups:
        first = group[0]
        fact = {name: first["settings"].get(key, "-").strip('"')[-WIDEST:] for key, name in settings.items()}
        fact |= {name: str(first.get(name, "?")) for name in IDENTITY[1:]}
        fact |= (
            {"split": str(first.get("split") or "-")}
            if any(run.get("split") for each in groups for run in each)
            else {}
        )
        facts.append(fact)
    varying = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
    same = {name: value for name, value in facts[0].items() if name not in varying}
    methods = len({str(group[0].get("method", "?")) for group in groups})
    for group, known, fact in zip(groups, published, facts, strict=True):
        first = group[0]
        method = str(first.get("method", "?"))
        row = {"method": method}
        row |= {title: mean_of(group, key.format(first.get("headline", "miou"))) for key, title in SCORES.items()}
        if any(published):
            row["published"] = f"{known.score:.1f} ({known.source})" if known else "-"
        row |= {name: fact[name] for name in varying}
        row["seeds"] = seeds_of(group)
        row["seconds"] = mean_of(group, "seconds", digits=0)
        rows.append(row)
        own = [fact[name] if name in IDENTITY else f"{name}={fact[name]}" for name in varying]
        names.append(" ".join([method] * (methods > 1 or not own) + own))
    return Comparison(groups, list(rows[0]), [list(row.values()) for row in rows], same, names)


def seeds_of(group: Sequence[Run]) -> str:
    """Returns the seeds of a row, and which of them are not finished.

    >>> seeds_of([{"seed": 0, "finished": True}, {"seed": 1}])
    '0,1 (unfinished: 1)'
    """
    going = [str(run.get("seed", "?")) for run in group if not run.get("finished")]
    seeds = ",".join(str(run.get("seed", "?")) for run in group)
    return seeds + (f" (unfinished: {','.join(going)})" if going else "")


def group_runs(runs: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Groups runs by row, in the order in which the rows first appear."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        key = json.dumps([[run.get(name) for name in IDENTITY], run["settings"]], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return [sorted(group, key=lambda run: run.get("seed", 0)) for group in groups.values()]


def differing_settings(groups: Sequence[Sequence[Run]]) -> list[str]:
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


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns the last part of each key, or all of it where another ends alike or a column is called so.

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
    """Returns the mean of the teachers' scores of a row."""
    values = [score for run in group if (score := main_score(run)) is not None]
    return float(np.mean(values)) if values else None


def mean_of(group: Sequence[Run], key: str, digits: int = 1) -> str:
    """Returns the mean and the deviation of a number in the runs' summaries; a dash where none has it."""
    values = [float(run[key]) for run in group if run.get(key) is not None]
    return spread(values, digits=digits) if values else "-"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Returns ``mean ± standard deviation`` (of the sample), or the mean alone of one value.

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
    """Those that both have finished."""
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
    """Compares a row with each other one, over the seeds that both have finished, where there are two or more.

    It is the first row that has two seeds in common with another: a lucky single run on top says nothing of the rest.
    Seeds choose the labelled images and the first weights, so what they have in common drops out of the differences.
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
            return found[:PAIRS]
    return []
