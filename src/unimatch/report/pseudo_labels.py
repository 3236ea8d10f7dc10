"""Shows how reliable the pseudo labels are, by class over training: that limits what a run can learn."""

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from unimatch.report.charts import PERCENTAGES, Line, line_chart
from unimatch.report.class_tables import class_name
from unimatch.report.gallery import scale
from unimatch.report.layers import level_colors
from unimatch.report.markup import drawing, section, table, tag
from unimatch.report.run_files import RunFiles, equally_spaced, finite, over_evaluations

COLUMNS = 60
"""How many evaluations a strip shows at most."""
LEAST = 3
"""How many of the least reliable classes are named."""
NONE_CONFIDENT = 8
"""How many of the classes without a confident pseudo label are named."""
RELIABLE = "right on held-out labels"
KINDS = {"class_share": "confident", "class_accuracy": "of these right", "class_reliability": RELIABLE}
"""The measures of each class that strips show, with the strips' titles."""


def pseudo_label_section(run: RunFiles) -> Markup | None:
    """Returns the section; None for a run without pseudo labels, or without true labels to compare them with."""
    unit = run.scores.unit
    lines = [
        Line(f"{what}, {of}", points, i)
        for i, (what, of, key) in enumerate(
            (
                ("confident", f"all {unit}", "share"),
                ("confident", "mean of classes", "share_mean"),
                ("of these right", f"all {unit}", "accuracy"),
                ("of these right", "mean of classes", "accuracy_mean"),
                ("confident", "held-out labels", "coverage"),
                ("of these right", "held-out labels", "reliability"),
            )
        )
        if (points := over_evaluations(run, "pseudo_label", key))
    ]
    if not lines:
        return None
    chart = line_chart("Confident pseudo labels against the truth", lines, **PERCENTAGES)
    masks = "masks" if unit == "pixels" else "classes"
    text = (
        f"Unlabelled images teach only what their confident pseudo labels say. Here these are compared with "
        f"{masks} that training does not see, over the steps since the evaluation before."
    )
    if any(line.name.endswith("held-out labels") for line in lines):
        text += " Held-out labels belong to labelled images that are not trained on; each evaluation predicts them."
    return section(
        "Pseudo labels",
        tag("p", text, least_reliable(run)),
        tag("div", chart, strips(run), class_="centre"),
    )


def least_reliable(run: RunFiles) -> str | None:
    """Names the classes whose confident pseudo labels are most often wrong."""
    last = run.summary_of("pseudo_label")
    right = known(last.get("class_accuracy")) | known(last.get("class_reliability"))  # held-out labels count first
    share = known(last.get("class_share")) | known(last.get("class_coverage"))
    named = {*run.classes}
    but_the_best = sorted((value, name) for name, value in right.items() if name in named)[:-1]
    worst = [f"{name} ({value:.0f}% right)" for value, name in but_the_best[:LEAST] if round(value) < 100]
    none = [name for name in run.classes if share.get(name) == 0]
    text = ""
    if worst:
        text += f" Least reliable at the end: {', '.join(worst)}."
    if none:
        further = ", …" if len(none) > NONE_CONFIDENT else ""
        text += f" No confident one yet: {', '.join(none[:NONE_CONFIDENT])}{further}."
    return text or None


def known(values: Any) -> dict[str, float]:
    """Returns the finite numbers of a mapping; an empty one for anything else."""
    items = values.items() if isinstance(values, dict) else ()
    return {name: number for name, value in items if (number := finite(value)) is not None}


def strips(run: RunFiles) -> Markup | None:
    """Returns a table with strips for each class: how much was confident, and how much of that was right."""
    shown = equally_spaced(run.evaluations, COLUMNS)
    series = [[known((one.get("pseudo_label") or {}).get(key)) for one in shown] for key in KINDS]
    kept = [(title, values) for title, values in zip(KINDS.values(), series, strict=True) if any(values)]
    if not kept:
        return None
    steps = [one["step"] for one in shown]
    header = ["class"]
    for title, _ in kept:
        header += [title, "%"]
    rows = []
    for i, name in enumerate(run.shown_classes):
        cells: list[object] = []
        for _, values in kept:
            line = [value.get(name) for value in values]
            cells += [tag("td", strip(line, steps), class_="strip"), "-" if line[-1] is None else f"{line[-1]:.0f}"]
        rows.append([class_name(run, i), *cells])
    first, last = steps[0], steps[-1]
    when = f"at step {last}" if first == last else f"from step {first} to {last}, and the last value"
    caption = f"Pseudo labels of each true class {when}. Brighter is more, grey is unknown."
    if any(title == RELIABLE for title, _ in kept):
        caption += f" What is {RELIABLE} is counted by the class that the label says."
    return tag("div", table(header, rows, caption=caption, class_="strips"), tag("p", scale(), class_="soft"))


def strip(values: Sequence[float | None], steps: Sequence[Any]) -> Markup:
    """Draws percentages as a row of squares, each with its value as a tooltip."""
    colors = level_colors()

    def squares() -> Iterator[Markup]:
        for i, (value, step) in enumerate(zip(values, steps, strict=True)):
            at = 0 if value is None else min(max(int(value / 100 * len(colors)), 0), len(colors) - 1)
            look = {"class_": "empty", "fill": "currentColor"} if value is None else {"fill": f"rgb{colors[at]}"}
            said = f"step {step}: " + ("unknown" if value is None else f"{value:.1f}%")
            yield tag("rect", tag("title", said), x=i, y=0, width=1.02, height=1, **look)

    return drawing(len(values), 1, squares(), preserveAspectRatio="none")
