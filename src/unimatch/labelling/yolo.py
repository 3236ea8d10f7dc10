"""Reads YOLO's segmentation labels: ``images/``, ``labels/NAME.txt`` with a polygon a line, and names in ``data.yaml``.

Ultralytics trains on them; Roboflow, CVAT and Label Studio write them. A line is a class and the points of an outline,
in shares of the photo's width and height: https://docs.ultralytics.com/datasets/segment/.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from unimatch.data.prepare.archives import Member
from unimatch.data.sets.class_entries import in_order
from unimatch.data.sets.class_files import LARGEST, from_object
from unimatch.errors import DataError, in_one_line
from unimatch.images.arrays import MaskArray
from unimatch.labelling.export_files import Source, head, read_text
from unimatch.labelling.photos import Photos, name_of, part_of
from unimatch.labelling.records import Found, LabelledImage, Region, Regions, log_left_out, unlabelled
from unimatch.labelling.shapes import Polygon, Ring

log = logging.getLogger("unimatch")

FILE = r"labels/(?:[^/]+/)*(?!classes\.txt$)[^/]+\.txt"
LINE = re.compile(r"\s*\d+(?:\.0+)?(?:\s+-?[\d.]+(?:[eE][+-]?\d+)?){4,}\s*(?:\n|$)")
"""A line with a class and at least the four numbers of a box."""

EXAMINED = 100
"""Files of which at least one must begin with such a line; the others may be of photos without objects."""

LARGEST_SHARE = 1.5
"""Coordinates are shares of 0 to 1, apart from rounding; larger ones are taken for pixels."""


@dataclass(frozen=True, slots=True)
class NormalizedOutlines:
    """Outlines with coordinates in shares of the photo's sides; smaller lie over larger ones, as in Ultralytics."""

    items: tuple[tuple[str, Ring, str], ...]
    """Of each outline the class, (N, 2) x and y, and its name in messages."""

    def draw(self, where: str, size: tuple[int, int], ids: Mapping[str, int], fill: int) -> MaskArray:
        """Draws the labels; see :class:`~unimatch.labelling.records.Drawable`."""
        regions = tuple(Region(label, (Polygon((points * size,)),), note) for label, points, note in self.items)
        return Regions(regions, larger_first=True).draw(where, size, ids, fill)


def find(source: Source) -> list[Member]:
    """Returns the files of labels."""
    files = source.matching(FILE)
    return files if any(LINE.match(head(file)) for file in files[:EXAMINED]) else []


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all files of labels. Boxes are left out and counted in a warning.

    Raises:
        DataError: a line is malformed, a class has no name, or a photo is missing.
    """
    names = names_of(source)
    left_out: list[str] = []
    images = [read_file(file, photos, names, left_out) for file in files]
    log_left_out(left_out, "they are boxes, without an outline")
    images += unlabelled(photos, images, name_of)
    return Found(images, dict.fromkeys(names))


def names_of(source: Source) -> Sequence[str]:
    """Returns the names of the classes in their order: those of ``data.yaml``, else of ``classes.txt``.

    Raises:
        DataError: there is no such file, two differ, or one is malformed.
    """
    found: dict[Member, Sequence[str]] = {}
    for file in source.matching(r"[^/]+\.ya?ml"):
        text = read_text(file)
        if re.search(r"^names\s*:", text, re.MULTILINE):
            found[file] = names_in_yaml(Path(file.where), text)
    for file in [] if found else source.matching(r"classes\.txt|obj\.names"):
        found[file] = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not found:
        raise DataError(f"{source.path}: no data.yaml with names; add the export's, or a classes.txt of a name a line")
    (first, names), *others = found.items()
    for file, these in others:
        if list(these) != list(names):
            raise DataError(f"{file.where}: other names than in {first.name}; give one export after another")
    return names


def names_in_yaml(where: Path, text: str) -> Sequence[str]:
    """Returns the names of the classes in the text of a ``data.yaml``; ``where`` names the file in messages.

    Raises:
        DataError: it is too long, no YAML, or of labels that are no outlines.
    """
    if len(text) > LARGEST:
        raise DataError(f"{where}: has more than {LARGEST:,} characters; leave the names alone in it")
    try:
        content: Any = yaml.load(text, yaml.BaseLoader)  # it makes only text: others would read a class "no" as false
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{where}: is no YAML ({in_one_line(error)}); export it again") from error
    if isinstance(content, dict) and "kpt_shape" in content:
        raise DataError(f"{where}: the labels are points of poses (kpt_shape), and no outlines")
    names = in_order(where, from_object(where, content)).names
    parts = [content.get(part) for part in ("train", "val", "test")] if isinstance(content, dict) else []
    if lists := [part for part in parts if isinstance(part, str) and part.endswith(".txt")]:
        log.warning(
            "%s: its lists %s are not read: a photo is for validation or test if its folder says so",
            where,
            ", ".join(lists),
        )
    return names


def read_file(file: Member, photos: Photos, names: Sequence[str], left_out: list[str]) -> LabelledImage:
    """Reads the photo of one file; boxes, which are left out, are added to ``left_out``."""
    where, items = file.where, []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        note = f"line {number}"
        try:
            label, *shares = (float(word) for word in line.split())
            if not (label.is_integer() and 0 <= label < len(names)):
                raise ValueError(f"class {label:g} has no name among the {len(names)} there are")
            if len(shares) == 4:
                left_out.append(f"{where}: {note}")
                continue
            if len(shares) < 6 or len(shares) % 2:
                raise ValueError(f"{len(shares)} numbers behind the class are no three or more points")
            if not all(abs(share) < LARGEST_SHARE for share in shares):
                raise ValueError("points are shares of the photo's sides, from 0 to 1, and these are none")
        except (ValueError, OverflowError) as error:
            raise DataError(f"{where}: {note} is malformed ({error}); correct or remove it") from error
        items.append((names[int(label)], np.array(shares, np.float64).reshape(-1, 2), note))
    folder, _, base = file.name.rpartition("/")
    photo = photos.find(re.sub(r"(^|/)labels(/|$)", r"\1images\2", folder, flags=re.IGNORECASE) + "/" + base[:-4], file)
    labels = NormalizedOutlines(tuple(items)) if items else None
    return LabelledImage(name_of(photo.name), photo, labels, None, part_of(folder), where)
