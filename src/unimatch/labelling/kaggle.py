"""Reads run lengths from CSV files, as in Kaggle's competitions: a line for each class of an image, or each object."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.export_files import Source, head, opened
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import Found, LabelledImage, Region, Regions, unlabelled
from unimatch.labelling.shapes import Runs

IMAGE_COLUMNS = (
    *("imageid", "image_id", "image", "img", "img_id", "imageid_classid", "image_label"),
    *("id", "filename", "file_name"),
)
RUN_COLUMNS = ("encodedpixels", "rle", "rle_mask", "segmentation", "encoding", "annotation")
CLASS_COLUMNS = ("classid", "class_id", "class", "label", "category", "cell_type")
SIZE_COLUMNS = (
    ("width", "imagewidth", "image_width", "img_width"),
    ("height", "imageheight", "image_height", "img_height"),
)
"""Names, in lower case, of the columns of images, run lengths, classes, and of the width and height of an image."""
ALONG_ROWS = (("img", "rle_mask"), ("id", "segmentation"), ("id", "annotation"))
"""Columns of images and runs in competitions whose runs go along rows: Carvana, UW-Madison and Sartorius."""

ONLY_CLASS = "foreground"
"""The class of all runs in a file that names none."""


def find(source: Source) -> list[Member]:
    """Returns the CSV files with a column of images and one of run lengths."""
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
        for kinds in (IMAGE_COLUMNS, RUN_COLUMNS, CLASS_COLUMNS)
    )
    return image, runs, label


@contextmanager
def long_cells() -> Iterator[None]:
    """Raises the limit for the length of cells within the block; it holds for the whole process."""
    before = csv.field_size_limit(2**26)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all files; later lines lie over earlier ones. Photos without runs are unlabelled.

    Runs count from 1, down the columns of the image; in files with columns of :data:`ALONG_ROWS`, along its rows. A
    class is named by its column, by what follows the last ``_`` in a column ``ImageId_ClassId`` or ``Image_Label``, or
    is :data:`ONLY_CLASS`. A class without any runs is kept too.

    Raises:
        DataError: a file is damaged, or a photo is missing.
    """
    images: list[LabelledImage] = []
    classes: set[str] = set()
    for file in files:
        images += read_file(file, photos, classes)
    images += unlabelled(photos, images)
    return Found(images, dict.fromkeys(sorted(classes, key=by_number)))


def read_file(file: Member, photos: Photos, classes: set[str]) -> list[LabelledImage]:
    """Reads the photos of one file, and adds the classes that it names."""
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
                    raise DataError(
                        f"{file.where}, line {number}: has no cell for the image or the class; get it again"
                    )
                if label is None and re.search(r"_(class|label)", image, re.IGNORECASE):
                    name, _, kind = name.rpartition("_")
                classes.add(kind)
                found = regions.setdefault(name, [])
                sizes[name] = size_of(row)
                if row[runs] and row[runs].strip() not in ("", "-1"):
                    found.append(Region(kind, (Runs(row[runs], along_rows=along_rows),), f"line {number}"))
    except (csv.Error, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{file.where}: cannot be read ({error!r}); get it again") from error
    part = part_of(file.name)
    images = []
    for name, items in regions.items():
        photo = photos.find(name, file)
        base = photo.name.rpartition("/")[2]
        labels = Regions(tuple(items)) if items else None
        images.append(LabelledImage(clean(base), photo, labels, sizes[name], part, file.where))
    return images


def size_of(row: dict[str, str]) -> tuple[int, int] | None:
    """Returns the width and height that a row gives; None if it does not give both.

    >>> size_of({"id": "a", "Height": "4", "Width": "6"}), size_of({"id": "a"})
    ((6, 4), None)
    """
    cells = {str(name).strip().lower(): cell for name, cell in row.items()}
    width, height = (next((cells[name] for name in names if name in cells), None) or "" for names in SIZE_COLUMNS)
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def by_number(name: str) -> tuple[int, str]:
    """Returns a key that sorts numbers by their value, before all other names.

    >>> sorted(["10", "a", "9"], key=by_number)
    ['9', '10', 'a']
    """
    return int(name) if name.isdecimal() and len(name) < 10 else 10**10, name
