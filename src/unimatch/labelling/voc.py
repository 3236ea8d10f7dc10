"""Masks in colours, as in Pascal VOC and in CVAT's "Segmentation mask 1.1"."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from unimatch.data.catalog import PASCAL, Color, voc_colors
from unimatch.data.prepare.archives import Member
from unimatch.disk import replace_text
from unimatch.errors import DataError
from unimatch.labelling.photos import Photos, part_of
from unimatch.labelling.records import IGNORE, Found, LabelledImage, Painted
from unimatch.labelling.source import Source, read_text
from unimatch.labelling.writer import VOID, Job, Written, palette
from unimatch.types import IGNORE_INDEX


def find(source: Source) -> list[Member]:
    """The masks of classes."""
    return source.matching(r"SegmentationClass/.*\.png")


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """The photos that have a mask, and those in a folder with them.

    Classes and colours are those of ``labelmap.txt``, else the names of ``class_names.txt`` in VOC's colours, else
    VOC's own. Lists below ``ImageSets/Segmentation/`` say which photos are for validation and test.

    Raises:
        DataError: a photo is missing, or the classes cannot be read.
    """
    classes = class_colors(source)
    names = {pack_one(color): name for name, color in classes.items()}
    names.setdefault(pack_one(VOID), IGNORE)
    parts = {
        line.split()[0]: part_of(PurePosixPath(member.name).stem)
        for member in source.matching(r"ImageSets/Segmentation/[^/]+\.txt")
        for line in read_text(member).splitlines()
        if line.strip() and part_of(PurePosixPath(member.name).stem) != "train"
    }
    images = []
    for mask in files:
        stem = mask.name.rpartition("SegmentationClass/")[2].removesuffix(PurePosixPath(mask.name).suffix)
        photo = photos.find(stem, mask)
        name = stem + PurePosixPath(photo.name).suffix
        labels = Painted(mask, names, colored=True)
        images.append(LabelledImage(name, photo, labels, None, parts.get(stem, "train"), str(mask.place / mask.name)))
    for member in photos.others(image.photo for image in images):
        images.append(LabelledImage(member.name.rpartition("JPEGImages/")[2], member, None))
    return Found(images, dict(classes), drawn=False)


def class_colors(source: Source) -> dict[str, Color]:
    """The colour of each class.

    Raises:
        DataError: a line of ``labelmap.txt`` is malformed.
    """
    maps, lists = source.matching(r"labelmap\.txt"), source.matching(r"class_names\.txt")
    if not maps:
        names = read_text(lists[0]).split("\n") if lists else PASCAL.classes
        names = [name.strip() for name in names if name.strip()]
        return dict(zip(names, voc_colors(len(names)), strict=True))
    classes: dict[str, Color] = {}
    for number, line in enumerate(read_text(maps[0]).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(channel) for channel in rest.partition(":")[0].split(","))
            if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
                raise ValueError("a colour is three numbers from 0 to 255")
        except ValueError as error:
            raise DataError(
                f"{maps[0].place / maps[0].name}, line {number}: expected name:red,green,blue:: ({error}); correct it"
            ) from error
        classes[name.strip()] = (red, green, blue)
    if len(set(classes.values())) < len(classes):
        raise DataError(f"{maps[0].place / maps[0].name}: two classes have one colour; give each its own")
    return classes


def pack_one(color: Color) -> int:
    """A colour as one number (:func:`unimatch.data.sources.masks.pack`)."""
    return color[0] << 16 | color[1] << 8 | color[2]


def write_image(job: Job, image: LabelledImage, written: Written) -> bool:
    """Write a photo and its mask in colours; whether some of its pixels are not to be counted."""
    written.save_photo(f"JPEGImages/{image.name}")
    mask = written.save_mask(f"SegmentationClass/{PurePosixPath(image.name).with_suffix('.png')}", colored=True)
    return bool((mask == IGNORE_INDEX).any())


def finish(job: Job, images: Sequence[LabelledImage], results: Iterator[bool]) -> None:
    """Write ``labelmap.txt`` and the lists of names."""
    ignored = [(IGNORE, VOID)] if any(list(results)) else []  # CVAT refuses labels that its task lacks
    rows = [*zip(job.labels.classes, palette(job.labels), strict=False), *ignored]
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in rows]
    replace_text(job.folder / "labelmap.txt", "# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    for part in {image.part for image in images}:
        names = [str(PurePosixPath(image.name).with_suffix("")) for image in images if image.part == part]
        replace_text(job.folder / "ImageSets/Segmentation" / f"{part}.txt", "\n".join(names) + "\n")
