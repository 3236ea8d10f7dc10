"""Reads and writes LabelMe's JSON, a file for each photo: polygons, rectangles, circles and masks."""

import base64
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from unimatch.data.prepare.archives import Member
from unimatch.disk import replace_text
from unimatch.errors import DataError
from unimatch.labelling.export_files import Source, decode_base64, read_json, read_text
from unimatch.labelling.photos import Embedded, Photo, Photos, name_of, part_of
from unimatch.labelling.records import IGNORE, Found, LabelledImage, Region, Regions, log_left_out, unlabelled
from unimatch.labelling.regions import Piece
from unimatch.labelling.shapes import NORMALIZED, Picture, Polygon, Shape, are_normalized, ellipse, rectangle
from unimatch.labelling.writer import Job, Written


def find(source: Source) -> list[Member]:
    """Returns the export's files in LabelMe's format."""
    return source.json_kinds["labelme"]


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all files; each annotation lies over those before it.

    The classes have the order of ``labels.txt``, if there is one. Lines, points and other shapes without an area are
    left out and counted in a warning. A photo that the export lacks is taken from the JSON file.

    Raises:
        DataError: a file is damaged, or its photo is missing.
    """
    left_out: list[str] = []
    images = [read_file(file, photos, left_out) for file in files]
    if are_normalized(
        shape for image in images if isinstance(image.labels, Regions) for shape in image.labels.shapes()
    ):
        raise DataError(f"{images[0].where}: {NORMALIZED}")
    log_left_out(left_out, "they are no polygon, rectangle, circle or mask")
    images += unlabelled(photos, images, name_of)
    lists = source.matching(r"labels\.txt")
    classes = [line.strip() for line in read_text(lists[0]).splitlines() if line.strip()] if lists else []
    return Found(images, dict.fromkeys(classes))


def read_file(file: Member, photos: Photos, left_out: list[str]) -> LabelledImage:
    """Reads the photo of one file; shapes that are left out are added to ``left_out``."""
    where, content = file.where, read_json(file)
    items = []
    try:
        path = str(content["imagePath"])
        for number, entry in enumerate(content["shapes"]):
            note = f"shape {number} ({entry['label']!r})"
            try:
                if entry["label"] is None:
                    raise ValueError("its label is null")
                shape = shape_of(entry)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
                raise DataError(f"{where}: {path}: {note} is malformed ({error}); correct or remove it") from error
            if shape is None:
                left_out.append(f"{where}: {note}")
            else:
                items.append(Region(str(entry["label"]), (shape,), note))
        width, height = content.get("imageWidth"), content.get("imageHeight")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: is no file of LabelMe's ({error!r}); save it again") from error
    folder = file.name.rpartition("/")[0]
    photo: Photo
    if content.get("imageData") and not photos.has(path):
        base = path.replace("\\", "/").rpartition("/")[2]
        photo = Embedded(file, f"{folder}/{base}" if folder else base)
    else:
        photo = photos.find(path, file)
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    labels = Regions(tuple(items)) if items else None
    return LabelledImage(name_of(photo.name), photo, labels, size, part_of(folder), where)


def shape_of(entry: dict[str, Any]) -> Shape | None:
    """Returns the shape of one annotation; None for lines, points and other kinds.

    ``rotation`` is X-AnyLabeling's kind of turned rectangles.

    Raises:
        ValueError and others: it is malformed.
    """
    kind = entry.get("shape_type", "polygon")
    if kind not in ("polygon", "rectangle", "oriented_rectangle", "rotation", "circle", "mask"):
        return None
    points = np.array(entry["points"], np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is no number")
    if kind == "mask":
        left, top = (math.floor(side + 0.5) for side in points[0].tolist())
        return Picture(decode_base64(entry["mask"], "mask"), left, top)
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        return Polygon((ellipse(points[0, 0], points[0, 1], radius, radius),))
    if kind == "rectangle" and len(points) == 2:
        return Polygon((rectangle(*points.ravel().tolist()),))
    return Polygon((points,))


def write_image(job: Job, image: LabelledImage, written: Written) -> None:
    """Writes a photo, and its JSON file beside it."""
    width, height = written.size
    name = f"{image.part}/{image.name}"
    written.save_photo(name)
    content: dict[str, Any] = {
        "version": "5.0.0",
        "flags": {},
        "shapes": [entry_of(piece, job) for piece in written.pieces()],
        "imagePath": PurePosixPath(name).name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    text = json.dumps(content).encode()
    written.save(str(PurePosixPath(name).with_suffix(".json")), lambda file: file.write(text))


def entry_of(piece: Piece, job: Job) -> dict[str, Any]:
    """Returns a region as LabelMe's polygon or mask."""
    entry: dict[str, Any] = {"label": piece.label, "group_id": None, "description": "", "flags": {}, "mask": None}
    if (ring := job.polygon(piece)) is not None:
        return {**entry, "shape_type": "polygon", "points": ring.tolist()}
    height, width = piece.inside.shape
    file = io.BytesIO()
    Image.fromarray(piece.inside).save(file, "PNG")
    corners = [[piece.left, piece.top], [piece.left + width - 1, piece.top + height - 1]]
    return {**entry, "shape_type": "mask", "points": corners, "mask": base64.b64encode(file.getvalue()).decode()}


def finish(job: Job, images: Sequence[LabelledImage], results: Iterator[None]) -> None:
    """Writes ``labels.txt``, which LabelMe takes as ``--labels``."""
    for _ in results:
        pass
    names = [IGNORE, *job.labels.classes]
    replace_text(job.folder / "labels.txt", "\n".join(names) + "\n")
