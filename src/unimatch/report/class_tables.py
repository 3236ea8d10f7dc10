"""Shows the classes of a run: a table of the last evaluation, and a small chart of each class over training."""

from collections.abc import Iterator

from markupsafe import Markup

from unimatch.report.charts import PERCENTAGES, Line, legend, line_chart
from unimatch.report.gallery import color_of
from unimatch.report.markup import drawing, folded, html, table, tag
from unimatch.report.run_files import RunFiles, classes_over_evaluations, equally_spaced, finite

SMALL_CHARTS = 24
"""How many classes' charts are shown; those of further classes are folded away."""
MOST_VALUES = 8
"""How many evaluations the table of the charts' values shows at most."""


def class_table(run: RunFiles) -> Markup:
    """Returns a table of the last evaluation by class, with bars."""
    scores = {model: run.per_class(model) for model in ("teacher", "student")}
    pseudo = run.summary_of("pseudo_label")
    columns = [(f"{model}, {run.title_of(run.class_measure)} %", scores[model], i) for i, model in enumerate(scores)]
    for key, name, style in (("class_share", "confident, %", 2), ("class_accuracy", "of these right, %", 3)):
        if isinstance(pseudo.get(key), dict):
            columns.append((f"pseudo labels: {name}", pseudo[key], style))
    columns = [column for column in columns if any(finite(value) is not None for value in column[1].values())]
    totals = [sum(row) for row in run.confusion]
    header = ["class"]
    if run.confusion:
        header.append(f"{run.scores.unit}, %")
    header += [name for name, _, _ in columns]
    rows = []
    for i, name in enumerate(run.shown_classes):
        row = [class_name(run, i)]
        if run.confusion:
            row.append(tag("td", f"{100 * totals[i] / max(sum(totals), 1):.1f}", class_="plain"))
        rows.append(row + [bar(values.get(name), style) for _, values, style in columns])
    step = run.evaluations[-1]["step"]
    caption = f"The evaluation at step {step}. Pseudo labels: since the evaluation before it, by the true class."
    if further := len(run.classes) - len(run.shown_classes):
        caption += f" Here and below {further} further classes are left out."
    return table(header, rows, caption=caption, class_="bars sortable")


def class_name(run: RunFiles, index: int) -> Markup:
    """Returns the name of a class, after a square of its colour if the pictures show one."""
    color = color_of(run.palette, index) if run.scores.unit == "pixels" else None
    square = tag("span", class_="color", style=f"background:{color}") if color else None
    return html(square, run.classes[index])


def bar(value: float | None, style: int) -> Markup:
    """Draws a percentage as a bar with its number; a dash for None."""
    if value is None:
        return tag("div", tag("span"), tag("span", "-"), class_="bar")
    whole = tag("rect", width=100, height=10, class_="empty", fill="currentColor")
    color = Line("", (), style).color
    filled = tag("rect", width=f"{max(0.0, min(100.0, value)):.1f}", height=10, class_=color, fill="currentColor")
    drawn = drawing(100, 10, whole, filled, preserveAspectRatio="none")
    return tag("div", drawn, tag("span", f"{value:.1f}"), class_="bar")


def class_charts(run: RunFiles) -> Markup:
    """Draws a small chart for each class: its score, and its share of confident and of right pseudo labels."""
    score = run.class_measure
    kinds = [
        (f"{run.title_of(score)} of the teacher", "teacher", score),
        ("confident pseudo labels", "pseudo_label", "class_share"),
        ("of these right", "pseudo_label", "class_accuracy"),
    ]
    charts: list[Markup] = []
    present: set[int] = set()
    curves = [(title, classes_over_evaluations(run, part, key)) for title, part, key in kinds]
    for name in run.shown_classes:
        lines = [Line(title, found.get(name, ()), i) for i, (title, found) in enumerate(curves)]
        present.update(line.style for line in lines if line.points)
        if any(line.points for line in lines):
            charts.append(line_chart(name, lines, named=False, listed=False, **PERCENTAGES))
    rest = charts[SMALL_CHARTS:]
    return html(
        legend([Line(title, (), i) for i, (title, _, _) in enumerate(kinds) if i in present]),
        tag("div", charts[:SMALL_CHARTS], class_="charts small"),
        folded(f"{len(rest)} further classes", tag("div", rest, class_="charts small")) if rest else None,
        folded("values", class_values(run, kinds)),
    )


def class_values(run: RunFiles, kinds: list[tuple[str, str, str]]) -> Iterator[Markup]:
    """Returns tables of the values in the small charts, at some evaluations."""
    chosen = equally_spaced(run.evaluations, MOST_VALUES)
    for title, part, key in kinds:
        values = [(evaluation.get(part) or {}).get(key) or {} for evaluation in chosen]
        if any(finite(v) is not None for value in values for v in value.values()):
            rows = [[name, *(percent(value.get(name)) for value in values)] for name in run.shown_classes]
            yield table(["class", *(f"step {e['step']}" for e in chosen)], rows, caption=f"{title}, %")


def percent(value: float | None) -> str:
    """Returns a value with one decimal, or a dash for None."""
    return "-" if value is None else f"{value:.1f}"
