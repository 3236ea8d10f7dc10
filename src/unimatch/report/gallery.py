"""Shows images with layers over them (truth, predictions, errors, confidence), and the switches of the classes.

CSS shows one layer at a time, so that the page works without its script. The script adds the switches, the enlarged
view and the class under the pointer.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unimatch.report.layers import level_colors
from unimatch.report.markup import data, html, tag

LAYERS = ("truth", "student", "teacher", "errors", "confidence")
"""The layers that a photograph may have, in the order of their buttons."""
SHOWN_FIRST = ("teacher", "truth")
"""The layers that are shown first: the first of these that an image has."""
LARGEST_FILE = 2**20
"""The most bytes of a picture; larger ones, which unimatch does not write, are left out."""
LARGEST_PAGE = 5 * 2**20
"""The most bytes of all pictures of a page together; further ones are left out."""
MOST = 64
"""How many images or rows of one kind are shown at most, and how many pictures of one image."""
LONGEST_TITLE = 1000
"""How many characters of a title are shown: a page holds each several times."""


class Pictures:
    """Reads the pictures of a run directory as ``data:`` links. The directory may come from somebody else.

    Args:
        place: the run directory.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.left = place, LARGEST_PAGE

    def link(self, file: str) -> str | None:
        """Returns a picture of ``examples/`` as a link; None if it does not exist, is too large, or leads elsewhere."""
        path = self.place / "examples" / Path(file).name
        if not path.is_file() or not path.resolve().is_relative_to(self.place.resolve()):
            return None
        size = path.stat().st_size
        if size > min(LARGEST_FILE, self.left):
            return None
        self.left -= size
        kind = "png" if path.suffix == ".png" else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def gallery(pictures: Pictures, examples: Iterable[Mapping[str, Any]], kind: str) -> Markup:
    """Returns a card for each image.

    Args:
        pictures: of the run.
        examples: from ``examples.json``.
        kind: the beginning of the names of the cards' switches, which are unique on a page.
    """
    shown = list(examples)[:MOST]
    cards = (card(pictures, example, f"{kind}{i}") for i, example in enumerate(shown))
    return tag("div", cards, class_="gallery" if any(one.get("layers") for one in shown) else "gallery small")


def card(pictures: Pictures, example: Mapping[str, Any], name: str) -> Markup:
    """Returns an image with its layers, a button for each, and its title."""
    title = clipped(example["title"])
    photos = [(clipped(shown), link) for shown, file in example["photos"][:MOST] if (link := pictures.link(file))]
    files = example.get("layers") or {}
    layers = [(layer, link) for layer in LAYERS if layer in files and (link := pictures.link(files[layer]))]
    stack, buttons = [], {}
    for i, (shown, link) in enumerate(photos):
        stack.append(tag("img", src=link, alt=f"{title}: {shown}", class_=f"photo at{i}"))
        buttons[f"at{i}"] = shown
    for layer, link in layers:
        stack.append(tag("img", src=link, alt=f"{title}: {layer}", class_=f"layer {layer}"))
        buttons[layer] = layer
    first = next((layer for layer in (*SHOWN_FIRST, *buttons) if layer in buttons), None)
    labels = [
        tag("label", radio(name, value, checked=value == first), tag("span", shown)) for value, shown in buttons.items()
    ]
    switch = tag("fieldset", tag("legend", f"Show of {title}", class_="unseen"), labels, class_="switch")
    return tag(
        "article",
        tag("div", stack, class_="stage"),
        tag("h3", title),
        switch if len(buttons) > 1 else None,
        tag("p", class_="pointed soft"),
        class_="example",
    )


def clipped(title: object) -> str:
    """Returns the beginning of a title, as far as it is shown."""
    return str(title)[:LONGEST_TITLE]


def radio(name: str, value: str, *, checked: bool) -> Markup:
    """Returns a radio button of the group ``name``."""
    return tag("input", type="radio", name=name, value=value, checked="" if checked else None)


def row_of_pictures(pictures: Pictures, row: Mapping[str, Any]) -> Markup:
    """Returns the pictures of an image side by side, if their files exist, each with its mask over it."""
    figures, title = [], clipped(row["title"])
    for cell in row["cells"][:MOST]:
        if link := pictures.link(cell["file"]):
            caption = clipped(cell["caption"])
            mask = pictures.link(cell["mask"]) if cell.get("mask") else None
            stack = [
                tag("img", src=link, alt=f"{title}: {caption}", class_="photo"),
                tag("img", src=mask, alt="", class_="layer mask") if mask else None,
            ]
            figures.append(tag("figure", tag("div", stack, class_="stage"), tag("figcaption", caption)))
    return html(tag("h3", title), tag("div", figures, class_="pictures"))


def color_of(palette: Sequence[Sequence[int]], index: int) -> str | None:
    """Returns a class's colour as CSS writes it; None if it is not known."""
    if index >= len(palette):
        return None
    return f"rgb{tuple(palette[index])}"


def class_switches(classes: Sequence[str], palette: Sequence[Sequence[int]], used: Sequence[int]) -> Markup:
    """Returns the legend of all pictures, with the data by which the script turns its entries into switches.

    Args:
        classes: the names of all classes.
        palette: their colours.
        used: the ids of the classes that the legend has.
    """
    items = [
        tag(
            "label",
            tag("input", type="checkbox", value=i, checked="", class_="live"),
            tag("span", class_="color", style=f"background:{color_of(palette, i)}"),
            classes[i],
        )
        for i in used
    ]
    both = [tag("button", name, type="button", value=value) for name, value in (("all", "1"), ("none", ""))]
    views = [tag("option", name, value=name) for name in ("image", *LAYERS)]
    return tag(
        "div",
        tag("fieldset", tag("legend", "Classes"), items, tag("span", both, class_="live"), class_="classes"),
        tag(
            "div",
            tag(
                "label", "All pictures: ", tag("select", tag("option", "each its own", value=""), views), class_="live"
            ),
            tag("label", "Opacity ", tag("input", type="range", min=0, max=100, value=60), class_="live"),
            tag("span", "Confidence: ", scale()),
            class_="tools",
        ),
        data({"classes": list(classes), "palette": palette, "levels": level_colors()}),
        class_="switches",
    )


def scale() -> Markup:
    """Returns the colours of confidence from 0 to 100%."""
    squares = (tag("i", style=f"background:rgb{color}") for color in level_colors())
    return html("0% ", tag("span", squares, class_="scale"), " 100%")


def viewer() -> Markup:
    """Returns the dialog in which the script shows an enlarged image."""
    buttons = (("previous", "←"), ("next", "→"), ("close", "close"))
    drawn = [tag("button", text, type="button", value=value, aria_label=value) for value, text in buttons]
    keys = "Keys: ← → other images, 1 to 7 what is shown, Esc closes."
    return tag(
        "dialog",
        tag("div", drawn, tag("span", keys, class_="soft"), class_="bar"),
        tag("div", class_="place"),
        class_="viewer",
        aria_label="Enlarged picture",
    )


def used_classes(examples: Iterable[Mapping[str, Any]], count: int) -> list[int]:
    """Returns the ids of the classes, of ``count``, that are in any of the pictures."""
    found = {int(i) for example in examples for i in example.get("present") or []}
    return sorted(i for i in found if 0 <= i < count)
