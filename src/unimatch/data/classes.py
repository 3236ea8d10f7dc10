"""Class names from a file."""

import json
from collections.abc import Sequence
from pathlib import Path

from unimatch.errors import DataError


def read_classes(root: Path, classes: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """The class names of a ``folder`` data set, from a sequence or a file.

    Raises:
        DataError: no names are given and no file is found, the file is malformed, or a name is repeated.
    """
    if classes is None:
        found = [root / name for name in ("classes.txt", "classes.json") if (root / name).is_file()]
        if not found:
            raise DataError(f"{root}: no classes.txt; write one class name a line, in the order of the ids")
        classes = found[0]
    if isinstance(classes, (str, Path)):
        path = Path(classes).expanduser()
        try:
            text = path.read_text(encoding="utf-8-sig")
            names = json.loads(text) if path.suffix == ".json" else [x for x in text.splitlines() if x.strip()]
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f"{path}: the class names cannot be read ({error})") from error
        where = str(path)
    else:
        names, where = list(classes), "dataset.classes"
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: expected a list of class names")
    names = [name.strip() for name in names]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{where}: at least two class names, all different, are needed; found {names}")
    if len(names) > 255:
        raise DataError(f"{where}: at most 255 classes fit an 8-bit mask; found {len(names)}")
    return tuple(names)
