"""Reads and writes Label Studio's JSON: brush strokes, polygons, rectangles and ellipses; also reads its PNGs."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from unimatch.data.prepare.archives import Member
from unimatch.disk import replace_text, replacing
from unimatch.errors import DataError
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.labelling.export_files import Source
from unimatch.labelling.json_stream import elements
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import Found, LabelledImage, Region, Regions, log_left_out, unlabelled
from unimatch.labelling.regions import Piece
from unimatch.labelling.run_lengths import write_brush
from unimatch.labelling.shapes import Brush, Picture, Polygon, Ring, Shape, ellipse, rectangle, turned
from unimatch.labelling.writer import Job, Written, palette

KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
UPLOADED = re.compile(r"[0-9a-f]{8}-")
"""The prefix that Label Studio gives the name of an uploaded photo."""
PNG = re.compile(r"(?:.*/)?task-(\d+)-annotation-(\d+)-by-[^-]*-[^-]+-(.+)-(\d+)\.png")
"""The path of an exported PNG, with the task, annotation, class and number in it."""


def find(source: Source) -> list[Member]:
    """Returns the files of tasks; where there are none, the PNGs."""
    pngs = [member for name, member in source.files.items() if PNG.fullmatch(name)]
    return source.json_kinds["labelstudio"] or pngs


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all tasks, each with its last annotation that was not cancelled; later regions lie on top.

    Tasks without an annotation are unlabelled, whatever predictions they hold. Where the annotations of a task hold
    none of :data:`KINDS`, as in Label Studio's shorter JSON, its PNGs are read.

    Raises:
        DataError: a file is damaged, a photo is missing, or PNGs come without the JSON that names their photos.
    """
    if not source.json_kinds["labelstudio"]:
        raise DataError(
            f"{source.path}: Label Studio's PNGs do not name their photos; export the project as JSON too, and put "
            "that file into the same folder"
        )
    pictures = png_regions(source)
    images, left_out = [], list[str]()
    for file in files:
        for _, task in elements(file):
            try:
                images.append(read_task(task, file, photos, pictures, left_out))
            except (KeyError, TypeError, AttributeError, ValueError, OverflowError, IndexError) as error:
                if isinstance(error, DataError):
                    raise
                called = f"task {task['id']}" if isinstance(task, dict) and "id" in task else "a task"
                raise DataError(f"{file.where}: {called} is malformed ({error!r}); export it again") from error
    log_left_out(left_out, "they cover nothing or have no class")
    return Found(images + unlabelled(photos, images), {})


def read_task(
    task: dict[str, Any], file: Member, photos: Photos, pictures: dict[str, tuple[Region, ...]], left_out: list[str]
) -> LabelledImage:
    """Reads the photo of one task; regions that are left out are added to ``left_out``."""
    where, number = file.where, str(task.get("id", "?"))
    path = photo_path(task.get("data", task), number)
    base = path.rpartition("/")[2]
    name = clean(path)
    if UPLOADED.match(base) and not photos.has(base):
        path = name = UPLOADED.sub("", base, count=1)
    items: list[Region] = []
    size = None
    done = [note for note in task.get("annotations", task.get("completions")) or [] if not note.get("was_cancelled")]
    for entry in done[-1]["result"] if done else ():
        note = f"task {number}, region {entry.get('id')}"
        if entry.get("type") not in KINDS or not entry["value"].get(entry["type"]):
            left_out.append(f"{where}: {path}: {note}")
            continue
        labels = entry["value"][entry["type"]]
        width, height = int(entry["original_width"]), int(entry["original_height"])
        if (
            len(labels) > 1
            or entry.get("image_rotation")
            or min(width, height) < 1
            or size not in (None, (width, height))
        ):
            raise DataError(
                f"{where}: {path}: {note} has several classes, a turned image, or another size than the others; "
                "correct it"
            )
        size = (width, height)
        try:
            if labels[0] is None:
                raise ValueError("its label is null")
            shape = shape_of(entry["type"], entry["value"], size)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}: {path}: {note} is malformed ({error}); correct or remove it") from error
        items.append(Region(str(labels[0]), (shape,), note))
    drawn = tuple(items) or pictures.get(number, ())
    photo = photos.find(path, file)
    name = name if PurePosixPath(name).suffix else name + PurePosixPath(photo.name).suffix
    return LabelledImage(name, photo, Regions(drawn) if drawn else None, size, part_of(file.name), where)


