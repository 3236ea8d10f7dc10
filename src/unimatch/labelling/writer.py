"""Writes labels in any format: photo by photo into a temporary folder, which gets its name when all is written."""

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
from unimatch.disk import check_space, replace_file, sync_below, temporary_folder, unwritable
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray
from unimatch.labelling.export_files import size_of
from unimatch.labelling.records import IGNORE, LabelledImage, Labels
from unimatch.labelling.regions import Piece, pieces
from unimatch.labelling.shapes import Ring
from unimatch.types import IGNORE_INDEX

VOID = (224, 224, 192)
"""VOC's colour of ignored pixels."""


@dataclass(frozen=True)
class Job:
    """What all photos of one output share."""

    labels: Labels
    """The classes and their colours; without photos."""
    folder: Path
    """Where to write."""
    tolerance: float = 0.5
    """How far polygons may be from the edge of their region, in pixels."""
    shapes: str = "polygons"
    """``polygons`` or ``masks``, for tools that take both."""
    url: str = ""
    """What comes before a photo's path in the URL from which a tool fetches it."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """The folders of images and masks of each part of a data set that is added to."""
    first_dates: Mapping[str, Member] = field(default_factory=dict)
    """The first date of each photo, by the photo's name, for pairs of change detection."""

    @property
    def names(self) -> dict[int, str]:
        """The ids that are written as annotations, and their names: all but that of pixels that nobody labelled."""
        names = {**dict(enumerate(self.labels.classes)), IGNORE_INDEX: IGNORE}
        del names[self.labels.fill]
        return names

    @property
    def categories(self) -> dict[str, int]:
        """Numbers from 1 for these names, for formats that number classes from 1."""
        return {name: i for i, name in enumerate(self.names.values(), start=1)}

    def polygon(self, piece: Piece) -> Ring | None:
        """Returns the outline of a region that is written as a polygon; None for one that is written as a mask.

        A region with holes needs a mask.
        """
        rings = piece.rings(self.tolerance) if self.shapes == "polygons" else []
        return rings[0] if len(rings) == 1 else None


@dataclass(frozen=True)
class Written:
    """One photo on its way into an output."""

    job: Job
    image: LabelledImage
    content: bytes = field(repr=False)
    """The bytes of the photo's file."""
    size: tuple[int, int]
    """Width and height of the photo."""

    def mask(self) -> MaskArray:
        """Returns the photo's mask."""
        return self.job.labels.mask(self.image, self.size)

    def pieces(self) -> Iterator[Piece]:
        """Yields the connected regions of the mask, larger ones first."""
        return pieces(self.mask(), self.job.names)

    def save_photo(self, name: str) -> None:
        """Writes an unchanged copy of the photo's file."""
        self.save(name, lambda file: file.write(self.content))

    def save_mask(self, name: str, *, colored: bool = False) -> MaskArray:
        """Writes the mask as PNG, as ids with a palette or as colours, and returns its ids."""
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
    """Returns 256 colours for ids: those of the classes, then :data:`VOID`."""
    colors = labels.colors or distinct_colors(len(labels.classes))
    return [*colors, *[VOID] * (256 - len(colors))]


WriteImage = Callable[[Job, LabelledImage, Written], Any]
"""Writes one photo in a worker process; its results are handed to the format's ``finish``."""


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
        finish: writes the files about all photos; is given the results of ``write_image`` in the order of the photos.
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
        with temporary_folder(target) as temporary:
            temporary_job = replace(job, folder=temporary)
            results = for_each(
                write_one,
                (temporary_job, write_image),
                images,
                workers=workers,
                title=f"writing {target.name}",
                unit="photo",
            )
            finish(temporary_job, images, results)
            move(temporary, target)
            sync_below(target)
    except OSError as error:
        raise unwritable(f"{target}: cannot be written ({error.strerror or error})", error) from error


def move(temporary: Path, target: Path) -> None:
    """Moves the files of a temporary folder below ``target``; each replaces a file of its name at once."""
    if not target.exists():
        temporary.rename(target)
        return
    for folder, _, names in os.walk(temporary):
        place = target / Path(folder).relative_to(temporary)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            Path(folder, name).replace(place / name)


def check_names(images: Sequence[LabelledImage]) -> None:
    """Checks that the names of photos of a part differ by more than case and extension.

    Raises:
        DataError: two do not.
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
