"""Makes the page for a model's classes."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

from markupsafe import Markup

from unimatch.engines.model_facts import ModelFacts
from unimatch.report.layers import SCALE
from unimatch.report.markup import packaged, page, tag

SCRIPTS = ("page.js", "view.js", "answers.js", "save.js", "app.js")
"""The files of the page's one script, in their order, after what the scripts of all pages share."""

DROPS = {
    "image": ("Choose images", "or drop them here. They stay on this machine."),
    "second": ("Second dates", "of the same names as the first."),
    "truth": ("True masks, if you have them", "of the same names as their images. They give the IoU."),
}
"""A title and a text for each kind of files that the page takes."""


def app_page(
    about: Mapping[str, str],
    parts: Sequence[str],
    facts: ModelFacts | None = None,
    *,
    classes: Sequence[str] = (),
) -> Markup:
    """Returns the whole page. Its script fills in what the server answers.

    Args:
        about: what is said of the model on top, a title and a text each.
        parts: the kinds of files that the page takes; see :data:`DROPS`.
        facts: of a model that gives masks.
        classes: names, for a model that gives each image one class.
    """
    names = facts.classes if facts else tuple(classes)
    said = {**about, "Classes": ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")}
    if facts and not facts.bands.photos:
        said["Images"] = facts.bands.summary()
    data = {"classes": names, "palette": facts.colors if facts else (), "parts": parts, "ramp": SCALE}
    return page(
        "unimatch",
        tag("h1", "What the model sees"),
        tag("dl", [tag("div", tag("dt", title), tag("dd", text)) for title, text in said.items()], class_="about"),
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
        style=text("app.css"),
        script=packaged("shared.js") + "".join(map(text, SCRIPTS)),
    )


def drop(part: str, dates: int) -> Markup:
    """Returns a place for files of one kind."""
    title, said = ("Choose first dates", DROPS["image"][1]) if part == "image" and dates == 2 else DROPS[part]
    return tag(
        "label",
        tag("strong", title),
        tag("span", " ", said),
        tag("input", id=part, type="file", accept="image/*,.tif,.tiff", multiple=""),
        class_="drop",
        data_part=part,
    )


def masks(parts: Sequence[str]) -> Markup:
    """Returns what shows a mask over its image."""
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
    """Returns the table of classes, without rows."""
    everything = tag("label", tag("input", type="checkbox", id="all", checked=""), " class")
    titles = (everything, "area, %", "confidence, %")
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
    """Returns what shows the probable classes of an image."""
    head = tag("tr", [tag("th", title, scope="col") for title in ("class", "probability, %")])
    return tag(
        "div",
        tag("div", tag("img", id="photo", alt="The image")),
        tag("table", tag("caption", "Most probable classes"), tag("thead", head), tag("tbody", id="classes")),
        class_="result",
    )


def radios(title: str, key: str, values: Sequence[str]) -> Markup:
    """Returns a choice of one value, the first at the beginning."""
    choices = [
        tag("label", tag("input", type="radio", name=key, value=value, checked=None if i else ""), value)
        for i, value in enumerate(values)
    ]
    return tag("fieldset", tag("legend", title), choices)


def button(key: str, name: str, **attributes: object) -> Markup:
    """Returns a button."""
    return tag("button", name, id=key, type="button", **attributes)


def text(name: str) -> str:
    """Returns the text of a file beside this one."""
    return (files("unimatch.app") / name).read_text(encoding="utf-8")
