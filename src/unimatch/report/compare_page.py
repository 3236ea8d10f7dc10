"""Makes the page that compares runs: their table, their curves in common charts, their classes side by side."""

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from unimatch.report.charts import Line, Point, line_chart, thinned
from unimatch.report.markup import page, section, table, tag
from unimatch.report.run_files import RunFiles
from unimatch.report.run_page import over_evaluations


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds only. They share a row of the table and a line of each chart."""

    name: str
    runs: Sequence[RunFiles]


def compare_page(groups: Sequence[Group], header: Sequence[str], rows: Sequence[Sequence[str]], folder: Path) -> Markup:
    """Returns the whole page for at least one group, with links relative to the folder that it will lie in."""
    count = sum(len(group.runs) for group in groups)
    title = f"{count} runs compared" if count > 1 else "1 run"
    caption = "On validation, in percent, at the end of training: mean ± standard deviation over seeds."
    note = "Lines are means over seeds; where there are several, bands reach from the lowest to the highest."
    named = [[group.name, *row] for group, row in zip(groups, rows, strict=True)]
    return page(
        title,
        tag("h1", title),
        section("Scores", table(["runs", *header], named, caption=caption)),
        section("Curves", tag("p", note), tag("div", charts(groups), class_="charts")),
        section("Classes", class_table(groups)) if any(run.classes for group in groups for run in group.runs) else None,
        section("Reports", tag("ul", (tag("li", link(run, folder)) for group in groups for run in group.runs))),
    )


def charts(groups: Sequence[Group]) -> Iterator[Markup]:
    """Draws a chart for each measure, with a line for each group that has the measure."""
    first = groups[0].runs[0]
    score, counted = first.title_of(first.measure), first.scores.unit
    for title, part, key in (
        (f"{score} of the teacher", "teacher", first.measure),
        (f"{score} of the student", "student", first.measure),
        ("Confident pseudo labels, mean of classes", "pseudo_label", "share_mean"),
        ("Of these right, mean of classes", "pseudo_label", "accuracy_mean"),
        ("Loss on labelled images", "train", "loss_x"),
        (f"Mask ratio: confident {counted}", "train", "mask_ratio"),
    ):
        lines = [
            line
            for style, group in enumerate(groups)
            for line in mean_lines(group.name, [curve(run, part, key) for run in group.runs], style)
        ]
        if lines:
            yield line_chart(title, lines, unit="" if key == "loss_x" else "%")


def curve(run: RunFiles, part: str, key: str) -> list[Point]:
    """Returns (step, value) of a run's evaluations, or, if the part is ``train``, of ``metrics.csv``."""
    if part != "train":
        return over_evaluations(run, part, key)
    factor = 100 if key == "mask_ratio" else 1
    return [(x, factor * y) for x, y in thinned(run.curves.get(f"train/{key}", []))]


def mean_lines(name: str, curves: Sequence[Sequence[Point]], style: int) -> list[Line]:
    """Returns the mean of the curves at their common steps, with a band; or each curve, if no steps are common.

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
    """Returns the teacher's last score of each class, in a column for each group, with the best of a row in bold."""
    first = groups[0].runs[0]
    kind = first.title_of(first.class_measure)
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.classes))
    rows = []
    for name in names:
        found = [
            [score for run in group.runs if (score := run.per_class("teacher").get(name)) is not None]
            for group in groups
        ]
        best = max((statistics.fmean(values) for values in found if values), default=None)
        shown = [spread(values) if values else "-" for values in found]
        bold = [len(groups) > 1 and bool(values) and statistics.fmean(values) == best for values in found]
        rows.append([name, *(tag("strong", text) if b else text for text, b in zip(shown, bold, strict=True))])
    caption = f"{kind} of the teacher on validation, %, mean ± standard deviation over seeds; the best in bold"
    return table(["class", *(group.name for group in groups)], rows, caption=caption)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Returns ``mean ± standard deviation`` (of the sample), or the mean alone of one value.

    >>> spread([70.0, 72.0, 74.0]), spread([70.0])
    ('72.0 ± 2.0', '70.0')
    """
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def link(run: RunFiles, folder: Path) -> Markup | str:
    """Returns a link to the run's own report, or the run's folder as text if it has none."""
    report = run.place / "report.html"
    if not report.is_file():
        return str(run.place)
    return tag("a", str(run.place), href=quote(os.path.relpath(report, folder).replace(os.sep, "/")))
