"""Labelled photos in memory, as all formats are read and written: annotations and masks that are not yet drawn."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import Color
from unimatch.data.prepare.archives import Member
from unimatch.data.sources.mask_values import SHOWN, listing, pack
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray, colors_of, ids_of
from unimatch.labelling.export_files import opened_mask
from unimatch.labelling.photos import Photo, Photos, clean
from unimatch.labelling.shapes import Polygon, Shape, check_polygon, paint
from unimatch.types import IGNORE_INDEX

log = logging.getLogger("unimatch")

IGNORE = "__ignore__"
"""LabelMe's name of the class of ignored pixels, which are 255 in masks."""

BACKGROUNDS = ("background", "_background_", "__background__", "Background", "BACKGROUND")
"""Common names of the class of pixels that nobody labelled."""


@dataclass(frozen=True, slots=True)
class Region:
    """One annotation: a class and what it covers."""

    label: str
    shapes: tuple[Shape, ...]
    note: str
    """Its name in messages, such as ``annotation 17``."""
    below: bool = False
    """Whether it lies below all others, as COCO's crowds do."""

    @property
    def area(self) -> float:
        """About how many pixels it covers."""
        return sum(shape.area for shape in self.shapes)


class Drawable(Protocol):
    """The labels of one photo."""

    def draw(self, where: str, size: tuple[int, int], ids: Mapping[str, int], fill: int) -> MaskArray:
        """Returns the labels as a mask.

        Args:
            where: the name of the photo's labels in messages.
            size: the photo's width and height.
            ids: of the classes, by name.
            fill: the id of pixels that nobody labelled.

        Returns:
            (H, W) uint8.

        Raises:
            DataError: an annotation cannot be drawn, or is of no class.
        """
        ...


@dataclass(frozen=True, slots=True)
class Regions:
    """Annotations that are drawn one over the other: in their order or, with ``larger_first``, smaller over larger."""

    items: tuple[Region, ...]
    larger_first: bool = False

    def shapes(self) -> Iterator[Shape]:
        """Yields what each annotation covers."""
        return (shape for region in self.items for shape in region.shapes)

    def draw(self, where: str, size: tuple[int, int], ids: Mapping[str, int], fill: int) -> MaskArray:
        """Draws the labels; see :class:`Drawable`."""
        width, height = size
        mask = np.full((height, width), fill, np.uint8)
        items = self.items
        if self.larger_first:
            items = tuple(sorted(items, key=lambda region: (not region.below, -region.area)))
        polygons: list[Polygon] = []
        values: list[int] = []
        for region in items:
            if region.label not in ids:
                raise DataError(f"{where}: {region.note}: {unknown_class(region.label, ids)}")
            for shape in region.shapes:
                try:
                    if isinstance(shape, Polygon):
                        check_polygon(shape, width, height)
                        polygons.append(shape)
                        values.append(ids[region.label])
                        continue
                    top, left, inside = shape.window(width, height)
                except Exception as error:  # a damaged picture can raise nearly anything in Pillow
                    raise DataError(f"{where}: {region.note}: {error}; correct or remove it in the tool") from error
                paint(mask, polygons, values)
                polygons, values = [], []
                rows, columns = inside.shape
                mask[top : top + rows, left : left + columns][inside] = ids[region.label]
        paint(mask, polygons, values)
        return mask


@dataclass(frozen=True, slots=True)
class Painted:
    """A mask image whose values or colours are classes."""

    member: Member
    names: Mapping[int, str]
    """The class of each value, or of each colour packed into a number."""
    colored: bool = False
    remedy: str = "name it in the export's list of classes"
    """What messages say to do about a value that is of no class."""

    def draw(self, where: str, size: tuple[int, int], ids: Mapping[str, int], fill: int) -> MaskArray:
        """Draws the labels; see :class:`Drawable`."""
        file = self.member.where
        names = self.names
        stored: NDArray[np.integer]
        with opened_mask(self.member.read(), file, size) as image:
            colored = self.colored and image.mode not in ("1", "L")
            if self.colored and not colored:  # grey values then number the classes in their order
                listed = [name for name in names.values() if name != IGNORE]
                names = {**dict(enumerate(listed)), IGNORE_INDEX: IGNORE}
                stored = ids_of(image, file).values
            elif colored:
                stored = pack(colors_of(image, file).values)
            elif image.mode in ("1", "L", "P") or image.mode.startswith("I"):
                stored = ids_of(image, file).values
            else:
                mode = image.mode
                raise DataError(f"{file}: expected a mask of one channel, and this one is {mode}; export it again")
        codes = np.array(sorted(names))
        slots = np.searchsorted(codes, stored).clip(max=len(codes) - 1)
        wrong = codes[slots] != stored
        if wrong.any():
            unknown, counts = np.unique(stored[wrong], return_counts=True)
            first = unknown[:SHOWN].tolist()
            kind = [f"colour {tuple(code.to_bytes(3))}" if colored else f"value {code}" for code in first]
            shown = listing(kind, counts[:SHOWN].tolist(), len(unknown))
            raise DataError(f"{file}: {shown} of no class; {self.remedy}")
        used = np.unique(slots)
        table = np.zeros(len(codes), np.uint8)
        for slot in used.tolist():
            name = names[int(codes[slot])]
            if name not in ids:
                raise DataError(f"{file}: {unknown_class(name, ids)}")
            table[slot] = ids[name]
        return table[slots]


