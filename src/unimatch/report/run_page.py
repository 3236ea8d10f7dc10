"""Makes the report of a run."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from markupsafe import Markup

from unimatch.disk import replace_text
from unimatch.report.charts import COLORS, PERCENTAGES, Line, line_chart
from unimatch.report.class_tables import class_charts, class_table
from unimatch.report.confusion import confusion_section
from unimatch.report.gallery import MOST, Pictures, class_switches, gallery, row_of_pictures, used_classes, viewer
from unimatch.report.markup import folded, html, links, packaged, page, section, table, tag
from unimatch.report.pseudo_labels import pseudo_label_section
from unimatch.report.run_facts import facts, flat, tiles, times, warnings
from unimatch.report.run_files import RunFiles, over_evaluations, read_run
from unimatch.untrusted import written_by_others


def write_report(place: Path) -> Path:
    """Writes ``report.html`` into a run directory, from the files in it, and returns its path.

    Raises:
        DataError: the folder is no run directory, or has no evaluation yet.
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
    over_time = len(run.evaluations) > 1 and run.classes
    sections = [
        section("Training", tag("div", training_charts(run), class_="charts")),
        pseudo_label_section(run),
        section("Classes", class_table(run)) if run.classes else None,
        section("Classes over training", class_charts(run)) if over_time else None,
        confusion_section(run.confusion, run.classes, run.scores.unit) if run.confusion else None,
        *picture_sections(run),
        section("Time and place", times(summary)),
        section("Configuration", folded("every setting", settings)) if run.config else None,
    ]
    return page(
        title,
        tag("h1", title),
        tag("p", facts(summary), class_="soft"),
        links(sections),
        warnings(run),
        tiles(run),
        sections,
        viewer(),
        style=packaged("report.css"),
        script="".join(map(packaged, ("shared.js", "charts.js", "tables.js", "gallery.js"))),
        connects=False,
    )


def training_charts(run: RunFiles) -> Iterator[Markup]:
    """Yields charts of the scores of student and teacher, the losses, the mask ratio and the learning rates."""
    curves, measure, unit = run.curves, run.measure, run.scores.unit
    scores = {model: over_evaluations(run, model, measure) for model in ("teacher", "student")}
    names = {"train/loss": "total", "train/loss_x": "labelled", "train/loss_s": "unlabelled"}
    names |= {key: key.removeprefix("train/") for key in curves if key.startswith("train/loss") and key not in names}
    losses = {name: curves.get(key, []) for key, name in names.items()}
    ratio = {"mask ratio": [(x, 100 * y) for x, y in curves.get("train/mask_ratio", [])]}
    rates = {key.removeprefix("lr/"): curves[key] for key in sorted(curves) if key.startswith("lr/")}
    for title, named, options in (
        (f"{run.title_of(measure)} on validation", scores, {"unit": "%"}),
        ("Losses", losses, {}),
        (f"Mask ratio: confident {unit}", ratio, PERCENTAGES),
        ("Learning rates", dict(islice(rates.items(), COLORS)), {}),
    ):
        if any(named.values()):
            yield line_chart(title, [Line(name, line, i) for i, (name, line) in enumerate(named.items())], **options)


def picture_sections(run: RunFiles) -> Iterator[Markup]:
    """Yields sections of validation images, unlabelled images and training views; the first has the class switches."""
    pictures, examples = Pictures(run.place), run.examples
    validation, unlabeled, views = (examples.get(key) or [] for key in ("validation", "unlabeled", "views"))
    used = used_classes([*validation, *unlabeled], len(run.classes))
    layered = any("photos" in row for row in [*validation, *unlabeled])
    switches = class_switches(run.classes, run.palette, used) if layered and used and run.palette else None
    one_class = run.scores.unit == "images"
    if validation:
        shown = gallery(pictures, validation, "validation") if "photos" in validation[0] else None
        rows = [row_of_pictures(pictures, row) for row in validation if "cells" in row]  # of an earlier version's run
        yield section("Validation images", tag("p", validation_text(run)), switches, shown, rows)
        switches = None
    if unlabeled:
        text = f"In a sample of them, the teacher is least certain of these {at(run)}: its mean confidence is lowest."
        yield section("Unlabelled images", tag("p", text), switches, gallery(pictures, unlabeled, "unlabeled"))
    if views:
        cutmix = "" if one_class else " after CutMix, whose boxes are outlined"
        text = (
            "Unlabelled images as the last epoch's first batch shows them: the weak view, the pseudo labels that the "
            f"teacher gives it at the end of training, where it is confident, and the strong views{cutmix}."
        )
        yield section("Training views", tag("p", text), html(row_of_pictures(pictures, row) for row in views[:MOST]))


def validation_text(run: RunFiles) -> str:
    """Returns which of the validation images are shown."""
    if run.scores.unit != "images":
        return f"The worst, the median and the best, by the teacher's mIoU on each image alone, {at(run)}."
    if not run.confusion:
        return f"Some that the teacher gets wrong, and some that it gets right, {at(run)}."
    right = sum(row[i] for i, row in enumerate(run.confusion))
    wrong = sum(map(sum, run.confusion)) - right
    return f"Some of the {wrong} that the teacher gets wrong, and of the {right} that it gets right, {at(run)}."


def at(run: RunFiles) -> str:
    """Returns the step at which the pictures were made, as in ``at step 100``."""
    return f"at step {run.examples.get('step', '?')}"
