"""Makes HTML from Python values. What is not markup already is escaped: class names and paths come from users."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from importlib.resources import files

from markupsafe import Markup, escape


def html(*content: object) -> Markup:
    """Returns content joined together. What is not markup is escaped, None is left out, iterables give their items.

    >>> html("a < b ", Markup("<br>"), [1, None, 2])
    Markup('a &lt; b <br>12')
    """
    return Markup("").join(
        html(*item) if isinstance(item, Iterable) and not isinstance(item, str) else escape(item)
        for item in content
        if item is not None
    )


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """Returns an element.

    Args:
        name: of the element. ``img``, ``meta``, ``link`` and ``input`` have no content and no end tag.
        *content: see :func:`html`.
        **attributes: those of None are left out; ``class_`` is ``class``, other underscores become hyphens.

    >>> tag("p", "<script>", class_="note", title='"')
    Markup('<p class="note" title="&#34;">&lt;script&gt;</p>')
    """
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{''.join(pairs)}>"
    return Markup(start) if name in ("img", "meta", "link", "input") else Markup(f"{start}{html(*content)}</{name}>")


def table(
    header: Iterable[object], rows: Iterable[Iterable[object]], *, caption: str, class_: str | None = None
) -> Markup:
    """Returns a table whose first column holds the titles of its rows. If it is too wide, it scrolls.

    Args:
        header: the titles of the columns.
        rows: the cells of each row; a cell that is a ``td`` already stays as it is.
        caption: of the table.
        class_: the table's CSS class.
    """
    head = tag("tr", [tag("th", cell, scope="col") for cell in header])
    body = [
        tag("tr", tag("th", name, scope="row"), [cell if is_cell(cell) else tag("td", cell) for cell in cells])
        for name, *cells in rows
    ]
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body), class_=class_)
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def is_cell(content: object) -> bool:
    """Returns whether the content is a ``td`` already."""
    return isinstance(content, Markup) and content.startswith("<td")


def section(title: str, *content: object) -> Markup:
    """Returns a part of the page with a heading, to which :func:`links` can lead."""
    return tag("section", tag("h2", title), *content, id=slug(title))


def slug(title: str) -> str:
    """Returns the id of a part of the page with this title.

    >>> slug("Time and place")
    'time-and-place'
    """
    return re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")


def links(sections: Iterable[Markup | None]) -> Markup:
    """Returns a row of links to parts of the page."""
    titles = [match[1] for part in sections if part is not None and (match := re.search("<h2>(.*?)</h2>", part))]
    items = [tag("li", tag("a", Markup(title), href="#" + slug(Markup(title).unescape()))) for title in titles]
    return tag("nav", tag("ul", items), aria_label="Parts of this page", class_="links")


def data(value: object) -> Markup:
    r"""Returns a value for the page's script, as JSON that browsers do not run and that cannot end its element.

    >>> data({"name": "</script>"})
    Markup('<script type="application/json">{"name":"\\u003c/script\\u003e"}</script>')
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(f'<script type="application/json">{text}</script>')


def drawing(
    width: int, height: int, *content: object, title: str = "", description: str = "", **attributes: object
) -> Markup:
    """Returns an SVG picture. Without a title it is decoration, which screen readers leave out."""
    texts = (tag("title", title), tag("desc", description)) if title else None
    role = {"role": "img"} if title else {"aria_hidden": "true"}
    return tag("svg", texts, *content, viewBox=f"0 0 {width} {height}", **attributes, **role)


def folded(summary: str, *content: object) -> Markup:
    """Returns content that is hidden until its summary is clicked."""
    return tag("details", tag("summary", summary), *content)


def packaged(name: str, package: str = "unimatch.report") -> str:
    """Returns the text of a file of a package, such as a style sheet or a script."""
    return (files(package) / name).read_text(encoding="utf-8")


def page(title: str, *body: object, style: str = "", script: str = "", connects: bool = True) -> Markup:
    """Returns a whole page. Its policy makes browsers load nothing and run nothing but ``script``, whatever it holds.

    Args:
        title: of the page.
        *body: see :func:`html`.
        style: CSS in addition to that of all pages.
        script: JavaScript.
        connects: whether the script may send requests to the page's own server.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        if connects:
            policy += "; connect-src 'self'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Markup(packaged("style.css") + style)),
    )
    main = tag("body", tag("main", *body), tag("script", Markup(script)) if script else None)
    return html(Markup("<!doctype html>\n"), tag("html", head, main, lang="en"), "\n")
