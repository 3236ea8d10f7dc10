"""Makes the page that compares runs: a table of scores, common charts of their curves, and their classes."""

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from unimatch.report.charts import Line, Point, legend, line_chart, swatch, thinned
from unimatch.report.compare_rows import Comparison, Pair, pairs_of, spread
from unimatch.report.markup import html, links, packaged, page, section, table, tag
from unimatch.report.run_files import MOST_CLASSES, RunFiles, over_evaluations


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seeds. They share a row of the table and a line of each chart."""

    name: str
    runs: Sequence[RunFiles]


def compare_page(
    comparison: Comparison, groups: Sequence[Group], missing: Sequence[tuple[Path, str]], folder: Path
) -> Markup:
    """Returns the whole page for at least one group.

    Args:
        comparison: the table.
        groups: the runs of its rows.
        missing: the runs without a result, with the reason.
        folder: where the page will be written; its links are relative to it.
    """
    count = sum(len(group.runs) for group in groups)
    title = f"{count} runs compared" if count > 1 else "1 run"
    drawn = list(charts(groups))
    note = (
        "A line is the mean of a row's seeds; where there are several, a band reaches from the lowest to the highest."
    )
    names = legend([Line(group.name, (), style) for style, group in enumerate(groups)])
    reports = [tag("li", link(run, folder)) for group in groups for run in group.runs]
    sections = [
        score_section(comparison),
        pair_section(pairs_of(comparison)),
        section("Curves", tag("p", note), names, tag("div", drawn, class_="charts")) if drawn else None,
        section("Classes", class_table(groups)) if any(run.classes for group in groups for run in group.runs) else None,
        missing_section(missing),
        section("Reports", tag("ul", reports)),
    ]
    return page(
        title,
        tag("h1", title),
        links(sections),
        sections,
        style=packaged("report.css"),
        script="".join(map(packaged, ("shared.js", "charts.js", "tables.js"))),
        connects=False,
    )


def score_section(comparison: Comparison) -> Markup:
    """Returns the table of scores; its caption names what is the same in all rows."""
    caption = "On validation, in percent, at the end of training: mean ± standard deviation over seeds."
    if comparison.same:
        same = ", ".join(f"{name} {value}" for name, value in comparison.same.items())
        caption += f" The same in all: {same}."
    rows = [[html(swatch(Line("", (), i)), method), *row] for i, (method, *row) in enumerate(comparison.rows)]
    return section("Scores", table(comparison.header, rows, caption=caption, class_="sortable"))


def pair_section(pairs: Sequence[Pair]) -> Markup | None:
    """Returns a table of how far one row is ahead of the others; None if no two rows have two seeds in common."""
    if not pairs:
        return None
    text = (
        f"The teacher's score at the end: {pairs[0].first} minus the other, seed by seed. A seed's luck with its "
        "labelled images is the same on both sides. A mean that is not well above its standard deviation, or an order "
        "that changes from seed to seed, decides nothing."
    )
    rows = [
        [pair.second, pair.difference, f"{pair.ahead} of {len(pair.seeds)}", ", ".join(map(str, pair.seeds))]
        for pair in pairs
    ]
    header = [f"{pairs[0].first} against", "difference", "ahead in", "seeds"]
    caption = (
        f"Only {pairs[0].first}, the first row of several seeds, is set against the others: "
        "mean ± standard deviation of the differences over common seeds"
    )
    return section("Seed by seed", tag("p", text), table(header, rows, caption=caption, class_="wrapped"))


def missing_section(missing: Sequence[tuple[Path, str]]) -> Markup | None:
    """Returns a table of the runs that have no result; None if all have one."""
    if not missing:
        return None
    rows = [[str(place), why] for place, why in missing]
    caption = "They failed, or have not been evaluated yet"
    return section("Without a result", table(["run", "what became of it"], rows, caption=caption, class_="words"))


def charts(groups: Sequence[Group]) -> Iterator[Markup]:
    """Yields a chart for each measure, with a line for each group that has values of it."""
    first = groups[0].runs[0]
    score, unit = first.title_of(first.measure), first.scores.unit
    for title, part, key in (
        (f"{score} of the teacher", "teacher", first.measure),
        (f"{score} of the student", "student", first.measure),
        ("Confident pseudo labels, mean of classes", "pseudo_label", "share_mean"),
        ("Of these right, mean of classes", "pseudo_label", "accuracy_mean"),
        ("Loss on labelled images", "train", "loss_x"),
        (f"Mask ratio: confident {unit}", "train", "mask_ratio"),
    ):
        lines = [
            line
            for style, group in enumerate(groups)
            for line in mean_lines(group.name, [curve(run, part, key) for run in group.runs], style)
        ]
        if lines:
            yield line_chart(title, lines, unit="" if key == "loss_x" else "%", named=False)


def curve(run: RunFiles, part: str, key: str) -> list[Point]:
    """Returns (step, value) of a run's evaluations, or of ``metrics.csv`` if ``part`` is ``train``; in percent."""
    if part != "train":
        return over_evaluations(run, part, key)
    factor = 100 if key == "mask_ratio" else 1
    return [(x, factor * y) for x, y in thinned(run.curves.get(f"train/{key}", []))]


def mean_lines(name: str, curves: Sequence[Sequence[Point]], style: int) -> list[Line]:
    """Returns the mean of curves at their common steps, with a band; or each curve, if they have no common step.

    >>> mean_lines("v2", [[(1, 10.0), (2, 20.0)], [(2, 30.0)]], 0)
    [Line(name='v2', points=[(2, 25.0)], style=0, band=[(2, 20.0, 30.0)])]
    """
    known = [dict(curve) for curve in curves if curve]
    if not known:
        return []
    common = sorted(set.intersection(*map(set, known)))
    if not common:
        return [Line(name, curve, style) for curve in curves if curve]
    values = {x: [curve[x] for curve in known] for x in common}
    band = [(x, min(each), max(each)) for x, each in values.items()] if len(known) > 1 else []
    return [Line(name, [(x, statistics.fmean(each)) for x, each in values.items()], style, band)]


def class_table(groups: Sequence[Group]) -> Markup:
    """Returns a table of the teacher's last scores by class, with a column for each group and the best in bold."""
    first = groups[0].runs[0]
    kind = first.title_of(first.class_measure)
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.classes))
    rows = []
    for name in names[:MOST_CLASSES]:
        found = [
            [score for run in group.runs if (score := run.per_class("teacher").get(name)) is not None]
            for group in groups
        ]
        means = [statistics.fmean(values) if values else None for values in found]
        best = max((mean for mean in means if mean is not None), default=None)
        row: list[object] = [name]
        for values, mean in zip(found, means, strict=True):
            text = spread(values) if values else "-"
            is_best = mean is not None and mean == best and len(groups) > 1
            row.append(tag("strong", text) if is_best else text)
        rows.append(row)
    caption = f"{kind} of the teacher on validation, %, mean ± standard deviation over seeds; the best in bold"
    if further := len(names[MOST_CLASSES:]):
        caption += f". {further} further classes are left out"
    return table(["class", *(group.name for group in groups)], rows, caption=caption, class_="wrapped sortable")


def link(run: RunFiles, folder: Path) -> Markup | str:
    """Returns a link to a run's own report, or the run's folder as text if it has no report."""
    report = run.place / "report.html"
    if not report.is_file():
        return str(run.place)
    return tag("a", str(run.place), href=quote(os.path.relpath(report, folder).replace(os.sep, "/")))
