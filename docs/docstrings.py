"""Docstrings as the site shows them: Sphinx roles become code, doctests become blocks."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Rewrites each docstring once it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = for_markdown(obj.docstring.value)


def for_markdown(text: str) -> str:
    """``:func:`name``` and ``literal`` as code, ``>>>`` paragraphs as blocks, lone stars as stars."""
    parts = []
    for paragraph in re.sub(
        r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`")
    ).split("\n\n"):
        if paragraph.lstrip().startswith(">>>"):
            indent = paragraph[: len(paragraph) - len(paragraph.lstrip())]
            paragraph = f"{indent}```pycon\n{paragraph}\n{indent}```"
        parts.append(paragraph)
    return "\n\n".join(parts)
