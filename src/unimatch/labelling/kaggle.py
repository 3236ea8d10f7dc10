"""Run lengths in a CSV file, as in Kaggle's competitions: a line for each class of an image, or each object."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import Found, LabelledImage, Region, Regions
from unimatch.labelling.shapes import Runs
from unimatch.labelling.source import Source, head, opened

IMAGES = (
    *("imageid", "image_id", "image", "img", "img_id", "imageid_classid", "image_label"),
    *("id", "filename", "file_name"),
)
RUNS = ("encodedpixels", "rle", "rle_mask", "segmentation", "encoding", "annotation")
CLASSES = ("classid", "class_id", "class", "label", "category", "cell_type")
SIDES = (("width", "imagewidth", "image_width", "img_width"), ("height", "imageheight", "image_height", "img_height"))
"""Columns of the size that runs were made for."""
ALONG_ROWS = (("img", "rle_mask"), ("id", "segmentation"), ("id", "annotation"))
"""Columns of the competitions whose runs go along the rows: Carvana's, UW-Madison's, Sartorius's."""

ONLY_CLASS = "foreground"
"""The class where a file names none."""


def find(source: Source) -> list[Member]:
    """Finds the CSV files with a column of images and one of run lengths."""
    return [member for member in source.matching(r"[^/]+\.csv") if None not in columns(head(member))[:2]]


def columns(text: str) -> tuple[str | None, str | None, str | None]:
    """Returns the columns of images, run lengths and classes, from a file's first line; None where there is none.

    >>> columns("ImageId,EncodedPixels")
    ('ImageId', 'EncodedPixels', None)
    """
    try:
        names = next(csv.reader([text.lstrip("\ufeff").partition("\n")[0].strip()]), [])
    except csv.Error:  # such as a file whose lines end in "\r" alone
        names = []
    image, runs, label = (
        next((name for wanted in kinds for name in names if name.strip().lower() == wanted), None)
        for kinds in (IMAGES, RUNS, CLASSES)
    )
    return image, runs, label


@contextmanager
def long_cells() -> Iterator[None]:
    """Lets the cells of CSV files be as long as run lengths are; Python's bound is of the whole process."""
    before = csv.field_size_limit(2**26)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all files; later lines lie over earlier ones. Photos without runs are unlabelled.

    Runs count from 1, down the columns of the image; in files with columns of :data:`ALONG_ROWS`, along its rows. A
    class is named by its column, by what follows the last ``_`` in a column ``ImageId_ClassId`` or ``Image_Label``, or
    is :data:`ONLY_CLASS`. One without any runs is a class too.

    Raises:
        DataError: a file is damaged, or a photo is missing.
    """
    images: list[LabelledImage] = []
    classes: set[str] = set()
    for file in files:
        where = str(file.place / file.name)
        image, runs, label = columns(head(file))
        assert image is not None
        assert runs is not None
        along_rows = (image.strip().lower(), runs.strip().lower()) in ALONG_ROWS
        regions: dict[str, list[Region]] = {}
        sizes: dict[str, tuple[int, int] | None] = {}
        try:
            with long_cells(), opened(file) as binary, io.TextIOWrapper(binary, "utf-8-sig", newline="") as text:
                for number, row in enumerate(csv.DictReader(text), start=2):
                    name, kind = row[image], row[label] if label else ONLY_CLASS
                    if not name or kind is None:
                        raise DataError(f"{where}, line {number}: has no cell for the image or the class; get it again")
                    if label is None and re.search(r"_(class|label)", image, re.IGNORECASE):
                        name, _, kind = name.rpartition("_")
                    classes.add(kind)
                    found = regions.setdefault(name, [])
                    sizes[name] = size_of(row)
                    if row[runs] and row[runs].strip() not in ("", "-1"):
                        found.append(Region(kind, (Runs(row[runs], along_rows=along_rows),), f"line {number}"))
        except (csv.Error, KeyError, UnicodeDecodeError) as error:
            raise DataError(f"{where}: cannot be read ({error!r}); get it again") from error
        part = part_of(file.name)
        for name, items in regions.items():
            photo = photos.find(name, file)
            base = photo.name.rpartition("/")[2]
            images.append(
                LabelledImage(clean(base), photo, Regions(tuple(items)) if items else None, sizes[name], part, where)
            )
    for member in photos.others(image.photo for image in images):
        images.append(LabelledImage(clean(member.name), member, None))
    return Found(images, dict.fromkeys(sorted(classes, key=by_number)))


def size_of(row: dict[str, str]) -> tuple[int, int] | None:
    """Returns the width and height in a row; None where it does not give both.

    >>> size_of({"id": "a", "Height": "4", "Width": "6"}), size_of({"id": "a"})
    ((6, 4), None)
    """
    cells = {str(name).strip().lower(): cell for name, cell in row.items()}
    width, height = (next((cells[name] for name in names if name in cells), None) or "" for names in SIDES)
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def by_number(name: str) -> tuple[int, str]:
    """Sorts numbers by what they count, before other names.

    >>> sorted(["10", "a", "9"], key=by_number)
    ['9', '10', 'a']
    """
    return int(name) if name.isdecimal() and len(name) < 10 else 10**10, name
