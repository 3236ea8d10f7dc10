"""Reads masks in several files for each photo: one for each object, or one for each class.

They lie in ``masks/`` beside the ``images/`` of a single photo, as in the Data Science Bowl 2018, or in a folder of
their own below ``masks/`` that has the photo's name.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
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
from unimatch.labelling.records import Found, LabelledImage, unknown_class

MASK_FILES = r"masks?/.*\.(png|gif|bmp|tiff?)"


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
    photos = defaultdict[str, list[str]](list)
    for name in (member.name for member in source.images()):
        for place in places_of(name):
            photos[place].append(name)
    owned = defaultdict[str, list[Member]](list)
    for mask in source.matching(MASK_FILES):
        owners = photos.get(str(PurePosixPath(mask.name).parent), [])
        if len(owners) == 1:
            owned[owners[0]].append(mask)
    return dict(owned)


def places_of(photo: str) -> Iterator[str]:
    """Yields the folders in which the masks of a photo may lie.

    >>> list(places_of("a/images/1.png"))
    ['a/masks', 'a/mask', 'a/masks/1', 'a/mask/1']
    """
    *folders, base = photo.split("/")
    for number, folder in enumerate(folders):
        if folder.lower() in PHOTO_FOLDERS:
            for masks in ("masks", "mask"):
                yield "/".join([*folders[:number], masks, *folders[number + 1 :]])
            for masks in ("masks", "mask"):
                yield "/".join([*folders[:number], masks, *folders[number + 1 :], base.rpartition(".")[0]])


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos and their masks; photos of other folders have none.

    If most masks have a name that masks of other photos have too, and that is no number, such as ``road.png``, then
    these names are the classes. Otherwise each mask is an object of one class.
    """
    owned = masks_by_photo(source)
    by_class = named_by_class(owned)
    paths = [member.name for member in source.images() if member not in files]
    plain = Counter(PurePosixPath(path).name for path in paths)
    images = []
    for member in (source.files[path] for path in paths):
        base = PurePosixPath(member.name).name
        name = base if plain.total() == len(plain) else name_of(member.name)
        masks = sorted(owned.get(member.name, ()), key=lambda mask: mask.name)
        labels = MaskFiles(tuple((mask, stem_of(mask, member) if by_class else ONLY_CLASS) for mask in masks))
        where = str(PurePosixPath(masks[0].where).parent) if masks else ""
        images.append(LabelledImage(name, member, labels if masks else None, None, part_of(member.name), where))
    used = {label for image in images if isinstance(image.labels, MaskFiles) for _, label in image.labels.files}
    return Found(images, dict.fromkeys(sorted(used)))


def named_by_class(owned: Mapping[str, list[Member]]) -> bool:
    """Tells whether most masks have a name that is no number and that masks of other photos have too."""
    names = [stem_of(mask, Member(mask.place, photo, 0)).lower() for photo, masks in owned.items() for mask in masks]
    count = Counter(names)
    return sum(count[name] > 1 and not name.isdecimal() for name in names) > len(names) / 2


def stem_of(mask: Member, photo: Member) -> str:
    """Returns a mask's name without extension and without the photo's name at its beginning.

    >>> from pathlib import Path
    >>> stem_of(Member(Path(), "masks/a/a_road.png", 0), Member(Path(), "images/a.jpg", 0))
    'road'
    """
    stem = PurePosixPath(mask.name).stem
    return stem.removeprefix(PurePosixPath(photo.name).stem).strip("_-. ") or stem
