"""Supervisely's JSON: ``meta.json`` and, for each data set, ``img/`` and ``ann/`` with bitmaps and polygons."""

from typing import Any

import numpy as np

from unimatch.data.catalog import Color
from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import Found, LabelledImage, Region, Regions, log_left_out
from unimatch.labelling.shapes import Picture, Polygon, Shape, rectangle
from unimatch.labelling.source import Source, decode_base64, read_json


def find(source: Source) -> list[Member]:
    """Finds the annotation files."""
    return [member for member in source.json_kinds["supervisely"] if "ann" in member.name.split("/")[:-1]]


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all data sets; each annotation lies over those before it.

    Raises:
        DataError: a file is damaged or missing.
    """
    left_out: list[str] = []
    images = [read_file(file, photos, left_out) for file in files]
    log_left_out(left_out, "they are no bitmap, polygon or rectangle")
    for member in photos.others(image.photo for image in images):
        images.append(LabelledImage(clean(member.name.replace("/img/", "/")), member, None))
    return Found(images, classes_of(source))


def classes_of(source: Source) -> dict[str, Color | None]:
    """Returns the classes of every project's ``meta.json`` and their colours.

    Raises:
        DataError: one is malformed, or there is none.
    """
    metas = source.matching(r"meta\.json")
    if not metas:
        raise DataError(f"{source.path}: no meta.json; give the whole project")
    classes: dict[str, Color | None] = {}
    for meta in metas:
        try:
            for entry in read_json(meta)["classes"]:
                color = bytes.fromhex(str(entry["color"]).removeprefix("#")) if entry.get("color") else None
                classes.setdefault(str(entry["title"]), (color[0], color[1], color[2]) if color else None)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{meta.place / meta.name}: malformed ({error!r}); export it again") from error
    return classes


def read_file(file: Member, photos: Photos, left_out: list[str]) -> LabelledImage:
    """Reads the photo of one file; what is left out of it is added to a list."""
    where, content = str(file.place / file.name), read_json(file)
    before, _, base = f"/{file.name}".rpartition("/ann/")
    dataset, name = before.strip("/"), base.removesuffix(".json")
    items = []
    try:
        size = (int(content["size"]["width"]), int(content["size"]["height"]))
        for entry in content["objects"]:
            note = f"object {entry.get('id')} ({entry['classTitle']!r})"
            try:
                shapes = shapes_of(entry)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise DataError(f"{where}: {name}: {note} is malformed ({error}); correct or remove it") from error
            if shapes:
                items.append(Region(str(entry["classTitle"]), shapes, note))
            else:
                left_out.append(f"{where}: {note}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: is no annotation of Supervisely's ({error!r}); export it again") from error
    photo = photos.find(f"{dataset}/img/{name}", file)
    labels = Regions(tuple(items)) if items else None
    return LabelledImage(clean(f"{dataset}/{name}"), photo, labels, size, part_of(dataset), where)


def shapes_of(entry: dict[str, Any]) -> tuple[Shape, ...]:
    """Returns what one annotation covers; nothing for lines, points and other kinds.

    Where all points are whole numbers, they are pixels: a polygon runs through their centres, and a rectangle includes
    its last row and column. Other points count from the corner of the first pixel.

    Raises:
        ValueError and others: it is malformed.
    """
    kind = entry.get("geometryType", entry.get("shape"))
    if kind in ("bitmap", "alpha_mask"):
        left, top = (int(side) for side in entry["bitmap"]["origin"])
        return (Picture(decode_base64(entry["bitmap"]["data"], "bitmap"), left, top, packed=True),)
    if kind not in ("polygon", "multipolygon", "rectangle"):
        return ()
    parts = [
        [np.array(ring, np.float64).reshape(-1, 2) for ring in (part["exterior"], *(part.get("interior") or ()))]
        for part in (entry["parts"] if kind == "multipolygon" else [entry["points"]])
    ]
    whole = all((ring == np.round(ring)).all() for rings in parts for ring in rings)
    if kind == "rectangle":
        (left, top), (right, bottom) = parts[0][0].min(axis=0), parts[0][0].max(axis=0) + whole
        return (Polygon((rectangle(left, top, right, bottom),)),)
    return tuple(Polygon(tuple(ring + whole / 2 for ring in rings)) for rings in parts)
