"""Makes the report of one run."""

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unimatch.disk import replace_text
from unimatch.plain import written_by_others
from unimatch.report.charts import Line, legend, line_chart
from unimatch.report.confusion import confusion_section
from unimatch.report.markup import drawing, folded, html, page, section, table, tag
from unimatch.report.run_files import RunFiles, finite, read_run

PERCENTAGES: dict[str, Any] = {"unit": "%", "limits": (0, 100)}
"""How charts of shares are drawn."""
SMALL_CHARTS = 24
"""How many classes have their charts shown; those of further classes are folded away."""


def write_report(place: Path) -> Path:
    """Writes ``report.html`` into a run directory, from the files in it, and returns where it lies.

    Raises:
        DataError: it is no run directory, or one that has not been evaluated yet.
        OSError: the page cannot be written.
    """
    path = place / "report.html"
    with written_by_others(place):
        text = run_page(read_run(place))
    replace_text(path, text)
    return path


def run_page(run: RunFiles) -> Markup:
    """Returns the whole page."""
    summary = run.summary
    title = f"{summary.get('method', 'run')} on {summary.get('dataset', 'its data')}"
    settings = table(["setting", "value"], flat(run.config), caption="The resolved configuration", class_="settings")
    return page(
        title,
        tag("h1", title),
        tag("p", facts(summary), class_="soft"),
        tag("p", tag("strong", run.idle)) if run.idle else None,
        tiles(run),
        section("Findings in the data", tag("ul", map(item, found))) if (found := summary.get("findings")) else None,
        section("Training", tag("div", training_charts(run), class_="charts")),
        section("Classes", class_table(run)) if run.classes else None,
        section("Classes over training", class_charts(run)) if len(run.evaluations) > 1 and run.classes else None,
        confusion_section(run.confusion, run.classes, run.scores.unit) if run.confusion else None,
        validation_section(run),
        views_section(run),
        section("Time and place", times(summary)),
        section("Configuration", folded("every setting", settings)) if run.config else None,
    )


def item(text: str) -> Markup:
    """Returns an entry of a list."""
    return tag("li", text)


def facts(summary: Mapping[str, Any]) -> str:
    """Says in one line what was trained."""
    parts = (
        summary.get("encoder", "?"),
        f"{summary.get('labeled', '?')} labelled",
        f"{summary['unlabeled']} unlabelled images" if summary.get("unlabeled") else "",
        f"split {summary['split']}" if summary.get("split") else "",
        f"seed {summary.get('seed', '?')}",
        "" if summary.get("finished", True) else "not finished",
    )
    return " · ".join(filter(None, parts))


def tiles(run: RunFiles) -> Markup:
    """Returns the figures that readers look for first."""
    summary, measure = run.summary, run.measure
    shown = []
    for model in ("teacher", "student"):
        value, best = summary.get(f"{model}/{measure}"), summary.get(f"{model}/{measure}_best")
        if value is not None:
            reached = model == "teacher" and summary.get("best_step") is not None
            at = f" at step {summary['best_step']}" if reached else ""
            note = f"best {best:.1f}{at}" if best is not None else None
            shown.append((f"{run.title_of(measure)} of the {model}, %", f"{value:.1f}", note))
    shown.append(("steps", f"{summary.get('steps', 0):,}", f"{summary.get('epochs', '?')} epochs"))
    if summary.get("seconds") is not None:
        evaluating = summary.get("seconds_evaluating")
        shown.append(("time", duration(summary["seconds"]), f"{duration(evaluating)} of it evaluating"))
    drawn = (
        tag("div", tag("dt", name), tag("dd", value), tag("dd", note, class_="note") if note else None)
        for name, value, note in shown
    )
    return tag("dl", drawn, class_="tiles")


