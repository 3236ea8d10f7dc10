"""Writing labels in any format: photo by photo into a passing folder, which gets its name when all is there."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from unimatch.data.catalog import distinct_colors
from unimatch.data.parallel import for_each
from unimatch.data.prepare.archives import Member
from unimatch.data.sets.own_folders import Place
from unimatch.disk import check_space, passing_folder, replace_file, sync_below, unwritable
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray
from unimatch.labelling.records import IGNORE, LabelledImage, Labels
from unimatch.labelling.regions import Piece, pieces
from unimatch.labelling.source import size_of
from unimatch.types import IGNORE_INDEX

VOID = (224, 224, 192)
"""VOC's colour of pixels that are not to be counted."""


@dataclass(frozen=True)
class Job:
    """What all photos of one output share."""

    labels: Labels
    """The classes; without photos."""
    folder: Path
    """Where to write."""
    tolerance: float = 0.5
    """Pixels by which polygons may leave the edge of what they outline."""
    shapes: str = "polygons"
    """``polygons`` or ``masks``, for tools that take both."""
    url: str = ""
    """What comes before a photo's path where a tool is to fetch it."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """Of each part of a data set that is added to, where its images and masks lie."""
    first_dates: Mapping[str, Member] = field(default_factory=dict)
    """Of pairs for change detection, each photo's first date."""

    @property
    def names(self) -> dict[int, str]:
        """What is written as annotations: every class, and what is not to be counted, but for what nobody labelled."""
        names = {**dict(enumerate(self.labels.classes)), IGNORE_INDEX: IGNORE}
        del names[self.labels.fill]
        return names

    @property
    def categories(self) -> dict[str, int]:
        """Numbers from 1 for them, for formats that number classes so."""
        return {name: i for i, name in enumerate(self.names.values(), start=1)}


@dataclass(frozen=True)
class Written:
    """One photo on its way into an output."""

    job: Job
    image: LabelledImage
    content: bytes = field(repr=False)
    """The photo's file."""
    size: tuple[int, int]

    def mask(self) -> MaskArray:
        """Returns the photo's mask."""
        return self.job.labels.mask(self.image, self.size)

    def pieces(self) -> Iterator[Piece]:
        """Returns the connected regions of the mask, larger ones first."""
        return pieces(self.mask(), self.job.names)

    def save_photo(self, name: str) -> None:
        """Writes the photo's file as it is."""
        self.save(name, lambda file: file.write(self.content))

    def save_mask(self, name: str, *, colored: bool = False) -> MaskArray:
        """Writes the mask as PNG, ids with a palette or colours, and returns it."""
        mask = self.mask()
        image = Image.fromarray(mask)
        image.putpalette([channel for color in palette(self.job.labels) for channel in color])
        drawn = image.convert("RGB") if colored else image
        self.save(name, lambda file: drawn.save(file, "PNG", compress_level=3))
        return mask

    def save(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Writes a file of the photo; ``write`` is given the open file."""
        replace_file(self.job.folder / name, write, sync=False)


def palette(labels: Labels) -> list[tuple[int, int, int]]:
    """Returns 256 colours for ids: those of the classes, and VOC's of what is not to be counted for the others."""
    colors = labels.colors or distinct_colors(len(labels.classes))
    return [*colors, *[VOID] * (256 - len(colors))]


WriteImage = Callable[[Job, LabelledImage, Written], Any]
"""Writes one photo, in a process of its own; what it returns reaches the format's ``finish``."""


def write_one(shared: tuple[Job, WriteImage], image: LabelledImage) -> Any:
    """Reads a photo and writes it and its labels.

    Raises:
        DataError: either is damaged, or cannot be written.
        WriteError: the disk is full.
    """
    job, write_image = shared
    content = image.photo.read()
    size = size_of(content, image.photo.name)
    try:
        return write_image(job, image, Written(job, image, content, size))
    except OSError as error:
        raise unwritable(f"{job.folder}: {image.name} cannot be written ({error.strerror or error})", error) from error


def write_all(
    job: Job,
    images: Sequence[LabelledImage],
    write_image: WriteImage,
    finish: Callable[[Job, Sequence[LabelledImage], Iterator[Any]], None],
    *,
    overwrite: bool,
    workers: int | None,
) -> None:
    """Writes all photos below ``job.folder``, or nothing.

    Args:
        job: what they share.
        images: the photos.
        write_image: writes one.
        finish: is given what that returns for each photo, in their order, and writes what is about all of them.
        overwrite: whether files of the same names may be replaced in a folder that is there.
        workers: processes; None for one per core.

    Raises:
        DataError: the folder is there already, two photos have one name, or labels cannot be drawn.
    """
    target = job.folder
    if not overwrite and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(
            f"{target}: is there already; name another, or overwrite=true, which replaces files of the same names "
            "and keeps the others"
        )
    check_names(images)
    check_space(target, sum(image.photo.size for image in images if isinstance(image.photo, Member)))
    try:
        with passing_folder(target) as passing:
            passing_job = replace(job, folder=passing)
            results = for_each(
                write_one,
                (passing_job, write_image),
                images,
                workers=workers,
                title=f"writing {target.name}",
                unit="photo",
            )
            finish(passing_job, images, results)
            move(passing, target)
            sync_below(target)
    except OSError as error:
        raise unwritable(f"{target}: cannot be written ({error.strerror or error})", error) from error


def move(passing: Path, target: Path) -> None:
    """Gives the files of a passing folder their places; each file is replaced at once."""
    if not target.exists():
        passing.rename(target)
        return
    for folder, _, names in os.walk(passing):
        place = target / Path(folder).relative_to(passing)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            Path(folder, name).replace(place / name)


def check_names(images: Sequence[LabelledImage]) -> None:
    """Sees that no two photos of a part have one name but for the ending.

    Raises:
        DataError: two have.
    """
    seen: dict[tuple[bool, str, str], LabelledImage] = {}
    for image in images:
        key = (image.labels is None, image.part, image.name.rpartition(".")[0].casefold())
        if key in seen:
            raise DataError(
                f"{image.where or image.photo.name}: {image.name} and {seen[key].name} of "
                f"{seen[key].where or seen[key].photo.name} would have one name; rename one, or give "
                "one label file or folder at a time"
            )
        seen[key] = image
