"""Recognises the files that label tools write, as far as messages about folders of images need it."""

import re
from contextlib import suppress
from pathlib import Path

LABEL_TOOL_FILES = (
    *("_classes.csv", "labelmap.txt", "*/_classes.csv", "*/labelmap.txt", "*/ann/*.json"),
    *("labels/*.txt", "labels/*/*.txt", "*/labels/*.txt", "*.json", "*/*.json", "*.xml", "*/*.xml"),
)
"""Patterns of the files that label tools write beside photos. Of JSON files only those of :data:`JSON_KINDS` count."""

JSON_KINDS = {
    "coco": r'\s*\{.*"(images|annotations|categories)"\s*:\s*\[',
    "labelme": r'\s*\{.*"shapes"\s*:\s*\[',
    "labelstudio": r'\s*\[\s*\{.*"(annotations|predictions|completions)"\s*:',
    "supervisely": r'\s*\{.*"(classes|objects)"\s*:\s*\[',
}
"""Regular expressions for the first 64 kB of JSON files of each format; the first one that matches counts."""


def json_kind(text: str) -> str | None:
    """Returns the format of a label tool's JSON file, one of :data:`JSON_KINDS`, by its first 64 kB.

    >>> json_kind('{"version": "5.0", "shapes": []}'), json_kind('{"labels": {"background": 0}}')
    ('labelme', None)
    """
    return next((kind for kind, form in JSON_KINDS.items() if re.match(form, text, re.DOTALL)), None)


def exported(folder: Path, whole: str | Path = "EXPORT") -> str:
    """Says, for a message, how to convert a folder that holds a label tool's export; empty for other folders.

    Args:
        folder: where the files of label tools are looked for.
        whole: the export to name in the message, of which the folder may be a part.
    """
    files = (file for form in LABEL_TOOL_FILES for file in sorted(folder.glob(form)) if not file.name.startswith("."))
    file = next((file for file in files if file.suffix != ".json" or json_kind(beginning(file))), None)
    if file is None:
        return ""
    return (
        f"; {file} seems to be from a label tool: make images/ masks/ classes.txt of its export with python -m "
        f"unimatch.labels from={whole} to=FOLDER"
    )


def beginning(file: Path) -> str:
    """Returns the first 64 kB of a text file; nothing of one that cannot be read."""
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(2**16).decode(errors="replace")
    return ""
