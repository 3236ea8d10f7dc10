"""Reads and writes masks in colours, as in Pascal VOC and in CVAT's "Segmentation mask 1.1"."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from unimatch.data.catalog import PASCAL, Color, voc_colors
from unimatch.data.prepare.archives import Member
from unimatch.disk import replace_text
from unimatch.errors import DataError
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.labelling.export_files import Source, read_text
from unimatch.labelling.photos import Photos, clean, part_of
from unimatch.labelling.records import IGNORE, Found, LabelledImage, Painted, unlabelled
from unimatch.labelling.writer import VOID, Job, Written, palette
from unimatch.types import IGNORE_INDEX


def find(source: Source) -> list[Member]:
    """Returns the masks of classes."""
    return source.matching(r"SegmentationClass/.*\.png")


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos that have a mask, and unlabelled ones that lie in a folder with them.

    There may be several exports, each in a folder of its own, which then becomes a part of its photos' names. Lists
    below ``ImageSets/Segmentation/``, or else the path of an export, say which photos are for validation and test.

    Raises:
        DataError: a photo is missing, or the classes cannot be read.
    """
    stems = {mask.name: stem_of(mask) for mask in files}
    known = set(stems.values())
    parts: dict[tuple[str, str], str] = {}
    for member in source.matching(r"ImageSets/Segmentation/[^/]+\.txt"):
        root, part = root_of(member.name, "ImageSets"), part_of(PurePosixPath(member.name).stem)
        for line in read_text(member).splitlines() if part != "train" else ():
            stem = next((name for name in listed_names(line) if (root, name) in known), None)
            if stem is not None:
                parts[root, stem] = part
    roots = dict.fromkeys(root_of(mask.name, "SegmentationClass") for mask in files)
    shared = posixpath.join(posixpath.commonpath(roots), "")
    listed = {root: class_colors(source, root) for root in roots}

    def name_of(root: str, below: str) -> str:
        return below if root == shared else clean(root.removeprefix(shared) + below)

    def name_of_photo(path: str) -> str:
        root = root_of(path, "JPEGImages")
        return name_of(root, path[len(root) :].removeprefix("JPEGImages/"))

    images: list[LabelledImage] = []
    for mask in files:
        root, stem = stems[mask.name]
        classes, remedy = listed[root]
        photo = photos.find(stem, mask)
        name = name_of(root, stem + PurePosixPath(photo.name).suffix)
        names = {int.from_bytes(VOID): IGNORE, **{int.from_bytes(color): name for name, color in classes.items()}}
        labels = Painted(mask, names, colored=True, remedy=remedy)
        part = parts.get((root, stem), part_of(root))
        images.append(LabelledImage(name, photo, labels, None, part, mask.where))
    images += unlabelled(photos, images, name_of_photo)
    return Found(images, joined([classes for classes, _ in listed.values()]), drawn=False)


def stem_of(mask: Member) -> tuple[str, str]:
    """Returns the path of the export that a mask is of, and the mask's path in its folder, without extension."""
    root = root_of(mask.name, "SegmentationClass")
    return root, mask.name[len(root) + len("SegmentationClass/") :].removesuffix(PurePosixPath(mask.name).suffix)


def listed_names(line: str) -> list[str]:
    """Returns the names that a line of a list may mean, the likeliest first.

    A name may hold blanks, or be followed by more columns.

    >>> listed_names("a 1"), listed_names('"my photo.jpg"')
    (['a 1', 'a'], ['my photo.jpg', 'my photo', 'my'])
    """
    text = line.strip().strip('"')
    end = PurePosixPath(text).suffix
    names = [text, text.removesuffix(end if end.lower() in IMAGE_SUFFIXES else ""), text.partition(" ")[0]]
    return list(dict.fromkeys(names))


def root_of(name: str, folder: str) -> str:
    """Returns the path of the export that has a file below its ``folder``, ending in ``/``; empty for other files.

    >>> root_of("task/SegmentationClass/a/b.png", "SegmentationClass"), root_of("SegmentationClass/b.png", "JPEGImages")
    ('task/', '')
    """
    match = re.fullmatch(rf"(?P<root>(?:.*/)?){folder}/.*", name, re.IGNORECASE)
    return match["root"] if match else ""


def joined(lists: Sequence[dict[str, Color]]) -> dict[str, Color | None]:
    """Joins the classes of several exports; a class whose colour another class has already gets no colour."""
    classes: dict[str, Color | None] = {}
    for name, color in (item for colors in lists for item in colors.items()):
        classes.setdefault(name, None if color in classes.values() else color)
    return classes


def nearest(members: Sequence[Member], root: str) -> Member | None:
    """Returns the file that lies in an export's folder or the nearest folder above; otherwise the only one there is."""
    around = [member for member in members if root.startswith(member.name[: member.name.rfind("/") + 1])]
    return max(around, key=lambda member: member.name.count("/"), default=members[0] if len(members) == 1 else None)


def class_colors(source: Source, root: str) -> tuple[dict[str, Color], str]:
    """Returns the colour of each class of an export, and what a message says to do about any other colour.

    Classes are those of ``labelmap.txt``, or else the names of ``class_names.txt`` in VOC's colours, or else VOC's own.

    Raises:
        DataError: a line of ``labelmap.txt`` is malformed.
    """
    labelmap = nearest(source.matching(r"labelmap\.txt"), root)
    if labelmap is None:
        listed = nearest(source.matching(r"class_names\.txt"), root)
        names = read_text(listed).split("\n") if listed else PASCAL.classes
        names = [name.strip() for name in names if name.strip()]
        remedy = "no labelmap.txt lies beside SegmentationClass/, so VOC's colours are expected; add the export's"
        return dict(zip(names, voc_colors(len(names)), strict=True)), remedy
    where = labelmap.where
    classes: dict[str, Color] = {}
    for number, line in enumerate(read_text(labelmap).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(channel) for channel in rest.partition(":")[0].split(","))
            if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
                raise ValueError("a colour is three numbers from 0 to 255")
        except ValueError as error:
            raise DataError(f"{where}, line {number}: expected name:red,green,blue:: ({error}); correct it") from error
        classes[name.strip()] = (red, green, blue)
    if len(set(classes.values())) < len(classes):
        raise DataError(f"{where}: two classes have one colour; give each its own")
    return classes, f"name it in {where}"


def write_image(job: Job, image: LabelledImage, written: Written) -> bool:
    """Writes a photo and its mask in colours; tells whether the mask has ignored pixels."""
    written.save_photo(f"JPEGImages/{image.name}")
    mask = written.save_mask(f"SegmentationClass/{PurePosixPath(image.name).with_suffix('.png')}", colored=True)
    return bool((mask == IGNORE_INDEX).any())


def finish(job: Job, images: Sequence[LabelledImage], results: Iterator[bool]) -> None:
    """Writes ``labelmap.txt`` and the lists of the photos of each part."""
    ignored = [(IGNORE, VOID)] if any(list(results)) else []  # CVAT refuses labels that its task lacks
    rows = [*zip(job.labels.classes, palette(job.labels), strict=False), *ignored]
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in rows]
    replace_text(job.folder / "labelmap.txt", "# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    for part in {image.part for image in images}:
        names = [str(PurePosixPath(image.name).with_suffix("")) for image in images if image.part == part]
        replace_text(job.folder / "ImageSets/Segmentation" / f"{part}.txt", "\n".join(names) + "\n")
