"""The full check of a data set: every image and mask is read, and what would make training wrong is named."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.data.catalog import DatasetInfo
from unimatch.data.masks import UNKNOWN, IndexMasks
from unimatch.data.parallel import for_each
from unimatch.data.sources import FileSource, SegmentationData, Source
from unimatch.errors import DataError
from unimatch.images import ImageArray, read_mask
from unimatch.types import IGNORE_INDEX

FAULTS = {
    "missing": "a file that a list or a folder promises is not there",
    "unreadable": "a file is cut short, no image, of a kind that cannot be used, or outside the data set's folders",
    "colours": "a mask holds colours where class ids are needed",
    "no mask": "a labelled or validation image has no mask",
    "size mismatch": "a mask and its image differ in size",
    "ids out of range": "a mask holds an id, or a colour, that is no class and is not ignored",
    "shifted by one": "ids run from 1 to the number of classes: each class has its neighbour's name",
    "id 0 is void": "ids run from 0 to the number of classes, so that 0 can only mean void",
    "only 0 and 255": "masks hold nothing but 0 and 255, as black-and-white ones do, and 255 is ignored",
    "all ignored": "not one pixel of a part's masks counts",
    "in two parts": "a validation image is also a training image",
    "same content": "a validation image has the pixels of a training image",
}
"""What makes training, or the scores on validation, wrong."""

WARNINGS = {
    "numbered from 1?": "no mask holds id 0; if ids start at 1, each class has its neighbour's name",
    "reduced twice?": "0 is read as void and ids as one less, but the masks look as if that had been done to them",
    "class never labelled": "no labelled mask shows a class, so it cannot be learned",
    "class not validated": "no validation mask shows a class, so its IoU is not measured",
    "mask all ignored": "not one pixel of a mask counts",
    "lossy mask": "a mask is a JPEG or WebP file, whose compression may change ids",
    "image skipped": "an unlabelled image cannot be read and is skipped, as dataset.on_bad_image=skip says",
    "truth unusable": "an unlabelled image has a mask that cannot be used; pseudo labels are not compared with it",
    "listed twice": "an image is in the same part more than once",
}
"""What may be meant, and is worth knowing."""

ROWS = 16
"""Every so many rows of an image make its fingerprint; images of one fingerprint are then compared whole."""

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp"})


class Reading(NamedTuple):
    """What is kept of one image and its mask."""

    image_faults: tuple[tuple[str, str], ...]
    """Kind, and the file with what is wrong."""
    mask_faults: tuple[tuple[str, str], ...]
    shape: tuple[int, int] | None
    """Height and width of the image."""
    fingerprint: bytes | None
    stored: dict[int, int] | None
    """Pixels of each id that the mask's file holds; None where there is no mask."""


