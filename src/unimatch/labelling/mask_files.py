"""Reads masks in several files for each photo: one for each object, or one for each class.

They lie in ``masks/`` beside the ``images/`` of a single photo, as in the Data Science Bowl 2018; or in a folder below
``masks/`` that has the photo's name; or their names begin with the photo's; or they have the photo's name, in a folder
for each class.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray, colors_of, ids_of
from unimatch.images.folders import PHOTO_FOLDERS
from unimatch.labelling.export_files import Source, opened_mask
from unimatch.labelling.kaggle import ONLY_CLASS
from unimatch.labelling.photos import Photos, name_of, part_of
from unimatch.labelling.records import Found, LabelledImage, log_left_out, unknown_class

MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annot", "ann_dir"),
    *("segmentations", "segmentation", "seg", "gt", "ground_truth"),
)
MASK_FILES = rf"({'|'.join(MASK_FOLDERS)})/.*\.(png|gif|bmp|tiff?)"
NUMBERS = re.compile(r"(masks?|label|object|instance|segment|segmentation)?[_\-. ]*\d*")
"""Names, in lower case, that only tell the masks of a photo apart."""


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """The masks of one photo: all pixels of a file that are neither black nor transparent are of its class."""

    files: tuple[tuple[Member, str], ...]
    """Each file with its class; later ones lie over earlier ones."""

    def draw(self, where: str, size: tuple[int, int], ids: Mapping[str, int], fill: int) -> MaskArray:
        """Draws the labels; see :class:`unimatch.labelling.records.Drawable`."""
        width, height = size
        mask = np.full((height, width), fill, np.uint8)
        for member, label in self.files:
            if label not in ids:
                raise DataError(f"{member.where}: {unknown_class(label, ids)}")
            mask[covered(member, size)] = ids[label]
        return mask


def covered(member: Member, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns the pixels (H, W) of a mask that are neither 0, or black, nor transparent."""
    with opened_mask(member.read(), member.where, size) as image:
        colored = image.mode in ("RGB", "RGBA", "CMYK", "P")
        read = colors_of(image, member.where) if colored else ids_of(image, member.where)
    shown = (read.values != 0).reshape(*read.values.shape[:2], -1).any(axis=2)
    return shown if read.transparent is None else shown & ~read.transparent


def find(source: Source) -> list[Member]:
    """Returns the masks of photos that have their own folder of masks, if any photo has several."""
    owned = masks_by_photo(source)
    return [mask for masks in owned.values() for mask in masks] if max(map(len, owned.values()), default=0) > 1 else []


def masks_by_photo(source: Source) -> dict[str, list[Member]]:
    """Returns the masks of each photo, by its path in the export."""
    photos = defaultdict[str, dict[str, str]](dict)  # of each folder of masks, the photos by their names
    for name in (member.name for member in source.images()):
        for place in places_of(name):
            photos[place][PurePosixPath(name).stem] = name
    owned = defaultdict[str, list[Member]](list)
    for mask in source.matching(MASK_FILES):
        path = PurePosixPath(mask.name)
        there = photos.get(str(path.parent).lower(), {})
        owner = next(iter(there)) if len(there) == 1 else owner_of(path.stem, there)
        if not there and path.stem in (there := photos.get(str(path.parent.parent).lower(), {})):
            owner = path.stem  # in the folder of a class
        if owner is not None:
            owned[there[owner]].append(mask)
    return dict(owned)


def owner_of(mask: str, photos: Container[str]) -> str | None:
    """Returns the longest name of a photo with which a mask's name begins, up to a mark; None if there is none.

    >>> owner_of("a_1_mask_2", {"a", "a_1", "b"}), owner_of("ab", {"a"})
    ('a_1', None)
    """
    while mask and mask not in photos:
        mask = re.sub(r"[_\-. ]?[^_\-. ]*$", "", mask)
    return mask or None


def places_of(photo: str) -> Iterator[str]:
    """Yields the folders, in lower case, in which the masks of a photo may lie.

    >>> list(places_of("A/images/1.png"))[:4]
    ['a/masks', 'a/masks/1', 'a/mask', 'a/mask/1']
    """
    *folders, base = photo.lower().split("/")
    for number, folder in enumerate(folders):
        if folder in PHOTO_FOLDERS:
            for masks in MASK_FOLDERS:
                place = [*folders[:number], masks, *folders[number + 1 :]]
                yield from ("/".join(place), "/".join([*place, base.rpartition(".")[0]]))


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos and their masks; photos in other folders of photos have none.

    If most masks have a name that masks of other photos have too, such as ``road.png``, then these names are the
    classes. Otherwise, or if the names are :data:`NUMBERS`, each mask is an object of one class.
    """
    owned = masks_by_photo(source)
    by_class = named_by_class(owned)
    masks_there = {mask.name: mask for mask in source.matching(MASK_FILES)}
    lone = masks_there.keys() - {mask.name for masks in owned.values() for mask in masks}
    log_left_out(sorted(masks_there[name].where for name in lone), "no photo has such masks")
    paths = [
        member.name for member in source.images() if member.name not in masks_there and any(places_of(member.name))
    ]
    plain = Counter(PurePosixPath(path).name for path in paths)
    images = []
    for member in (source.files[path] for path in paths):
        base = PurePosixPath(member.name).name
        name = base if plain.total() == len(plain) else name_of(member.name)
        masks = sorted(owned.get(member.name, ()), key=lambda mask: mask.name)
        labels = MaskFiles(tuple((mask, stem_of(mask.name, member.name) if by_class else ONLY_CLASS) for mask in masks))
        where = str(PurePosixPath(masks[0].where).parent) if masks else ""
        images.append(LabelledImage(name, member, labels if masks else None, None, part_of(member.name), where))
    used = {label for image in images if isinstance(image.labels, MaskFiles) for _, label in image.labels.files}
    return Found(images, dict.fromkeys(sorted(used)))


def named_by_class(owned: Mapping[str, list[Member]]) -> bool:
    """Tells whether most masks have a name that masks of other photos have too and that is none of :data:`NUMBERS`."""
    names = [stem_of(mask.name, photo).lower() for photo, masks in owned.items() for mask in masks]
    count = Counter(names)
    return sum(count[name] > 1 and not NUMBERS.fullmatch(name) for name in names) > len(names) / 2


def stem_of(mask: str, photo: str) -> str:
    """Returns a mask's name without extension and without the photo's name; if nothing is left, its folder's name.

    >>> photo = "images/a.jpg"
    >>> stem_of("masks/a/a_road.png", photo), stem_of("masks/a/road.png", photo), stem_of("masks/road/a.png", photo)
    ('road', 'road', 'road')
    """
    path = PurePosixPath(mask)
    return path.stem.removeprefix(PurePosixPath(photo).stem).strip("_-. ") or path.parent.name
