"""Finds and reads class names, and their colours if there are any, in the files that people and label tools write."""

import os
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from unimatch.data.sets.class_entries import Classes
from unimatch.data.sets.class_files import parse
from unimatch.data.sets.own_folders import in_two_folders, place_of
from unimatch.errors import DataError
from unimatch.images.folders import canonical, find_images, note, subfolders, what_is_there
from unimatch.images.label_files import exported

FILES = (
    *("classes.txt", "classes.json", "_classes.csv", "class_dict.csv", "classes.csv", "labelmap.txt", "labels.txt"),
    *("classes.names", "obj.names", "data.yaml", "dataset.yaml", "classes.yaml"),
    *("class_names.txt", "class.txt", "codes.txt"),
)
"""Files in which class names are looked for below a root, in this order and in any case."""
MOST_FOLDERS = 50
"""The most folders in which a misplaced file is looked for."""


def find_classes(root: Path) -> Path:
    """Returns the file of class names below a root.

    Raises:
        DataError: there is none; the message says what is there instead.
    """
    if (file := class_file(root)) is not None:
        return file
    laid_out = next(in_two_folders(root, "train"), None) is not None or (root / "masks").is_dir()
    if not laid_out and (hint := exported(root, root)):
        raise DataError(f"{root}: no classes.txt{hint}")
    if not laid_out and (inner := data_set_within(root)) is not None:
        raise DataError(f"{root}: no classes.txt; the data set seems to be {inner}: set dataset.root={inner}")
    there = "" if laid_out or (root / "images").is_dir() else what_is_there(root)
    raise DataError(
        f"{root}: no classes.txt{there}{misplaced(root)}; write one class name a line, in the order of the ids "
        f"(python -m unimatch.check dataset=folder dataset.root={root} writes one of what the masks hold)"
    )


def class_file(root: Path) -> Path | None:
    """Returns the file of class names below a root; None if there is none."""
    if not root.is_dir():
        return None
    with os.scandir(root) as entries:
        there = {name.lower(): name for name in sorted(entry.name for entry in entries)}  # lower case comes last
    return next((root / there[name] for name in FILES if name in there and (root / there[name]).is_file()), None)


def data_set_within(root: Path) -> Path | None:
    """Returns the only folder in a folder that holds images and masks, such as the one of an unpacked archive.

    Raises:
        DataError: there are several, such as one for each scene.
    """
    found = list[Path]()
    for name in subfolders(root)[:MOST_FOLDERS]:
        with suppress(DataError):  # of a folder that may be of no concern
            if place_of(root / name, "train") is not None:
                found.append(root / name)
    if len(found) > 1:
        one, other, *more = (path.name for path in found)
        if any(holds_several_masks(folder) for folder in found):
            raise DataError(
                f"{root}: {one} and {other}{' and others' if more else ''} each hold one image with several masks, "
                f"such as one for each object: python -m unimatch.labels from={root} to=FOLDER joins them"
            )
        raise DataError(
            f"{root}: {one} and {other}{' and others' if more else ''} each hold images and masks; put them into "
            f"images/{one} and masks/{one}, images/{other} and masks/{other} of one folder"
        )
    return found[0] if found else None


def holds_several_masks(folder: Path) -> bool:
    """Tells whether a folder holds one image and several masks."""
    place = place_of(folder, "train")
    return place is not None and [
        len(find_images(folder / part, masks=True)) > 1 for part in (place.images, place.masks)
    ] == [False, True]


def misplaced(root: Path) -> str:
    """Says, for a message, which file of another name or place may hold the class names; empty if there is none."""
    named = re.compile(r".*(?:class|label|category|categories|name).*\.(?:txt|csv|json|ya?ml|names)", re.IGNORECASE)
    found = [path for path in sorted(root.iterdir()) if named.fullmatch(path.name) and path.is_file()]
    found += [root / folder / name for folder in subfolders(root)[:MOST_FOLDERS] for name in FILES]
    file = next((path for path in found if path.is_file()), None)
    return f"; {file} is there: if it names the classes, move or rename it to classes.txt" if file else ""


def note_alike(where: object, names: Sequence[str]) -> None:
    """Warns of two names that differ in their case alone; single letters may be signs, as in a data set of letters."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(canonical(name), name)
        if name != other and len(name) > 1:
            note("classes alike", f"{where}: {other} and {name} are two classes; if they are one, name it once")


def read_classes(classes: str | Path | Sequence[str]) -> Classes:
    """Reads class names from a sequence or a file.

    A text file has one class a line: ``name``, ``R G B name``, ``id name``, ``id: name`` and the like, or a table with
    a line of column names; lines that begin with ``#`` are comments. A JSON or YAML file has a list of names, or an
    object of names and colours ``[R, G, B]``, of ids and names, or of names and ids; or one of these as ``names``.
    ``_classes.csv``, ``class_dict.csv``, ``labelmap.txt``, ``labels.txt`` and ``data.yaml`` of label tools are such
    files. Ids must run from 0 up without a gap; ``__ignore__`` and the id 255 are no classes.

    Raises:
        DataError: the file is missing or malformed, or a name is repeated.
    """
    if isinstance(classes, (str, Path)):
        path = Path(classes).expanduser()
        where, found = str(path), parse(path)
    else:
        where, found = "classes", Classes(tuple(classes))
    if not all(isinstance(name, str) for name in found.names):
        raise DataError(f"{where}: expected a list of class names")
    names = tuple(name.strip() for name in found.names)
    if len(names) > 255:
        raise DataError(f"{where}: at most 255 classes fit an 8-bit mask; found {len(names)}")
    background = "; what is none of the objects is a class too, such as background" if len(names) == 1 else ""
    if len(names) < 2 or len({unicodedata.normalize("NFC", name) for name in names}) < len(names):
        raise DataError(
            f"{where}: at least two class names, all different, are needed; found {list(names)}{background}"
        )
    for name in names:
        try:
            name.encode(errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise DataError(f"{where}: {name!r} is half a character, which no file can hold; correct it") from error
    return Classes(names, found.colors)