@dataclass
class Part:
    """What was counted in one part of a data set."""

    name: str
    """``labelled``, ``unlabelled``, ``validation`` or ``test``."""
    images: int = 0
    masks: int = 0
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Pixels of each class id, 255 for the ignored ones."""
    showing: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Masks that show each class id."""
    stored: Counter[int] = field(default_factory=Counter)
    """Masks whose file holds each id, before it is read as a class."""
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Images of each height and width."""
    faulty: list[int] = field(default_factory=list)
    """Indices of the images with faults."""


@dataclass(frozen=True)
class Finding:
    """Everything of one kind that was found in one part."""

    kind: str
    """A key of :data:`FAULTS` or :data:`WARNINGS`."""
    part: str
    texts: tuple[str, ...]
    """One for each file or class."""

    @property
    def wrong(self) -> bool:
        """Whether it makes training or its scores wrong; else it is worth knowing."""
        return self.kind in FAULTS


@dataclass(frozen=True)
class Report:
    """What :func:`check` has found."""

    info: DatasetInfo
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    """Faults first, in the order of :data:`FAULTS`, then warnings."""

    @property
    def wrong(self) -> bool:
        """Whether training or its scores would be wrong."""
        return any(finding.wrong for finding in self.findings)


def check(data: SegmentationData, *, workers: int | None = None, progress: bool = True) -> Report:
    """Read every image and mask and report what is wrong with them, alone and together.

    Args:
        data: the data set.
        workers: processes; None for one per core, 0 for this one.
        progress: whether to show progress bars.
    """
    sources = {"labelled": data.labeled, "unlabelled": data.unlabeled, "validation": data.val}
    if data.test is not None:
        sources["test"] = data.test
    ids = None if data.info.color_masks else IndexMasks(data.info)
    parts = {name: Part(name) for name in sources}
    found = list[tuple[str, str, str]]()
    fingerprints: dict[str, list[bytes | None]] = {name: [] for name in sources}
    for name, source in sources.items():
        title = f"{name} images" if progress else ""
        for reading in for_each(read, (source, ids), range(len(source)), workers=workers, title=title):
            if name == "unlabelled":
                faults = unlabeled_faults(reading, data)
            else:
                faults = [*reading.image_faults, *reading.mask_faults]
            if reading.stored is None and not reading.mask_faults and name in ("labelled", "validation"):
                faults.append(("no mask", source.name(parts[name].images)))
            count(parts[name], reading, ids, faulty=bool(faults))
            fingerprints[name].append(reading.fingerprint)
            found += [(kind, name, text) for kind, text in faults]
    masked = [parts["labelled"], parts["validation"]]
    for part in masked:
        found += [(kind, part.name, text) for kind, text in class_faults(part, data.info)]
    if ids is not None:
        stored = sum((part.stored for part in masked), Counter[int]())
        found += [(kind, "all masks", text) for kind, text in encoding_faults(set(stored), data.info)]
    for name in ("labelled", "unlabelled"):
        found += [("listed twice", name, text) for text in repeated(sources[name])]
        prints = fingerprints[name], fingerprints["validation"]
        found += [(kind, name, text) for kind, text in shared(sources[name], data.val, *prints)]
    return Report(data.info, tuple(parts.values()), collect(found))


def read(context: tuple[Source, IndexMasks | None], index: int) -> Reading:
    """Read one image and its mask; what is wrong with them is part of the result.

    Args:
        context: where they come from, and how masks store classes, None where that is in colours.
        index: which.
    """
    source, ids = context
    image_faults, faults = list[tuple[str, str]](), list[tuple[str, str]]()
    image, stored = None, None
    mask: Any = None
    try:
        image = source.image(index)
    except DataError as error:
        there = all(path.is_file() for path in source.image_paths(index)) if isinstance(source, FileSource) else True
        image_faults.append(("unreadable" if there else "missing", str(error)))
    shape = None if image is None else (image.shape[-3], image.shape[-2])
    where = mask_file(source, index)
    try:
        if ids is not None and isinstance(source, FileSource):
            path = source.mask_path(index)
            mask = None if path is None else read_mask(path)
        else:
            mask = source.mask(index)
    except DataError as error:
        faults.append((kind_of_error(where, "mask" if ids is not None else "colour mask"), str(error)))
    else:
        if mask is not None:
            stored = counts_of(mask)
            name = where or Path(source.name(index))
            faults += mask_faults(name, mask.shape, shape, stored, ids)
    print_of_image = None if image is None else fingerprint(image)
    return Reading(tuple(image_faults), tuple(faults), shape, print_of_image, stored)


def mask_file(source: Source, index: int) -> Path | None:
    """The file of a mask, where there is one."""
    name = source.pairs.mask(index) if isinstance(source, FileSource) else None
    return None if name is None else Path(name)


def kind_of_error(path: Path | None, what: str) -> str:
    """Which kind of fault made a mask unusable.

    Args:
        path: its file.
        what: ``mask`` or ``colour mask``.
    """
    if path is None:
        return "unreadable"
    if not path.is_file():
        return "missing"
    try:
        with Image.open(path) as mask:
            mask.load()
            if what == "colour mask":
                return "ids out of range"
            return "colours" if len(mask.getbands()) > 1 else "unreadable"
    except Exception:  # a damaged file can raise nearly anything in Pillow's decoders
        return "unreadable"


def counts_of(mask: NDArray[np.integer]) -> dict[int, int]:
    """The number of pixels of each value.

    >>> counts_of(np.array([[7, 7, 0], [0, 7, 255]], np.uint8))
    {0: 2, 7: 3, 255: 1}
    """
    if mask.dtype == np.uint8:  # Pillow counts bytes in half the time of NumPy
        return {value: number for value, number in enumerate(Image.fromarray(mask).histogram()) if number}
    values, counts = np.unique(mask, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def fingerprint(image: ImageArray) -> bytes:
    """A short value that images of the same pixels share."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image[..., ::ROWS, :, :]).data)
    return digest.digest()


def class_of(stored: int, ids: IndexMasks | None) -> int:
    """The class id that a stored one is read as, 255 for an ignored one, -1 for none."""
    if ids is None:
        return stored
    return int(ids.table[stored]) if 0 <= stored < len(ids.table) else UNKNOWN