def duration(seconds: float | None) -> str:
    """Returns a duration as people say it.

    >>> duration(12.34), duration(986), duration(40000)
    ('12.3 s', '16 min 26 s', '11 h 6 min')
    """
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def training_charts(run: RunFiles) -> Iterator[Markup]:
    """Draws the losses, the mask ratio, the scores of student and teacher, the pseudo labels and the learning rates."""
    curves, measure, unit = run.curves, run.measure, run.scores.unit
    scores = {model: over_evaluations(run, model, measure) for model in ("teacher", "student")}
    names = {"train/loss": "total", "train/loss_x": "labelled", "train/loss_s": "unlabelled"}
    names |= {key: key.removeprefix("train/") for key in curves if key.startswith("train/loss") and key not in names}
    losses = {name: curves.get(key, []) for key, name in names.items()}
    ratio = {"mask ratio": [(x, 100 * y) for x, y in curves.get("train/mask_ratio", [])]}
    pseudo = {
        f"{what}, {of}": over_evaluations(run, "pseudo_label", what + key)
        for what in ("share", "accuracy")
        for key, of in (("", f"all {unit}"), ("_mean", "mean of classes"))
    }
    rates = {key.removeprefix("lr/"): curves[key] for key in sorted(curves) if key.startswith("lr/")}
    for title, named, look in (
        (f"{run.title_of(measure)} on validation", scores, {"unit": "%"}),
        ("Losses", losses, {}),
        (f"Mask ratio: confident {unit}", ratio, PERCENTAGES),
        ("Confident pseudo labels against the truth", pseudo, PERCENTAGES),
        ("Learning rates", dict(islice(rates.items(), 8)), {}),
    ):
        if any(named.values()):
            yield line_chart(title, [Line(name, line, i) for i, (name, line) in enumerate(named.items())], **look)


def over_evaluations(run: RunFiles, part: str, key: str, name: str | None = None) -> list[tuple[float, float]]:
    """Returns (step, value) of ``evaluation[part][key]``, or of the class ``name`` in it, where there is a value."""
    found = [(evaluation["step"], (evaluation.get(part) or {}).get(key)) for evaluation in run.evaluations]
    if name is not None:
        found = [(step, (value or {}).get(name)) for step, value in found]
    return [(float(step), number) for step, value in found if (number := finite(value)) is not None]


def class_table(run: RunFiles) -> Markup:
    """Returns a table of the last evaluation by class, with bars."""
    scores = {model: run.per_class(model) for model in ("teacher", "student")}
    pseudo = run.summary_of("pseudo_label")
    columns = [(f"{model}, {run.title_of(run.class_measure)} %", scores[model], i) for i, model in enumerate(scores)]
    for key, name in (("class_share", "confident, %"), ("class_accuracy", "of these right, %")):
        if isinstance(pseudo.get(key), dict):
            columns.append((f"pseudo labels: {name}", pseudo[key], 2 if key == "class_share" else 3))
    totals = [sum(row) for row in run.confusion]
    header = ["class", *([f"{run.scores.unit}, %"] if run.confusion else []), *(name for name, _, _ in columns)]
    rows = []
    for i, name in enumerate(run.classes):
        share = [tag("td", f"{100 * totals[i] / max(sum(totals), 1):.1f}", class_="plain")] if run.confusion else []
        rows.append([class_name(run, i), *share, *(bar(values.get(name), style) for _, values, style in columns)])
    step = run.evaluations[-1]["step"]
    caption = f"The evaluation at step {step}. Pseudo labels: since the evaluation before it, by the true class."
    return table(header, rows, caption=caption, class_="bars")


def class_name(run: RunFiles, index: int) -> Markup:
    """Returns the name of a class, after a square in its colour in the pictures if that is known."""
    palette = run.examples.get("palette") or []
    colors = (",".join(str(int(channel)) for channel in color) for color in palette[index : index + 1])
    return html((tag("span", class_="color", style=f"background:rgb({rgb})") for rgb in colors), run.classes[index])


def bar(value: float | None, style: int) -> Markup:
    """Draws a percentage as a bar with its number."""
    if value is None:
        return tag("div", tag("span"), tag("span", "-"), class_="bar")
    whole = tag("rect", width=100, height=10, fill="#eceff2")
    filled = tag("rect", width=f"{max(0.0, min(100.0, value)):.1f}", height=10, fill=Line("", (), style).color)
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
    for name in run.classes:
        lines = [Line(title, over_evaluations(run, part, key, name), i) for i, (title, part, key) in enumerate(kinds)]
        present.update(line.style for line in lines if line.points)
        if any(line.points for line in lines):
            charts.append(line_chart(name, lines, small=True, **PERCENTAGES))
    rest = charts[SMALL_CHARTS:]
    return html(
        legend([Line(title, (), i) for i, (title, _, _) in enumerate(kinds) if i in present]),
        tag("div", charts[:SMALL_CHARTS], class_="charts small"),
        folded(f"{len(rest)} further classes", tag("div", rest, class_="charts small")) if rest else None,
        folded("values", class_values(run, kinds)),
    )


