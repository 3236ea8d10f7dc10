"""Reads Supervisely's JSON: ``meta.json`` and, for each data set, ``img/`` and ``ann/`` with bitmaps and polygons."""

from typing import Any

import numpy as np

from unimatch.data.catalog import Color
from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.export_files import Source, decode_base64, read_json
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import Found, LabelledImage, Region, Regions, log_left_out, unlabelled
from unimatch.labelling.shapes import Picture, Polygon, Ring, Shape, rectangle


def find(source: Source) -> list[Member]:
    """Returns the annotation files."""
    return [member for member in source.json_kinds["supervisely"] if "ann" in member.name.split("/")[:-1]]


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all data sets; each annotation lies over those before it.

    Raises:
        DataError: a file is damaged or missing.
    """
    left_out: list[str] = []
    images = [read_file(file, photos, left_out) for file in files]
    log_left_out(left_out, "they are no bitmap, polygon or rectangle")
    images += unlabelled(photos, images, lambda name: clean(name.replace("/img/", "/")))
    return Found(images, classes_of(source))


def classes_of(source: Source) -> dict[str, Color | None]:
    """Returns the classes and their colours from the ``meta.json`` of every project.

    Raises:
        DataError: there is no such file, or one is malformed.
    """
    metas = source.matching(r"meta\.json")
    if not metas:
        raise DataError(f"{source.path}: no meta.json; give the whole project")
    classes: dict[str, Color | None] = {}
    for meta in metas:
        try:
            for entry in read_json(meta)["classes"]:
                if entry["title"] is None:
                    raise ValueError("the title of a class is null")
                color = bytes.fromhex(str(entry["color"]).removeprefix("#")) if entry.get("color") else None
                classes.setdefault(str(entry["title"]), (color[0], color[1], color[2]) if color else None)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{meta.where}: malformed ({error!r}); export it again") from error
    return classes


def read_file(file: Member, photos: Photos, left_out: list[str]) -> LabelledImage:
    """Reads the photo of one file; objects that are left out are added to ``left_out``."""
    where, content = file.where, read_json(file)
    before, _, base = f"/{file.name}".rpartition("/ann/")
    dataset, name = before.strip("/"), base.removesuffix(".json")
    items = []
    try:
        size = (int(content["size"]["width"]), int(content["size"]["height"]))
        for entry in content["objects"]:
            note = f"object {entry.get('id')} ({entry['classTitle']!r})"
            try:
                if entry["classTitle"] is None:
                    raise ValueError("its classTitle is null")
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
    """Returns the shapes of one annotation; none for lines, points and other kinds.

    If all coordinates are whole numbers, they name pixels: a polygon runs through their centres, and a rectangle
    includes its last row and column. Otherwise they are measured from the corner of the first pixel.

    Raises:
        ValueError and others: it is malformed.
    """
    kind = entry.get("geometryType", entry.get("shape"))
    if kind in ("bitmap", "alpha_mask"):
        left, top = (int(side) for side in entry["bitmap"]["origin"])
        return (Picture(decode_base64(entry["bitmap"]["data"], "bitmap"), left, top, packed=True),)
    if kind not in ("polygon", "multipolygon", "rectangle"):
        return ()
    parts = [rings_of(part) for part in (entry["parts"] if kind == "multipolygon" else [entry["points"]])]
    whole = all((ring == np.round(ring)).all() for rings in parts for ring in rings)
    if kind == "rectangle":
        (left, top), (right, bottom) = parts[0][0].min(axis=0), parts[0][0].max(axis=0) + whole
        return (Polygon((rectangle(left, top, right, bottom),)),)
    return tuple(Polygon(tuple(ring + whole / 2 for ring in rings)) for rings in parts)


def rings_of(part: dict[str, Any]) -> list[Ring]:
    """Returns the outline of a polygon and those of its holes."""
    return [np.array(ring, np.float64).reshape(-1, 2) for ring in (part["exterior"], *(part.get("interior") or ()))]
