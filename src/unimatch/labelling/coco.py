"""Reads and writes COCO JSON: polygons and run lengths of objects."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from unimatch.data.catalog import Color
from unimatch.data.prepare.archives import Member
from unimatch.disk import replacing
from unimatch.errors import DataError
from unimatch.labelling.export_files import Source
from unimatch.labelling.json_stream import elements
from unimatch.labelling.photos import Photos, named_as, part_of_listed
from unimatch.labelling.records import Found, LabelledImage, Region, Regions, log_left_out, unlabelled
from unimatch.labelling.regions import Piece
from unimatch.labelling.run_lengths import counts_of, read_coco_text
from unimatch.labelling.shapes import NORMALIZED, Polygon, Runs, Shape, are_normalized
from unimatch.labelling.writer import Job, Written

SINGULARS = {"categories": "category", "images": "image", "annotations": "annotation"}
"""The names of one element of each list in a file."""


def find(source: Source) -> list[Member]:
    """Returns the export's files in COCO's format."""
    return source.json_kinds["coco"]


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all files; smaller objects lie over larger ones, and crowds below all others.

    Objects that have only a box are left out and counted in a warning.

    Raises:
        DataError: a file is damaged, or names an image or category that it does not hold.
    """
    images: list[LabelledImage] = []
    classes: dict[str, Color | None] = {}
    for file in files:
        found, names = read_file(file, photos)
        images += found
        classes |= dict.fromkeys(names)
    return Found(images + unlabelled(photos, images), classes)


def read_file(file: Member, photos: Photos) -> tuple[list[LabelledImage], list[str]]:
    """Returns the photos of one file, and the names of its categories in the order of their ids."""
    where = file.where
    names: dict[Any, str] = {}
    headers: dict[Any, tuple[str, Any, Any]] = {}
    notes: dict[Any, list[tuple[Any, str, tuple[Shape, ...], bool]]] = defaultdict(list)
    boxes: list[str] = []
    number = 0
    for key, item in elements(file):
        try:
            if key == "categories":
                if item["name"] is None:
                    raise ValueError("its name is null")
                refuse_second(names.get(item["id"]), str(item["name"]))
                names[item["id"]] = str(item["name"])
            elif key == "images":
                if item["file_name"] is None:
                    raise ValueError("its file_name is null")
                refuse_second(headers.get(item["id"], (None,))[0], str(item["file_name"]))
                headers[item["id"]] = (str(item["file_name"]), item.get("width"), item.get("height"))
            elif key == "annotations":
                number += 1
                note = f"annotation {item['id']}" if item.get("id") is not None else f"annotation number {number}"
                crowd = bool(item.get("iscrowd", 0))
                if "segments_info" in item:
                    raise DataError(
                        f"{where}: is of COCO's panoptic labels, PNGs of segments; export instances, or make masks of "
                        "class ids (panopticapi's panoptic2semantic_segmentation.py) and put them into masks/"
                    )
                if not item.get("segmentation"):
                    boxes.append(note + of_image(item, headers))
                else:
                    shapes = shapes_of(item["segmentation"])
                    hash(item["category_id"])  # a list cannot be looked up
                    notes[item["image_id"]].append((item["category_id"], note, shapes, crowd))
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            called = f"{SINGULARS[key]} {item['id']}" if isinstance(item, dict) and "id" in item else "an entry"
            why = str(error) if type(error) is ValueError else repr(error)
            raise DataError(
                f"{where}: {called}{of_image(item, headers)} of {key} is malformed ({why}); correct it"
            ) from error
    if not headers:
        raise DataError(f"{where}: lists no photos under 'images', as COCO's files do; export in one of COCO's formats")
    log_left_out(boxes, f"{where} gives no segmentation for them")
    if are_normalized(shape for found in notes.values() for _, _, shapes, _ in found for shape in shapes):
        raise DataError(f"{where}: {NORMALIZED}")
    for image_id, found in notes.items():
        if image_id not in headers:
            text = f"{found[0][1]} is of image {image_id!r}, which the file does not list; remove it"
            raise DataError(f"{where}: {text}{written_otherwise(image_id, headers)}")
    result = []
    for image_id, (name, width, height) in headers.items():
        items = []
        for category, note, shapes, crowd in notes.pop(image_id, ()):
            if category not in names:
                raise DataError(
                    f"{where}: {name}: {note} is of category {category!r}, which the file does not list; add it"
                    f"{written_otherwise(category, names)}"
                )
            items.append(Region(names[category], shapes, note, crowd))
        size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
        labels = Regions(tuple(items), larger_first=True) if items else None
        photo = photos.find(name, file)
        part = part_of_listed(file.name, name)
        result.append(LabelledImage(named_as(name, photo), photo, labels, size, part, where))
    return result, [names[category] for category in sorted(names, key=lambda category: (str(type(category)), category))]


