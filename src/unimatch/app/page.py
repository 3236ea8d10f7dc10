"""Makes the app's page."""

import json
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from unimatch.engines.model_facts import ModelFacts
from unimatch.report.layers import SCALE
from unimatch.report.markup import packaged, page, tag

SCRIPTS = ("page.js", "view.js", "answers.js", "save.js", "app.js")
"""The files that make up the page's script, in this order, after the script that all pages share."""

MOST_NAMED = 20
"""How many classes the page names at its top."""

DROPS = {
    "image": ("Choose images", "or drop them here. They stay on this machine."),
    "second": ("Second dates", "of the same names as the first."),
    "truth": ("True masks, if you have them", "of the same names as their images. They give the IoU."),
}
"""The title and the text of the field for each kind of files that the page takes."""


def app_page(
    about: Mapping[str, str],
    parts: Sequence[str],
    facts: ModelFacts | None = None,
    *,
    classes: Sequence[str] = (),
) -> Markup:
    """Returns the whole page. Its script fills in the server's answers.

    Args:
        about: what the top of the page says about the model: texts by title.
        parts: the kinds of files that the page takes; see :data:`DROPS`.
        facts: of a model that predicts masks; None for a classifier.
        classes: the names of a classifier's classes.
    """
    names = facts.classes if facts else tuple(classes)
    further = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    about = {**about, "Classes": ", ".join(names[:MOST_NAMED]) + further}
    if facts and not facts.bands.photos:
        about["Images"] = facts.bands.summary()
    data = {"classes": names, "palette": facts.colors if facts else (), "parts": parts, "ramp": SCALE}
    return page(
        "unimatch",
        tag("h1", "What the model sees"),
        tag("dl", [tag("div", tag("dt", title), tag("dd", text)) for title, text in about.items()], class_="about"),
        tag("div", [drop(part, dates=2 if "second" in parts else 1) for part in parts], class_="drops"),
        tag("p", "No image yet.", id="status", role="status"),
        tag(
            "nav",
            button("previous", "Previous", title="Previous image (P)"),
            tag("ol", id="files"),
            button("next", "Next", title="Next image (N)"),
            id="steps",
            aria_label="Images",
            hidden="",
        ),
        tag("section", masks(parts) if facts else one_class(), id="result", hidden="", data_facts=json.dumps(data)),
        style=packaged("app.css", "unimatch.app"),
        script=packaged("shared.js") + "".join(packaged(name, "unimatch.app") for name in SCRIPTS),
    )


def drop(part: str, dates: int) -> Markup:
    """Returns the field for files of one kind."""
    title, text = DROPS[part]
    if part == "image" and dates == 2:
        title = "Choose first dates"
    return tag(
        "label",
        tag("strong", title),
        tag("span", " ", text),
        tag("input", id=part, type="file", accept="image/*,.tif,.tiff", multiple=""),
        class_="drop",
        data_part=part,
    )


def masks(parts: Sequence[str]) -> Markup:
    """Returns the part of the page that shows a mask over its image."""
    dates = radios("Date", "date", ("first", "second")) if "second" in parts else None
    sliders = [
        tag(
            "label",
            tag("span", name, tag("output", id=f"{key}_value")),
            tag("input", id=key, type="range", min=0, max=100, value=value),
        )
        for key, name, value in (("opacity", "Opacity ", 55), ("threshold", "Hide what is less sure than ", 0))
    ]
    layers = tag(
        "div",
        tag("img", id="photo", alt="The image", draggable="false"),
        tag("canvas", id="overlay", role="img", aria_label="The prediction"),
        id="layers",
    )
    stage = tag(
        "div",
        layers,
        id="stage",
        tabindex=0,
        role="group",
        aria_label="The image. Plus and minus zoom, the arrow keys move it, 0 shows all, N and P step.",
    )
    zoom = tag(
        "div",
        button("zoom_out", "\N{MINUS SIGN}", aria_label="Zoom out"),
        button("zoom_in", "+", aria_label="Zoom in"),
        button("fit", "Fit"),
        tag("output", id="zoom_value"),
        class_="buttons",
    )
    ramp = ",".join(f"rgb{color}" for color in SCALE)
    scale = tag(
        "p",
        "Confidence 0%",
        tag("span", class_="ramp", style=f"background:linear-gradient(90deg,{ramp})"),
        "100%",
        id="scale",
        class_="soft",
        hidden="",
    )
    saves = tag(
        "div",
        tag("span", "Download: "),
        [
            button(f"save_{key}", name)
            for key, name in (("mask", "mask"), ("overlay", "overlay"), ("coco", "COCO JSON"))
        ],
        class_="buttons",
    )
    shown = tag("div", stage, zoom, tag("p", id="pointed", class_="soft", aria_live="polite"), scale, saves)
    views = radios("Show", "view", ("classes", "confidence", "truth", "errors"))
    return tag("div", views, dates, sliders, class_="controls") + tag("div", shown, table(), class_="result")


def table() -> Markup:
    """Returns the table of classes, still without rows."""
    all_classes = tag("label", tag("input", type="checkbox", id="all", checked=""), " class")
    titles = (all_classes, "area, %", "confidence, %")
    head = tag(
        "tr",
        [tag("th", title, scope="col") for title in titles],
        tag("th", "IoU, %", scope="col", class_="truth", hidden=""),
    )
    return tag(
        "div",
        tag("table", tag("caption", "Classes found"), tag("thead", head), tag("tbody", id="classes")),
        tag("p", id="scores", class_="soft"),
    )


def one_class() -> Markup:
    """Returns the part of the page that shows an image and its most probable classes."""
    head = tag("tr", [tag("th", title, scope="col") for title in ("class", "probability, %")])
    return tag(
        "div",
        tag("div", tag("img", id="photo", alt="The image")),
        tag("table", tag("caption", "Most probable classes"), tag("thead", head), tag("tbody", id="classes")),
        class_="result",
    )


def radios(title: str, key: str, values: Sequence[str]) -> Markup:
    """Returns radio buttons for some values; the first is chosen at the beginning."""
    choices = [
        tag("label", tag("input", type="radio", name=key, value=value, checked=None if i else ""), value)
        for i, value in enumerate(values)
    ]
    return tag("fieldset", tag("legend", title), choices)


def button(key: str, name: str, **attributes: object) -> Markup:
    """Returns a button with the id ``key``."""
    return tag("button", name, id=key, type="button", **attributes)