def mask_faults(
    where: Path,
    size: tuple[int, ...],
    image_size: tuple[int, int] | None,
    stored: dict[int, int],
    ids: IndexMasks | None,
) -> Iterator[tuple[str, str]]:
    """What is wrong with one mask.

    Args:
        where: its file.
        size: its height and width.
        image_size: those of its image, None if that could not be read.
        stored: pixels of each id in the file.
        ids: how masks store classes.
    """
    if image_size is not None and size != image_size:
        sizes = [f"{width} x {height}" for height, width in (size, image_size)]
        yield "size mismatch", f"{where}: the mask is {sizes[0]} pixels and its image {sizes[1]}"
    wrong = [i for i in stored if class_of(i, ids) == UNKNOWN]
    if wrong and ids is not None:
        listed = ", ".join(f"id {i} ({stored[i]} pixels)" for i in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        known = "those of dataset.ids" if ids.info.ids is not None else f"{ids.first}-{ids.first + ids.count - 1}"
        yield "ids out of range", f"{where}: {listed}; the classes are {known}"
    if all(class_of(i, ids) == IGNORE_INDEX for i in stored):
        yield "mask all ignored", f"{where}: every pixel is ignored"
    if where.suffix.lower() in LOSSY_SUFFIXES:
        yield "lossy mask", f"{where}: compression changes ids; save masks as PNG"


def unlabeled_faults(reading: Reading, data: SegmentationData) -> list[tuple[str, str]]:
    """The faults of an unlabelled image, which needs no mask and may be skipped."""
    skipped = data.on_bad_image == "skip"
    return [("image skipped" if skipped else kind, text) for kind, text in reading.image_faults] + [
        ("truth unusable", text) for _, text in reading.mask_faults
    ]


def count(part: Part, reading: Reading, ids: IndexMasks | None, *, faulty: bool) -> None:
    """Add one image to what is known of its part."""
    if faulty:
        part.faulty.append(part.images)
    part.images += 1
    if reading.shape is not None:
        part.shapes[reading.shape] += 1
    if reading.stored is not None:
        part.masks += 1
        part.stored.update(reading.stored.keys())
        pixels = Counter[int]()
        for stored, number in reading.stored.items():
            pixels[class_of(stored, ids)] += number
        for class_id, number in pixels.items():
            if class_id != UNKNOWN:
                part.pixels[class_id] += number
                part.showing[class_id] += 1


def class_faults(part: Part, info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Classes that no mask of a part shows."""
    absent = [name for name, number in zip(info.classes, part.showing.tolist(), strict=False) if not number]
    if part.masks and len(absent) == info.num_classes:
        yield "all ignored", f"none of the {part.masks} masks shows a class"
    elif part.masks:
        kind = "class never labelled" if part.name == "labelled" else "class not validated"
        yield from ((kind, name) for name in absent)


def encoding_faults(stored: set[int], info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """What the ids in all masks together say of the way they were stored.

    Args:
        stored: the ids that occur in the files.
        info: the classes, and how masks are said to store them.
    """
    last = info.num_classes
    named = stored - info.ignore_ids - {IGNORE_INDEX}
    if info.ids is not None or not named or max(named) > last:
        return  # the ids are the user's own affair, or of another kind altogether
    if info.reduce_zero_label:
        if 0 in named and last not in named and IGNORE_INDEX in stored:
            yield (
                "reduced twice?",
                f"the masks hold 255, 0 and never {last}: if their classes are 0-{last - 1} already, "
                "dataset.reduce_zero_label must be false",
            )
    elif stored == {0, IGNORE_INDEX}:
        yield "only 0 and 255", "no mask holds any other id: save the class as 1, or set dataset.ids={0: 0, 255: 1}"
    elif last in named and 0 not in named:
        yield (
            "shifted by one",
            f"the masks hold ids up to {last} and never 0, but the classes are 0-{last - 1}: subtract 1, or set "
            "dataset.reduce_zero_label=true",
        )
    elif last in named:
        yield (
            "id 0 is void",
            f"the masks hold ids 0-{last}, but the classes are 0-{last - 1}: where 0 is void and classes start at 1, "
            "set dataset.reduce_zero_label=true, or prepare the masks (python -m unimatch.prepare)",
        )
    elif 0 not in named and 0 not in info.ignore_ids:
        yield "numbered from 1?", f"no mask shows id 0 ({info.classes[0]}): do the classes start at 1?"


def repeated(source: Source) -> list[str]:
    """Images that a part has more than once."""
    if not isinstance(source, FileSource):
        return []
    times = Counter(source.pairs.images())
    return [f"{name}: {number} times" for name, number in times.items() if number > 1]


def shared(
    source: Source, val: Source, fingerprints: Sequence[bytes | None], val_fingerprints: Sequence[bytes | None]
) -> Iterator[tuple[str, str]]:
    """Validation images that are training images too, by their file or by their pixels.

    Args:
        source: training images.
        val: validation images.
        fingerprints: of the training images; None where one could not be read.
        val_fingerprints: of the validation images.
    """
    files = {os.path.realpath(name) for name in source.pairs.images()} if isinstance(source, FileSource) else set()
    alike: dict[bytes, list[int]] = {}
    for i, value in enumerate(fingerprints):
        if value is not None:
            alike.setdefault(value, []).append(i)
    for j, value in enumerate(val_fingerprints):
        if isinstance(val, FileSource) and os.path.realpath(val.name(j)) in files:
            yield "in two parts", f"{val.name(j)}: also a validation image"
        elif value is not None and value in alike:
            image = val.image(j)
            same = next((i for i in alike[value] if np.array_equal(source.image(i), image)), None)
            if same is not None:
                yield "same content", f"{source.name(same)}: the pixels of the validation image {val.name(j)}"


def collect(found: Sequence[tuple[str, str, str]]) -> tuple[Finding, ...]:
    """(kind, part, text) triples together by kind and part, in the order of the lists of kinds."""
    texts: dict[tuple[str, str], list[str]] = {}
    for kind, part, text in found:
        texts.setdefault((kind, part), []).append(text)
    order = [*FAULTS, *WARNINGS]
    return tuple(
        Finding(kind, part, tuple(items))
        for (kind, part), items in sorted(texts.items(), key=lambda item: order.index(item[0][0]))
    )