def unknown_class(name: str, ids: Mapping[str, int]) -> str:
    """Writes the message for a label whose class is not among those of the data set."""
    known = ", ".join([known for known in ids if known not in (IGNORE, *BACKGROUNDS[1:])][:20])
    return f"the class {name!r} is none of {known}; correct the label, or name the class in classes=FILE"


def log_left_out(notes: Sequence[str], why: str) -> None:
    """Warns of annotations that are left out: how many, why, and which is the first."""
    if notes:
        log.warning("%d annotations are left out: %s; the first is %s", len(notes), why, notes[0])


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One photo of an export."""

    name: str
    """Its path in the data set, with its ending and ``/``."""
    photo: Photo
    labels: Drawable | None
    """None where nobody has labelled it."""
    size: tuple[int, int] | None = None
    """Width and height that the labels give; None where they give none."""
    part: str = "train"
    """``train``, ``val`` or ``test``."""
    where: str = ""
    """The file of its labels, for messages."""


def unlabelled(
    photos: Photos, images: Iterable[LabelledImage], name_of: Callable[[str], str] = clean
) -> list[LabelledImage]:
    """Returns the photos without labels that lie in one folder with labelled ones, as unlabelled images.

    Args:
        photos: all photos of an export.
        images: the images that its labels name.
        name_of: makes the name to write a photo under of its path in the export.
    """
    others = photos.others(image.photo for image in images)
    return [LabelledImage(name_of(member.name), member, None) for member in others]


@dataclass(frozen=True, slots=True)
class Labels:
    """The photos of an export and the classes of all of them."""

    images: Sequence[LabelledImage]
    classes: tuple[str, ...]
    """In the order of their ids."""
    colors: tuple[Color, ...] | None = None
    background: str | None = None
    """The class of pixels that nobody labelled; None where these are ignored."""

    @property
    def ids(self) -> dict[str, int]:
        """The id of each class, of every name of the background, and of :data:`IGNORE`."""
        ids = {name: i for i, name in enumerate(self.classes)}
        others = dict.fromkeys(BACKGROUNDS, ids[self.background]) if self.background is not None else {}
        return {**others, **ids, IGNORE: IGNORE_INDEX}

    @property
    def fill(self) -> int:
        """The id of pixels that nobody labelled."""
        return IGNORE_INDEX if self.background is None else self.classes.index(self.background)

    def mask(self, image: LabelledImage, size: tuple[int, int]) -> MaskArray:
        """Returns the mask of one labelled photo.

        Args:
            image: the photo.
            size: its width and height.

        Returns:
            (H, W) uint8 class ids, 255 for ignored pixels.

        Raises:
            DataError: the labels cannot be drawn, or are for an image of another size.
        """
        where = f"{image.where}: {image.name}"
        if image.size not in (None, size):
            raise DataError(
                f"{where}: labelled at {image.size[0]} x {image.size[1]} pixels, and the photo has {size[0]} x "
                f"{size[1]} (turned as its EXIF says); label or export it at its own size"
            )
        if image.labels is None:
            raise DataError(f"{where}: nobody has labelled it")
        return image.labels.draw(where, size, self.ids, self.fill)


@dataclass(frozen=True, slots=True)
class Found:
    """What the reader of a format finds in an export; :func:`unimatch.labelling.read` makes :class:`Labels` of it."""

    images: list[LabelledImage]
    classes: dict[str, Color | None]
    """The classes that the export names, in its order, and their colours where it has any."""
    drawn: bool = True
    """Whether annotations leave pixels that nobody labelled; else masks give every pixel a class."""
