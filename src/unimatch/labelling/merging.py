"""Adds labels to an existing data set: images that are labelled in it stay so, unless their masks may be replaced."""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path, PurePosixPath
from typing import cast

from unimatch.data.check.what_masks_hold import look
from unimatch.data.prepare.archives import Member
from unimatch.data.sets.class_names import read_classes
from unimatch.data.sets.own_folders import Part, Place, place_of, pools_of
from unimatch.errors import DataError
from unimatch.images.folders import MASK_NAME, canonical, is_foreign, walk
from unimatch.labelling.records import LabelledImage
from unimatch.types import IGNORE_INDEX

log = logging.getLogger("unimatch")


def can_be_added_to(folder: Path) -> bool:
    """Tells whether a folder is a data set that names its classes, or holds only unlabelled photos.

    Raises:
        DataError: it has masks and does not name their classes.
    """
    if (folder / "classes.txt").is_file():
        return True
    for part in ("train", "val", "test"):
        if (masks := folder / place_in(folder, part).masks).is_dir():
            raise DataError(f"{masks}: of unknown classes; name them in {folder / 'classes.txt'}, in the order of ids")
    return any(pool.is_dir() for pool in pools_in(folder))


def under_known_names(folder: Path, images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Returns the images; a photo whose bytes the data set has under another name is given that name.

    Tools rename photos, for example to ``1f0c7a2b-street.jpg``.
    """
    parts = {image.part: folder / place_in(folder, image.part).images for image in images}
    pools = pools_in(folder)
    known = {part: by_stem(*pools, place) for part, place in parts.items()}
    if all(stem(image.name) in known[image.part] for image in images):
        return list(images)
    taken = {(image.part, stem(image.name)) for image in images}
    of_size: dict[tuple[str, int], list[Path]] = defaultdict(list)
    for part, files in known.items():
        for name, path in files.items():
            if (part, name) not in taken:
                of_size[part, path.stat().st_size].append(path)
    if not of_size:
        return list(images)
    found, renamed = list[LabelledImage](), list[str]()
    for image in images:
        if stem(image.name) not in known[image.part] and (same := same_file(image, of_size)) is not None:
            place = next(place for place in (*pools, parts[image.part]) if same.is_relative_to(place))
            name = same.relative_to(place).as_posix()
            renamed.append(f"{image.name} is {name}")
            found.append(replace(image, name=name))
        else:
            found.append(image)
    if renamed:
        log.warning("%d photos are known under other names, and keep those: %s", len(renamed), ", ".join(renamed[:3]))
    return found


def to_add(
    folder: Path, images: Sequence[LabelledImage], classes: Sequence[str], *, overwrite: bool
) -> list[LabelledImage]:
    """Returns the images to write into an existing data set, under the names that it has for them.

    Raises:
        DataError: it has other classes, its masks store other ids, or it has masks of these photos, and they may not be
            overwritten.
    """
    if (folder / "classes.txt").is_file():
        there = read_classes(folder / "classes.txt").names
        if there != classes[: len(there)]:
            raise DataError(
                f"{folder / 'classes.txt'}: names the classes {', '.join(there)}, and the labels have "
                f"{', '.join(classes)}; give classes={folder / 'classes.txt'}"
            )
    images = under_known_names(folder, images)
    known = labelled_before(folder, images)
    if known and not overwrite:
        raise DataError(
            f"{folder}: {len(known)} of these photos are labelled there already ({', '.join(known[:3])}"
            f"{', ...' if len(known) > 3 else ''}); overwrite=true replaces their masks"
        )
    images = without_known(folder, images)
    check_ids(folder, classes, images)
    return images


def same_file(image: LabelledImage, of_size: Mapping[tuple[str, int], list[Path]]) -> Path | None:
    """Removes the file with a photo's bytes from ``of_size``, and returns it; None where there is none.

    ``of_size`` has the files of each part and size.
    """
    if isinstance(image.photo, Member) and (image.part, image.photo.size) not in of_size:
        return None
    content = image.photo.read()
    candidates = of_size.get((image.part, len(content)), [])
    same = [path for path in candidates if path.read_bytes() == content]
    if not same:
        return None
    best = max(
        same, key=lambda path: stem(image.name).endswith(stem(path.name))
    )  # of several copies, the one of its name
    candidates.remove(best)
    return best


def labelled_before(folder: Path, images: Sequence[LabelledImage]) -> list[str]:
    """Returns the names of the labelled images that already have a mask in a data set."""
    there = {part: set(masks_of(folder, part)) for part in {image.part for image in images}}
    return [image.name for image in images if image.labels is not None and stem(image.name) in there[image.part]]


def check_ids(folder: Path, classes: Sequence[str], images: Sequence[LabelledImage]) -> None:
    """Checks that masks of a data set store class ids from 0, as the added ones will; up to 50 that stay are read.

    Raises:
        DataError: one stores another id, or they store only 0 and 255.
    """
    replaced = {stem(image.name) for image in images if image.labels is not None and image.part == "train"}
    masks = [mask for name, files in masks_of(folder, "train").items() if name not in replaced for mask in files]
    seen = set[int]()
    step = max(1, ceil(len(masks) / 50))
    for mask in masks[::step]:
        ids = look([mask], workers=0, progress=False).masks.get("ids", Counter())
        seen |= ids.keys()
        others = sorted(stored for stored in ids if stored >= len(classes) and stored != IGNORE_INDEX)
        if others:
            raise DataError(
                f"{mask}: stores {others[0]}, and masks that are added store 0 to {len(classes) - 1}, for "
                f"{', '.join(classes)}, and {IGNORE_INDEX} for none: write the new labels into a folder of their own, "
                "or save the masks that are there with such ids"
            )
    if seen == {0, IGNORE_INDEX} and len(classes) > 1:
        raise DataError(
            f"{masks[0].parent}: the masks store 0 and {IGNORE_INDEX} alone, as black-and-white ones do, and in those "
            f"that are added {classes[1]} is 1, and {IGNORE_INDEX} is no class: write the new labels into a folder of "
            f"their own, or save {classes[1]} as 1 in the masks that are there"
        )


def masks_of(folder: Path, part: str) -> dict[str, list[Path]]:
    """Returns the masks of a part by the stem of their photo: ``a.png``, ``a.tif`` and ``a_mask.png`` are of ``a``."""
    place = place_in(folder, part)
    photos, found = by_stem(folder / place.images), defaultdict[str, list[Path]](list)
    for file in files_below(folder / place.masks):
        name = stem(file)
        if name not in photos and (marked := MASK_NAME.fullmatch(name)) and marked["photo"] in photos:
            name = marked["photo"]
        found[name].append(folder / place.masks / file)
    return found


def remove_replaced(folder: Path, images: Sequence[LabelledImage]) -> None:
    """Removes older masks and photos whose names differ from the written ones only in the extension."""
    for part in {image.part for image in images}:
        place = place_in(folder, part)
        masks, photos = masks_of(folder, part), defaultdict[str, list[Path]](list)
        for file in files_below(folder / place.images):
            photos[stem(file)].append(folder / place.images / file)
        for image in images:
            if image.labels is not None and image.part == part:
                written = folder / place.images / image.name
                mask = folder / place.masks / PurePosixPath(image.name).with_suffix(".png")
                remove_others(photos[stem(image.name)], written)
                remove_others(masks[stem(image.name)], mask)


def remove_others(files: Sequence[Path], kept: Path) -> None:
    """Removes all of some files but one."""
    for file in files:
        if not file.samefile(kept):  # on some file systems A.png is a.png
            file.unlink()


def without_known(folder: Path, images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Returns the images without the unlabelled ones that a data set already has, labelled or not."""
    known = by_stem(folder / place_in(folder, "train").images, *pools_in(folder))
    return [image for image in images if image.labels is not None or stem(image.name) not in known]


def leave_the_pool(folder: Path, images: Sequence[LabelledImage], below: str = "") -> None:
    """Removes photos that are labelled now from a data set's ``unlabeled/``, or from the folder ``below`` it."""
    pool = by_stem(*(place / below for place in pools_in(folder)))
    for image in images:
        if image.labels is not None and (photo := pool.get(stem(image.name))) is not None:
            photo.unlink(missing_ok=True)


def by_stem(*folders: Path) -> dict[str, Path]:
    """Returns the files below folders by their stems (:func:`stem`); none for a folder that does not exist."""
    return {stem(name): folder / name for folder in folders for name in files_below(folder)}


def files_below(folder: Path) -> Iterator[str]:
    """Yields the files below a folder, relative to it, without those made by systems; none if it does not exist."""
    if folder.is_dir():
        for prefix, names in walk(folder):
            yield from (prefix + name for name in names if not is_foreign(name))


def stem(name: str) -> str:
    """Returns a path without its extension, in the form in which names are compared."""
    return canonical(os.path.splitext(name)[0])  # noqa: PTH122 - a Path object for each of a million names takes seconds


def pools_in(folder: Path) -> list[Path]:
    """Returns the folders of a data set's unlabelled photos, whether they exist or not."""
    return [folder / name for name in pools_of(folder, place_in(folder, "train"))]


def place_in(folder: Path, part: str) -> Place:
    """Returns the folders of the images and masks of a part of a data set, whether they exist or not.

    Raises:
        DataError: they are one folder, in which files could not be told apart by their stems.
    """
    below = "" if part == "train" else f"{part}/"
    found = place_of(folder, cast(Part, part)) or Place(f"{below}images", f"{below}masks")
    if found.images == found.masks:
        raise DataError(
            f"{folder / found.images}: photos and masks lie in one folder, to which nothing can be added; move them to "
            "two, images/ and masks/, or write into a new folder"
        )
    return found
