"""Reads and writes the layout of training data, ``images/ masks/ classes.txt``; also reads what predict writes."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from unimatch.data.catalog import Color
from unimatch.data.prepare.archives import Member
from unimatch.data.sets.class_entries import Classes
from unimatch.data.sets.class_names import FILES, find_classes, read_classes
from unimatch.data.sets.own_folders import Place
from unimatch.disk import replace_text
from unimatch.errors import DataError
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.images.folders import MASK_NAME, PREDICTED, names_of
from unimatch.labelling.export_files import Source, read_json
from unimatch.labelling.photos import PART_WORDS, PARTS, Photos
from unimatch.labelling.records import IGNORE, Found, LabelledImage, Painted
from unimatch.labelling.writer import Job, Written
from unimatch.types import IGNORE_INDEX


def find(source: Source) -> list[Member]:
    """Returns the masks of a folder that names its classes."""
    of_tools = {"_classes.csv", "labelmap.txt", "labels.txt"}
    names_classes = any(name in source.files for name in {*FILES, PREDICTED} - of_tools)
    return source.matching(r"masks/.*\.(png|gif|bmp|tiff?)") if names_classes else []


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos and their masks; photos of ``unlabeled/`` have none.

    Raises:
        DataError: a mask has no photo, or the class names cannot be read.
    """
    names = class_names(source)
    stored = {**dict(enumerate(names.names)), IGNORE_INDEX: IGNORE}
    images = []
    divided = by_part(mask.name.removeprefix("masks/") for mask in files if mask.name.startswith("masks/"))
    for mask in files:
        before, _, stem = f"/{mask.name}".rpartition("/masks/")
        name = stem.removesuffix(PurePosixPath(stem).suffix)
        if not photos.has(name) and (marked := MASK_NAME.fullmatch(name)):
            name = marked["photo"]
        photo = photos.find(f"{before}/images/{name}".lstrip("/"), mask)
        part = PARTS.get(before.strip("/"), "train")
        ending = PurePosixPath(photo.name).suffix
        name = name if PurePosixPath(name).suffix == ending else name + ending
        if divided and not before and (first := name.partition("/")[0].lower()) in PART_WORDS:
            part, name = PART_WORDS[first], name.partition("/")[2]
        images.append(LabelledImage(name, photo, Painted(mask, stored), None, part, mask.where))
    for name, member in source.files.items():
        folder, _, rest = name.partition("/")
        if folder in ("unlabeled", "unlabelled") and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            images.append(LabelledImage(rest, member, None))
    colors: Sequence[Color | None] = names.colors or [None] * len(names.names)
    return Found(images, dict(zip(names.names, colors, strict=True)), drawn=False)


def by_part(names: Iterable[str]) -> bool:
    """Tells whether all masks lie in folders named after parts of the data, one of them for training.

    >>> by_part(["train/a.png", "val/b.png"]), by_part(["a.png", "val/b.png"]), by_part(["north/a.png"])
    (True, False, False)
    """
    first = {name.rpartition("/")[0].partition("/")[0].lower() for name in names}
    return "" not in first and not first.isdisjoint(names_of("train"))


def class_names(source: Source) -> Classes:
    """Returns the class names, from ``classes.txt``, ``classes.json`` or ``predict.json``."""
    if not source.path.is_dir():
        raise DataError(f"{source.path}: unpack it; masks with class names are read from a folder")
    if PREDICTED not in source.files:
        return read_classes(find_classes(source.path))
    facts = read_json(source.files[PREDICTED])
    try:
        colors = tuple((int(red), int(green), int(blue)) for red, green, blue in facts["palette"])
        return Classes(tuple(map(str, facts["classes"])), colors)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{source.path / PREDICTED}: names no classes ({error!r}); predict again") from error


def write_image(job: Job, image: LabelledImage, written: Written) -> None:
    """Writes a photo and its mask; a photo without labels goes to ``unlabeled/``."""
    part = "" if image.part == "train" else f"{image.part}/"
    if image.labels is None:
        written.save_photo(f"unlabeled/{part}{image.name}")
        return
    place = job.places.get(image.part) or Place(f"{part}images", f"{part}masks")
    written.save_photo(f"{place.images}/{image.name}")
    written.save_mask(f"{place.masks}/{PurePosixPath(image.name).with_suffix('.png')}")


def finish(job: Job, images: Sequence[LabelledImage], results: Iterator[None]) -> None:
    """Writes ``classes.txt`` with the class names and their colours, if they have any.

    Raises:
        DataError: a name would be read as another one.
    """
    lines = list(job.labels.classes)
    if job.labels.colors is not None:
        lines = [
            f"{red} {green} {blue} {name}" for (red, green, blue), name in zip(job.labels.colors, lines, strict=False)
        ]
    replace_text(job.folder / "classes.txt", "\n".join(lines) + "\n")
    read_as_written(job.folder / "classes.txt", job.labels.classes)
    for _ in results:
        pass


def read_as_written(path: Path, classes: Sequence[str]) -> None:
    """Checks that training will read these class names from a file.

    Raises:
        DataError: it would read others.
    """
    try:
        found = read_classes(path).names
    except DataError as error:
        why = str(error).partition(": ")[2]
        raise DataError(f"{path.name} cannot hold the classes {', '.join(classes)}: {why}; rename one") from error
    for name, other in zip_longest(classes, found):
        if name != other:
            raise DataError(f"{path.name}: the class {name!r} would be read as {other!r}; rename it")
