"""Label Studio's JSON: brush strokes, polygons, rectangles and ellipses; and the PNGs it exports of brush strokes."""

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
from unimatch.labelling.json_pieces import elements
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import Found, LabelledImage, Region, Regions, log_left_out
from unimatch.labelling.regions import Piece
from unimatch.labelling.run_lengths import write_brush
from unimatch.labelling.shapes import Brush, Picture, Polygon, Ring, Shape, ellipse, rectangle, turned
from unimatch.labelling.source import Source
from unimatch.labelling.writer import Job, Written, palette

KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
UPLOADED = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded photo."""
PNG = re.compile(r"(?:.*/)?task-(\d+)-annotation-(\d+)-by-[^-]*-[^-]+-(.+)-(\d+)\.png")
"""Task, annotation, class and number of an exported PNG."""


def find(source: Source) -> list[Member]:
    """Finds the files of tasks; without any, the PNGs."""
    return source.json_kinds["labelstudio"] or [m for name, m in source.files.items() if PNG.fullmatch(name)]


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos of all tasks, each with its last annotation that was not cancelled; later regions lie on top.

    Tasks without an annotation are unlabelled, whatever was predicted for them. PNGs are read where the annotations
    of a task hold none of the kinds above, as in Label Studio's shorter JSON.

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
            where = f"{file.place / file.name}"
            try:
                images.append(read_task(task, file, photos, pictures, left_out))
            except (KeyError, TypeError, AttributeError, ValueError, OverflowError, IndexError) as error:
                if isinstance(error, DataError):
                    raise
                called = f"task {task['id']}" if isinstance(task, dict) and "id" in task else "a task"
                raise DataError(f"{where}: {called} is malformed ({error!r}); export it again") from error
    log_left_out(left_out, "they cover nothing or have no class")
    for member in photos.others(image.photo for image in images):
        images.append(LabelledImage(clean(member.name), member, None))
    return Found(images, {})


def read_task(
    task: dict[str, Any], file: Member, photos: Photos, pictures: dict[str, tuple[Region, ...]], left_out: list[str]
) -> LabelledImage:
    """Reads the photo of one task; what is left out of it is added to a list."""
    where, number = str(file.place / file.name), str(task.get("id", "?"))
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
            shape = shape_of(entry["type"], entry["value"], size)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}: {path}: {note} is malformed ({error}); correct or remove it") from error
        items.append(Region(str(labels[0]), (shape,), note))
    drawn = tuple(items) or pictures.get(number, ())
    photo = photos.find(path, file)
    name = name if PurePosixPath(name).suffix else name + PurePosixPath(photo.name).suffix
    return LabelledImage(name, photo, Regions(drawn) if drawn else None, size, part_of(file.name), where)


def photo_path(data: dict[str, Any], task: str) -> str:
    """Finds a task's photo, without what a URL has around its path: the first value that ends like one or has a ``/``.

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
    """Returns what a region covers; coordinates are percent of the image's size.

    Raises:
        ValueError and others: it is malformed.
    """
    if kind == "brushlabels":
        return Brush(np.array(value["rle"], np.uint8), size)
    if kind == "polygonlabels":
        ring: Ring = np.array(value["points"], np.float64).reshape(-1, 2)
        return Polygon((ring * size / 100,))
    x, y, wide, high = (
        float(value[key]) * size[i % 2] / 100
        for i, key in enumerate(
            ("x", "y", "width", "height") if kind == "rectanglelabels" else ("x", "y", "radiusX", "radiusY")
        )
    )
    ring = rectangle(x, y, x + wide, y + high) if kind == "rectanglelabels" else ellipse(x, y, wide, high)
    return Polygon((turned(ring, float(value.get("rotation", 0)), (x, y)),))


def png_regions(source: Source) -> dict[str, tuple[Region, ...]]:
    """Reads the regions that exported PNGs show, by task: those of its last annotation, in the order of their names."""
    found: dict[str, dict[int, list[Region]]] = {}
    for name, member in source.files.items():
        if match := PNG.fullmatch(name):
            region = Region(match[3], (Picture(member.read()),), name)
            found.setdefault(match[1], {}).setdefault(int(match[2]), []).append(region)
    return {task: tuple(notes[max(notes)]) for task, notes in found.items()}


def write_image(job: Job, image: LabelledImage, written: Written) -> str:
    """Writes a photo, and returns its task as JSON."""
    written.save_photo(f"images/{image.name}")
    result = [
        {
            "id": f"r{i}",
            "from_name": "polygon" if kind == "polygonlabels" else "brush",
            "to_name": "image",
            "type": kind,
            "original_width": written.size[0],
            "original_height": written.size[1],
            "image_rotation": 0,
            "value": {**value, kind: [piece.label]},
        }
        for i, piece in enumerate(written.pieces())
        for kind, value in [value_of(piece, written.size, job)]
    ]
    data = {"image": f"{job.url}images/{image.name}"}
    return json.dumps({"data": data, "predictions": [{"model_version": "unimatch", "result": result}]})


def value_of(piece: Piece, size: tuple[int, int], job: Job) -> tuple[str, dict[str, Any]]:
    """Returns a region's kind and place: a polygon, or brush strokes, which a region with holes needs."""
    if job.shapes == "polygons" and len(rings := piece.rings(job.tolerance)) == 1:
        return "polygonlabels", {"points": (rings[0] * 100 / size).tolist(), "closed": True}
    return "brushlabels", {"format": "rle", "rle": write_brush(piece.whole(*size).ravel())}


def finish(job: Job, images: Sequence[LabelledImage], results: Iterator[str]) -> None:
    """Writes ``tasks.json``, and ``labelling.xml``, the project's labelling interface."""
    with replacing(job.folder / "tasks.json") as file:
        file.write(b"[")
        for i, result in enumerate(results):
            file.write(((",\n" if i else "\n") + result).encode())
        file.write(b"\n]\n")
    colors = palette(job.labels)
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{"".join(f"{channel:02x}" for channel in colors[i])}"/>\n'
        for i, name in job.names.items()
    )
    tools = "".join(
        f'  <{tool} name="{name}" toName="image">\n{labels}  </{tool}>\n'
        for tool, name in (("PolygonLabels", "polygon"), ("BrushLabels", "brush"))
    )
    text = f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n{tools}</View>\n'
    replace_text(job.folder / "labelling.xml", text)