def refuse_second(before: str | None, name: str) -> None:
    """Refuses an id that another image or category has: annotations could belong to either.

    Raises:
        ValueError: ``before``, the name that had this id before, is another one.
    """
    if before not in (None, name):
        raise ValueError(f"{before} and {name} have the same id")


def written_otherwise(wanted: Any, ids: Iterable[Any]) -> str:
    """Says, for a message, that an id is listed as a number instead of a text, or the other way round; empty if not."""
    other = next((other for other in ids if str(other) == str(wanted)), None)
    return "" if other is None else f", or write it as {other!r}"


def of_image(item: Any, headers: dict[Any, tuple[str, Any, Any]]) -> str:
    """Says, for a message, which image an annotation is of: by its name if the file has listed it already."""
    if not isinstance(item, dict) or "image_id" not in item:
        return ""
    image_id = item["image_id"]
    known = headers.get(image_id) if isinstance(image_id, int | str) else None
    return f" of image {known[0] if known else image_id}"


def shapes_of(segmentation: Any) -> tuple[Shape, ...]:
    """Returns the shapes of an annotation, given its COCO segmentation.

    Raises:
        TypeError, ValueError or KeyError: it is malformed.
    """
    if isinstance(segmentation, dict):
        height, width = (int(side) for side in segmentation["size"])
        counts = segmentation["counts"]
        runs = read_coco_text(counts) if isinstance(counts, str) else np.array(counts, np.int64)
        if runs.ndim != 1:
            raise ValueError("its run lengths are no list")
        return (Runs(runs, (width, height)),)
    if segmentation and not isinstance(segmentation[0], list):
        segmentation = [segmentation]
    for polygon in segmentation:
        if len(polygon) % 2:
            raise ValueError(f"its polygon has {len(polygon)} numbers, which are no pairs")
    return tuple(Polygon((np.array(polygon, np.float64).reshape(-1, 2),)) for polygon in segmentation)


def write_image(job: Job, image: LabelledImage, written: Written) -> str:
    """Writes a photo, and returns its size and annotations as JSON."""
    written.save_photo(f"{image.part}/{image.name}")
    notes = list(annotations(job, written.pieces(), written.size))
    width, height = written.size
    return json.dumps({"width": width, "height": height, "annotations": notes})


def annotations(job: Job, found: Iterable[Piece], size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Yields the annotation, still without ids, of each region of a mask of this width and height."""
    categories = job.categories
    for piece in found:
        height, width = piece.inside.shape
        yield {
            "category_id": categories[piece.label],
            "segmentation": segmentation(piece, size, job),
            "area": int(np.count_nonzero(piece.inside)),
            "bbox": [piece.left, piece.top, width, height],
            "iscrowd": 0,
        }


def categories_of(job: Job) -> list[dict[str, Any]]:
    """Returns the list ``categories`` of a file."""
    return [{"id": number, "name": name} for name, number in job.categories.items()]


def segmentation(piece: Piece, size: tuple[int, int], job: Job) -> Any:
    """Returns a region as COCO's polygon or run lengths, in an image of this width and height."""
    if (ring := job.polygon(piece)) is not None:
        return [ring.ravel().tolist()]
    width, height = size
    return {"size": [height, width], "counts": counts_of(piece.whole(width, height).ravel(order="F")).tolist()}


def finish(job: Job, images: list[LabelledImage], results: Iterator[str]) -> None:
    """Writes ``PART.json`` for each part of the data; its photos lie below ``PART/``."""
    parts = {image.part: [i for i in images if i.part == image.part] for image in images}
    ids = dict.fromkeys(parts, 0)
    headers: dict[str, list[dict[str, Any]]] = {part: [] for part in parts}
    with ExitStack() as stack:
        texts = {part: stack.enter_context(replacing(job.folder / f"{part}.json")) for part in parts}
        for file in texts.values():
            file.write(b'{"annotations": [')
        for image, result in zip(images, results, strict=True):
            part, content = image.part, json.loads(result)
            number = len(headers[part]) + 1
            headers[part].append(
                {"id": number, "file_name": image.name, "width": content["width"], "height": content["height"]}
            )
            for note in content["annotations"]:
                comma = ",\n" if ids[part] else "\n"
                ids[part] += 1
                texts[part].write((comma + json.dumps({"id": ids[part], "image_id": number, **note})).encode())
        categories = categories_of(job)
        for part, file in texts.items():
            end = f'],\n"images": {json.dumps(headers[part])},\n"categories": {json.dumps(categories)}}}\n'
            file.write(end.encode())