def class_values(run: RunFiles, kinds: list[tuple[str, str, str]]) -> Iterator[Markup]:
    """Returns tables of what the small charts show, at up to eight evaluations."""
    every = max(1, -(-len(run.evaluations) // 8))
    chosen = run.evaluations[::-1][::every][::-1]
    for title, part, key in kinds:
        values = [(evaluation.get(part) or {}).get(key) or {} for evaluation in chosen]
        if any(values):
            rows = [[name, *(percent(value.get(name)) for value in values)] for name in run.classes]
            yield table(["class", *(f"step {e['step']}" for e in chosen)], rows, caption=f"{title}, %")


def percent(value: float | None) -> str:
    """Returns a value with one decimal, or a dash for None."""
    return "-" if value is None else f"{value:.1f}"


def validation_section(run: RunFiles) -> Markup | None:
    """Shows some validation images with their predictions, and what the colours mean."""
    rows = run.examples.get("validation") or []
    if not rows:
        return None
    used = sorted({i for row in rows for i in row.get("present", []) if i < len(run.classes)})
    names = tag("ul", [tag("li", class_name(run, i)) for i in used], class_="legend") if used else None
    step = run.examples["step"]
    text = "By the mIoU of the teacher's prediction of each image alone,"
    if run.scores.unit == "images":
        text = "As the teacher classifies them"
    pictures = (row_of_pictures(run.place, row) for row in rows)
    return section("Validation images", tag("p", f"{text} at step {step}."), names, pictures)


def views_section(run: RunFiles) -> Markup | None:
    """Shows the views of some unlabelled images."""
    rows = run.examples.get("views") or []
    if not rows:
        return None
    cutmix = "" if run.scores.unit == "images" else " after CutMix, whose boxes are outlined"
    text = (
        "Unlabelled images as the last epoch's first batch showed them: the weak view, the pseudo labels where "
        f"confident, and the strong views{cutmix}. The teacher is that of the end."
    )
    return section("Training views", tag("p", text), (row_of_pictures(run.place, row) for row in rows))


def row_of_pictures(place: Path, row: Mapping[str, Any]) -> Markup:
    """Shows the pictures of one image, of those whose files exist."""
    figures = []
    for cell in row["cells"]:
        path = place / "examples" / Path(cell["file"]).name
        if path.is_file() and path.resolve().is_relative_to(place.resolve()):  # no picture from elsewhere
            kind = "png" if path.suffix == ".png" else "jpeg"
            source = f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
            picture = tag("img", src=source, alt=f"{row['title']}: {cell['caption']}", loading="lazy")
            figures.append(tag("figure", picture, tag("figcaption", cell["caption"])))
    return html(tag("h3", row["title"]), tag("div", figures, class_="pictures"))


def times(summary: Mapping[str, Any]) -> Markup:
    """Returns a table of the times, the machine and the versions."""
    seconds, evaluating = summary.get("seconds"), summary.get("seconds_evaluating") or 0.0
    rows: dict[str, object] = {}
    if seconds is not None:
        rows = {
            "training and evaluating": f"{seconds:.1f} s",
            "evaluating": f"{evaluating:.1f} s",
            "steps per second, without evaluating": f"{summary.get('steps', 0) / max(seconds - evaluating, 1e-9):.3g}",
            "images per second, without evaluating": summary.get("images_per_second", "?"),
        }
    kept = ("peak_memory_mb", "device", "processes", "precision", "git_revision")
    rows |= {key.replace("_mb", ", MB").replace("_", " "): summary[key] for key in kept if summary.get(key) is not None}
    rows |= summary.get("versions") or {}
    if summary.get("bad_images"):
        rows["unlabelled images that could not be read"] = ", ".join(map(str, summary["bad_images"]))
    return table(["what", "value"], rows.items(), caption="Time, machine and versions", class_="words")


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the full name of each nested setting, such as ``method.tau``, and its value.

    >>> list(flat({"method": {"tau": 0.95}, "seed": 0}))
    [('method.tau', '0.95'), ('seed', '0')]
    """
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value)
