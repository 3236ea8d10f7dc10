"""Reads and writes the layout of change detection: ``A/ B/ label/``, three files of one name for each place.

The photos that people label are those of the second date.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from unimatch.data.prepare.archives import Member
from unimatch.data.sources.dates import AFTER, BEFORE, LABEL
from unimatch.errors import ConfigError, DataError
from unimatch.labelling.export_files import Source, size_of
from unimatch.labelling.photos import PARTS, Photos
from unimatch.labelling.records import BACKGROUNDS, IGNORE, Found, LabelledImage, Labels, Painted
from unimatch.labelling.writer import Job, Written
from unimatch.types import IGNORE_INDEX
from unimatch.wording import counted

log = logging.getLogger("unimatch")

UNCHANGED = "unchanged"
"""The name that change-detection models, and so the masks they predict, give the class of no change."""

CHANGED, IGNORED = 255, 128
"""The values of changed and of ignored pixels in a label; unchanged ones are 0."""


def find(source: Source) -> list[Member]:
    """Returns the labels that lie beside the folder of a date."""
    labels = source.matching(rf"{LABEL}/.*\.(png|gif|bmp|tiff?)")
    folders = {f"/{name}".rpartition(f"/{date}/")[0] for date in (BEFORE, AFTER) for name in source.files}
    return [label for label in labels if f"/{label.name}".rpartition(f"/{LABEL}/")[0] in folders]


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the second dates and their labels; photos of ``unlabeled/B`` have none.

    Raises:
        DataError: a label has no photo.
    """
    stored = {0: BACKGROUNDS[0], 1: "changed", CHANGED: "changed", IGNORED: IGNORE}
    images = []
    for label in files:
        before, _, name = f"/{label.name}".rpartition(f"/{LABEL}/")
        photo = photos.find(f"{before}/{AFTER}/{PurePosixPath(name).with_suffix('')}".lstrip("/"), label)
        name = str(PurePosixPath(name).with_suffix(PurePosixPath(photo.name).suffix))
        part = PARTS.get(before.strip("/"), "train")
        images.append(LabelledImage(name, photo, Painted(label, stored), None, part, label.where))
    for photo in source.images():
        pool, _, name = f"/{photo.name}".rpartition(f"/{AFTER}/")
        if pool.rpartition("/")[2] in ("unlabeled", "unlabelled"):
            images.append(LabelledImage(name, photo, None))
    return Found(images, {BACKGROUNDS[0]: None, "changed": None}, drawn=False)


def first_dates(images: Sequence[LabelledImage], folder: Path) -> dict[str, Member]:
    """Returns the first date of each photo, by the photo's name; it has this name in a folder.

    Raises:
        DataError: there is no such folder, or a first date is missing or has another extension than the second.
    """
    there = Photos(Source(folder).images(), "first_dates")
    found, missing = dict[str, Member](), list[str]()
    for image in images:
        name = str(PurePosixPath(image.name).with_suffix(""))
        if not there.has(name):
            missing.append(image.name)
            continue
        wanted = image.name if there.has(image.name) else name
        found[image.name] = first = there.find(wanted, Member(folder, image.name, 0))
        if PurePosixPath(first.name).suffix.lower() != PurePosixPath(image.name).suffix.lower():
            raise DataError(
                f"{folder / first.name}: is the first date of {image.name} and must have its ending; convert one"
            )
    if missing:
        raise DataError(
            f"{folder}: {counted(len(missing), 'photo')} without a first date of the same name here: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        )
    return found


def write_image(job: Job, image: LabelledImage, written: Written) -> bool:
    """Writes both dates of a photo and the label; tells whether it has ignored pixels.

    Raises:
        DataError: the first date is damaged, or of another size than the second.
    """
    first = job.first_dates[image.name]
    content, where = first.read(), first.where
    if (size := size_of(content, where)) != written.size:
        raise DataError(
            f"{where}: has {size[0]} x {size[1]} pixels and its second date {written.size[0]} x {written.size[1]}; "
            "bring both to one size, so that each pixel shows the same place"
        )
    part = "" if image.part == "train" else f"{image.part}/"
    if image.labels is None:
        part = "unlabeled/"
    written.save(f"{part}{BEFORE}/{image.name}", lambda file: file.write(content))
    written.save_photo(f"{part}{AFTER}/{image.name}")
    if image.labels is None:
        return False
    mask = written.mask()
    changed = np.full_like(mask, CHANGED)
    changed[mask == job.labels.fill] = 0
    changed[mask == IGNORE_INDEX] = IGNORED
    name = PurePosixPath(image.name).with_suffix(".png")
    written.save(f"{part}{LABEL}/{name}", lambda file: Image.fromarray(changed).save(file, "PNG", compress_level=3))
    return bool((mask == IGNORE_INDEX).any())


def finish(job: Job, images: Sequence[LabelledImage], results: Iterator[bool]) -> None:
    """Waits until all pairs are written, and warns of ignored pixels, which need a setting to be read."""
    if count := sum(results):
        log.warning(
            "%d labels have pixels that are not counted, which are stored as %d: train with "
            "dataset.unknown_values=ignore",
            count,
            IGNORED,
        )


def check_classes(labels: Labels) -> None:
    """Refuses labels whose classes do not tell changed pixels from unchanged ones.

    Raises:
        ConfigError: there is no background, or no other class, or another class is called unchanged.
    """
    if UNCHANGED in labels.classes and labels.background != UNCHANGED:
        raise ConfigError(
            f"first_dates: every class but the background counts as changed, and so would {UNCHANGED}: add "
            f"background={UNCHANGED}"
        )
    if labels.background is None or len(labels.classes) < 2:
        raise ConfigError(
            "first_dates: every class but the background counts as changed, and the labels have no such two kinds: "
            f"{', '.join(labels.classes)}; background=CLASS names the one that has not changed"
        )
