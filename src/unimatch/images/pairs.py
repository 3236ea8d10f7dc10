"""Two dates of one place: what the folder and the file of the second date are called, and both images as one array."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unimatch.errors import DataError
from unimatch.images.arrays import ImageArray, read_image
from unimatch.images.folders import canonical, subfolders

SECOND_FOLDERS = {
    "a": "b",
    "before": "after",
    "pre": "post",
    **{f"{word}1": f"{word}2" for word in ("t", "time", "date", "im", "img", "image")},
}
"""Folders of the first date, in lower case, and the folder of the second date that lies beside each."""


def second_folder(first: str) -> str | None:
    """Returns the name of the second date's folder, in the case of the first one's; None if that is of no first date.

    >>> second_folder("A"), second_folder("Image1"), second_folder("photos")
    ('B', 'Image2', None)
    """
    second = SECOND_FOLDERS.get(first.lower())
    if second is None or first.islower():
        return second
    return second.upper() if first.isupper() else second.capitalize()


def date_folders(root: Path) -> tuple[str, str] | None:
    """Returns the folders of both dates below a root, ``A`` and ``B`` before others; None where there are none."""
    there = subfolders(root)
    return next(((name, second) for name in there if (second := second_folder(name)) in there), None)


def second_date(before: str, roots: Sequence[str | Path] = ()) -> str:
    """Returns the file of the second date: the same path with the second date's folder in place of the first one's.

    Args:
        before: the file of the first date.
        roots: folders of data sets. The names of a root and of the folders above it do not count. Where several folders
            below the root could be that of the first date, the first one that leads to an existing file is taken.

    >>> second_date("/data/A/train_1.png"), second_date("/data/A/t1/1.png", ["/data/A"])
    ('/data/B/train_1.png', '/data/A/t2/1.png')
    """
    path = Path(before)
    above = max((len(Path(root).parts) for root in roots if path.is_relative_to(root)), default=0)
    candidates = [
        Path(*path.parts[:place], second, *path.parts[place + 1 :])
        for place in range(above, len(path.parts) - 1)
        if (second := second_folder(path.parts[place])) is not None
    ]
    if len(candidates) > 1:
        candidates = [file for file in candidates if file.is_file()] or candidates
    return str(candidates[0] if candidates else path)


def other_spelling(second: Path) -> str:
    """Says, for a message, that a missing second date is there with another extension, case or Unicode form."""
    stem = canonical(second.stem)
    name = next((path.name for path in second.parent.glob("*") if canonical(path.stem) == stem), None)
    return f" (but {name!a} is there; both dates need one name)" if name else ""


def read_pair(before: Path, after: Path, read: Callable[[Path], ImageArray] = read_image) -> ImageArray:
    """Reads two dates of one place as (2, H, W, 3) uint8 RGB, or as ``read`` reads each.

    Raises:
        DataError: a date is missing or cannot be read, or the two differ in size.
    """
    if before.is_file() and not after.is_file():
        raise DataError(f"{after}: no such file{other_spelling(after)}; it is the second date of {before}")
    dates = [read(before), read(after)]
    first, second = (f"{date.shape[1]} x {date.shape[0]}" for date in dates)
    if first != second:
        raise DataError(
            f"{after}: the second date is {second} pixels and the first, {before}, {first}; they must be equal"
        )
    return np.stack(dates)