def photo_path(data: dict[str, Any], task: str) -> str:
    """Returns the path of a task's photo: the first value that ends like one, else the first that has a ``/``.

    Of a URL only the path is returned, or the one in its query ``d=``.

    >>> photo_path({"image": "/data/local-files/?d=photos/a%20b.jpg"}, "1")
    'photos/a b.jpg'
    """
    for value in data.values():
        if isinstance(value, str):
            url = urlsplit(value)
            path = parse_qs(url.query)["d"][0] if "d=" in url.query else unquote(url.path)
            if "." in path and f".{path.rpartition('.')[2]}".lower() in IMAGE_SUFFIXES:
                return path.lstrip("/") if "d=" in url.query or not url.netloc else path.rpartition("/")[2]
    plain = next((value for value in data.values() if isinstance(value, str) and "/" in value), None)
    if plain is not None:
        return urlsplit(plain).path.rpartition("/")[2]
    raise DataError(f"task {task} names no photo that ends in {', '.join(sorted(IMAGE_SUFFIXES))}; name it in the task")


def shape_of(kind: str, value: dict[str, Any], size: tuple[int, int]) -> Shape:
    """Returns the shape of a region, whose coordinates are percent of the image's width and height.

    Raises:
        ValueError and others: it is malformed.
    """
    if kind == "brushlabels":
        return Brush(np.array(value["rle"], np.uint8), size)
    if kind == "polygonlabels":
        ring: Ring = np.array(value["points"], np.float64).reshape(-1, 2)
        return Polygon((ring * size / 100,))
    is_rectangle = kind == "rectanglelabels"
    keys = ("x", "y", "width", "height") if is_rectangle else ("x", "y", "radiusX", "radiusY")
    x, y, wide, high = (float(value[key]) * side / 100 for key, side in zip(keys, size * 2, strict=True))
    ring = rectangle(x, y, x + wide, y + high) if is_rectangle else ellipse(x, y, wide, high)
    return Polygon((turned(ring, float(value.get("rotation", 0)), (x, y)),))


def png_regions(source: Source) -> dict[str, tuple[Region, ...]]:
    """Returns the regions in exported PNGs by task: those of the task's last annotation, in the order of the files."""
    found: dict[str, dict[int, list[Region]]] = {}
    for name, member in source.files.items():
        if match := PNG.fullmatch(name):
            region = Region(match[3], (Picture(member.read()),), name)
            found.setdefault(match[1], {}).setdefault(int(match[2]), []).append(region)
    return {task: tuple(notes[max(notes)]) for task, notes in found.items()}


def write_image(job: Job, image: LabelledImage, written: Written) -> str:
    """Writes a photo, and returns its task as JSON."""
    written.save_photo(f"images/{image.name}")
    result = [{"id": f"r{i}", **region_of(piece, written.size, job)} for i, piece in enumerate(written.pieces())]
    data = {"image": f"{job.url}images/{image.name}"}
    return json.dumps({"data": data, "predictions": [{"model_version": "unimatch", "result": result}]})


def region_of(piece: Piece, size: tuple[int, int], job: Job) -> dict[str, Any]:
    """Returns a region, still without id, as a polygon or brush strokes in an image of this width and height."""
    value: dict[str, Any]
    if (ring := job.polygon(piece)) is not None:
        name, kind = "polygon", "polygonlabels"
        value = {"points": (ring * 100 / size).tolist(), "closed": True}
    else:
        name, kind = "brush", "brushlabels"
        value = {"format": "rle", "rle": write_brush(piece.whole(*size).ravel())}
    return {
        "from_name": name,
        "to_name": "image",
        "type": kind,
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": {**value, kind: [piece.label]},
    }


def finish(job: Job, images: Sequence[LabelledImage], results: Iterator[str]) -> None:
    """Writes ``tasks.json``, and ``labelling.xml``, the project's labelling interface."""
    with replacing(job.folder / "tasks.json") as file:
        file.write(b"[")
        for i, result in enumerate(results):
            file.write(((",\n" if i else "\n") + result).encode())
        file.write(b"\n]\n")
    colors = palette(job.labels)
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{bytes(colors[i]).hex()}"/>\n'
        for i, name in job.names.items()
    )
    tools = "".join(
        f'  <{tool} name="{name}" toName="image">\n{labels}  </{tool}>\n'
        for tool, name in (("PolygonLabels", "polygon"), ("BrushLabels", "brush"))
    )
    text = f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n{tools}</View>\n'
    replace_text(job.folder / "labelling.xml", text)
