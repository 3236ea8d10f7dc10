"""Reads Roboflow's "Semantic Segmentation Masks": ``NAME_mask.png`` beside ``NAME.jpg``, and ``_classes.csv``."""

import csv
import io
import re
from pathlib import PurePosixPath

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.export_files import Source, head, opened_mask, read_text, size_of
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import IGNORE, Found, LabelledImage, Painted, unlabelled
from unimatch.types import IGNORE_INDEX


def find(source: Source) -> list[Member]:
    """Returns the lists of classes."""
    return [member for member in source.matching(r"_classes\.csv") if "pixel value" in head(member)[:100].lower()]


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of the folders that have a list of classes: ``train/``, ``valid/``, ``test/``.

    The mask of a photo without annotations is 0 everywhere, and may have the size that the photo had when uploaded.

    Raises:
        DataError: a photo is missing, or a list is malformed.
    """
    images: list[LabelledImage] = []
    classes: dict[str, None] = {}
    for file in files:
        folder = file.name.rpartition("/")[0]
        names = values(file)
        remedy = f"name it in {file.where}"
        classes |= dict.fromkeys(names[value] for value in sorted(names) if value != IGNORE_INDEX)
        for mask in source.matching(re.escape(folder) + r"/?[^/]+_mask\.png"):
            if mask.name.rpartition("/")[0] == folder:
                photo = photos.find(mask.name[: -len("_mask.png")], mask)
                if photo.place == mask.place and photo.name.rpartition("/")[0] != folder:
                    raise DataError(f"{mask.where}: no photo of its name lies beside it; add the photo")
                name = clean(PurePosixPath(photo.name).name)
                where = mask.where
                labels = None if is_empty(mask) else Painted(mask, names, remedy=remedy)
                images.append(LabelledImage(name, photo, labels, None, part_of(folder), where))
    return Found(images + unlabelled(photos, images), dict(classes), drawn=False)


def is_empty(mask: Member) -> bool:
    """Tells whether a mask is 0 everywhere.

    Raises:
        DataError: it cannot be read.
    """
    where, content = mask.where, mask.read()
    with opened_mask(content, where, size_of(content, where)) as image:
        return image.getextrema() == (0, 0)


def values(file: Member) -> dict[int, str]:
    """Returns the class of each value of a mask, by a list of classes.

    Raises:
        DataError: a line is malformed.
    """
    names = {IGNORE_INDEX: IGNORE}
    number = 0
    try:
        for number, row in enumerate(csv.reader(io.StringIO(read_text(file))), start=1):
            if number > 1 and row:
                names[int(row[0])] = row[1].strip()
    except (csv.Error, ValueError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{file.where}, line {number}: expected a pixel value and a class ({error}); correct it"
        ) from error
    return names
