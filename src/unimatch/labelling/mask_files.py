"""Reads masks in several files for each photo: one for each object, or one for each class.

They lie in ``masks/`` beside the ``images/`` of a single photo, as in the Data Science Bowl 2018; or in a folder below
``masks/`` that has the photo's name; or their names begin with the photo's; or they have the photo's name, in a folder
for each class. Folders may name a part of the data: ``train_images/ train_masks/``, or ``train/ trainannot/``. Or they
lie beside the photo, as ``a_mask.png`` and ``a_mask_1.png`` beside ``a.png``.
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
from unimatch.images.folders import MASK_NAME, MASK_WORD, PHOTO_FOLDERS
from unimatch.labelling.export_files import Source, opened_mask
from unimatch.labelling.kaggle import ONLY_CLASS
from unimatch.labelling.photos import PART_WORDS, Photos, name_of, part_of
from unimatch.labelling.records import Found, LabelledImage, log_left_out, unknown_class

OF_A_PART = rf"(?:(?P<part>{'|'.join(PART_WORDS)})[_-]?)?"
MASK_FOLDER = rf"{OF_A_PART}(?:{MASK_WORD}|ann_dir)"
MASK_FILES = rf"{MASK_FOLDER}/.*\.(png|gif|bmp|tiff?)"
PHOTO_FOLDER = rf"{OF_A_PART}(?:{'|'.join(PHOTO_FOLDERS)})"
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
    """Returns the masks of photos, if any photo has several."""
    owned = masks_by_photo(source)
    return [mask for masks in owned.values() for mask in masks] if max(map(len, owned.values()), default=0) > 1 else []


def masks_by_photo(source: Source) -> dict[str, list[Member]]:
    """Returns the masks of each photo, by its path in the export."""
    return in_folders(source) or beside_photos(source)


def in_folders(source: Source) -> dict[str, list[Member]]:
    """Returns the masks of each photo that lie in folders of masks."""
    photos = defaultdict[str, dict[str, str]](dict)  # of each folder of masks, the photos by their names
    for name in (member.name for member in source.images()):
        for place in places_of(name):
            photos[place][PurePosixPath(name).stem] = name
    owned = defaultdict[str, list[Member]](list)
    for mask in source.matching(MASK_FILES):
        stem = PurePosixPath(mask.name).stem
        for place in places_of(mask.name, MASK_FOLDER):
            there = photos.get(place, {})
            owner = next(iter(there)) if len(there) == 1 else owner_of(stem, there)
            if not there and stem in (there := photos.get(place.rpartition("/")[0], {})):
                owner = stem  # in the folder of a class
            if owner is not None:
                owned[there[owner]].append(mask)
                break
    return dict(owned)


def beside_photos(source: Source) -> dict[str, list[Member]]:
    """Returns the masks of each photo that lie beside it and have a word such as ``mask`` at the end of their names."""
    photos, masks = defaultdict[PurePosixPath, dict[str, str]](dict), list[Member]()
    for member in source.images():
        path = PurePosixPath(member.name)
        if MASK_NAME.fullmatch(path.stem):
            masks.append(member)
        else:
            photos[path.parent][path.stem] = member.name
    owned = defaultdict[str, list[Member]](list)
    for mask in masks:
        path = PurePosixPath(mask.name)
        there = photos.get(path.parent, {})
        if (owner := owner_of(path.stem, there)) is not None:
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


def places_of(file: str, kind: str = PHOTO_FOLDER) -> Iterator[str]:
    """Yields the folders, in lower case, in which the masks of a photo may lie, or in which a mask lies.

    Whatever folders of photos and of masks are called, ``*`` stands for them, after the part of the data that they
    name. A folder that is called like a part, such as ``train``, may also hold photos itself.

    >>> list(places_of("A/images/1.png")), list(places_of("A/masks/1/x.png", MASK_FOLDER))
    (['a/*', 'a/*/1'], ['a/*/1'])
    >>> list(places_of("train/1.png")), list(places_of("TrainAnnot/1_x.png", MASK_FOLDER))
    (['train*', 'train*/1'], ['train*'])
    """
    *folders, base = file.lower().split("/")
    for number, folder in enumerate(folders):
        match = re.fullmatch(kind, folder, re.IGNORECASE)
        word = match["part"] if match else folder if kind == PHOTO_FOLDER else None
        if match or word in PART_WORDS:
            place = "/".join([*folders[:number], f"{PART_WORDS.get(word or '', '')}*", *folders[number + 1 :]])
            yield place
            if kind == PHOTO_FOLDER:
                yield f"{place}/{base.rpartition('.')[0]}"


def photos_among(
    names: list[str], owned: Container[str], beside: Container[str], shared: Container[PurePosixPath]
) -> Iterator[str]:
    """Yields the photos among images: those in folders of photos, and those in folders of parts beside such.

    Args:
        names: of images that are no masks.
        owned: the photos that have masks.
        beside: the folders in which a folder called like a part holds photos itself.
        shared: the folders that hold photos and masks.
    """
    for name in names:
        folder = PurePosixPath(name).parent
        is_part = folder.name.lower() in PART_WORDS and str(folder.parent) in beside
        if name in owned or is_part or folder in shared or in_folder_of(PHOTO_FOLDER, name):
            yield name


def in_folder_of(kind: str, name: str) -> bool:
    """Tells whether a file lies, at any depth, in a folder of this name, given as a regular expression."""
    return any(re.fullmatch(kind, folder, re.IGNORECASE) for folder in name.split("/")[:-1])


def read(source: Source, files: list[Member], photos: Photos) -> Found:
    """Reads the photos and their masks; photos in other folders of photos have none.

    If most masks have a name that masks of other photos have too, such as ``road.png``, then these names are the
    classes. Otherwise, or if the names are :data:`NUMBERS`, each mask is an object of one class.
    """
    owned = masks_by_photo(source)
    by_class = named_by_class(owned)
    taken = {mask.name: mask for masks in owned.values() for mask in masks}
    shared = {PurePosixPath(mask).parent for mask in taken if not in_folder_of(MASK_FOLDER, mask)}
    masks_there = {mask.name: mask for mask in source.matching(MASK_FILES)} | taken
    masks_there |= {
        member.name: member
        for member in source.images()
        if PurePosixPath(member.name).parent in shared and MASK_NAME.fullmatch(PurePosixPath(member.name).stem)
    }
    lone = masks_there.keys() - taken.keys()
    log_left_out(sorted(masks_there[name].where for name in lone), "no photo has such masks")
    names = [member.name for member in source.images() if member.name not in masks_there]
    beside = {str(PurePosixPath(name).parent.parent) for name in owned if not in_folder_of(PHOTO_FOLDER, name)}
    paths = list(photos_among(names, owned, beside, shared))
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
    """Returns a mask's name without extension, the photo's name and ``mask``; if nothing is left, its folder's name.

    >>> photo = "images/a.jpg"
    >>> stem_of("masks/a/a_road.png", photo), stem_of("masks/a/road.png", photo), stem_of("masks/road/a.png", photo)
    ('road', 'road', 'road')
    >>> stem_of("images/a_road_mask.png", photo), stem_of("images/a_mask_1.png", photo)
    ('road', 'mask_1')
    """
    path = PurePosixPath(mask)
    own = path.stem.removeprefix(PurePosixPath(photo).stem).strip("_-. ")
    marked = MASK_NAME.fullmatch(own)
    return (marked["photo"] if marked else own) or path.parent.name
