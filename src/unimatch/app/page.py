"""Makes the page for a model's classes."""

import json
from importlib.resources import files

from markupsafe import Markup

from unimatch.engines.model_facts import ModelFacts
from unimatch.report.markup import page, tag


def app_page(facts: ModelFacts) -> Markup:
    """Returns the whole page. Its script fills in what the server answers."""
    drop = tag(
        "label",
        tag("strong", "Choose an image"),
        tag("span", " or drop it here. It stays on this machine."),
        tag("input", id="file", type="file", accept="image/*,.tif,.tiff"),
        id="drop",
        class_="drop",
    )
    choices = [
        tag("label", tag("input", type="radio", name="view", value=name, checked=checked), name)
        for name, checked in (("classes", ""), ("confidence", None))
    ]
    sliders = [
        tag(
            "label",
            tag("span", name, tag("output", id=f"{key}_value")),
            tag("input", id=key, type="range", min=0, max=100, value=value),
        )
        for key, name, value in (("opacity", "Opacity ", 55), ("threshold", "Hide what is less sure than ", 0))
    ]
    picture = tag(
        "div",
        tag("img", id="photo", alt="The image"),
        tag("canvas", id="overlay", role="img", aria_label="The prediction"),
        class_="stage",
    )
    head = tag("tr", [tag("th", name, scope="col") for name in ("class", "area, %", "mean confidence, %")])
    legend = tag("table", tag("caption", "Classes found"), tag("thead", head), tag("tbody", id="classes"))
    return page(
        "unimatch",
        tag("h1", "What the model sees"),
        tag("p", f"A model of {len(facts.classes)} classes.", class_="soft"),
        *([] if facts.bands.photos else [tag("p", f"Images: {facts.bands.summary()}.", class_="soft")]),
        drop,
        tag("p", "No image yet.", id="status", role="status"),
        tag(
            "section",
            tag("div", tag("fieldset", tag("legend", "Show"), choices), sliders, class_="controls"),
            tag("div", tag("div", picture, tag("p", id="pointed", class_="soft")), legend, class_="result"),
            id="result",
            hidden="",
            data_classes=json.dumps(facts.classes),
            data_palette=json.dumps(facts.palette),
        ),
        style=text("app.css"),
        script=text("app.js"),
    )


def text(name: str) -> str:
    """Returns the text of a file beside this one."""
    return (files("unimatch.app") / name).read_text(encoding="utf-8")
