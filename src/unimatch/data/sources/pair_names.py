"""Which image and which mask belong together by their names, where these differ by more than the extension."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence

from unimatch.images.folders import MASK_WORD, canonical, suffix

IMAGE_WORDS = r"images?|img|sat|photo|rgb"
MASK_WORDS = rf"{MASK_WORD}|target|l"
"""What labelling tools and published data sets put before or behind the name that a photo and its mask share."""


def several_masks(image: str, masks: Sequence[str]) -> str:
    """Says that some masks seem to show a class or an object of an image each, by their names; nothing if not.

    >>> several_masks("day/7.jpg", ["road/7.png", "car/7.png", "8_car.png"])
    '; car/7.png and road/7.png seem to be masks of one image: join them into one that stores the ids of classes'
    """
    name = os.path.splitext(os.path.basename(image))[0]  # noqa: PTH119, PTH122 - as in `suffix`
    part = re.compile(rf"(?:.*/)?{re.escape(name)}(?:[/_\-. ].*)?", re.IGNORECASE)
    own = sorted(mask for mask in masks if part.fullmatch(mask.removesuffix(suffix(mask)).replace(os.sep, "/")))
    if len(own) < 2:
        return ""
    text = f"; {own[0]} and {own[1]} seem to be masks of one image: join them into one that stores the ids of classes"
    return text if "/" in own[1] else f"{text}, or name what follows the one that is meant: dataset.mask_suffix"


def in_other_folder(image: str, masks: Sequence[str]) -> str:
    """Says that a mask of the image's name lies in another folder; nothing if none does.

    >>> in_other_folder("a.jpg", ["trimaps/a.png", "b.png"])
    '; trimaps/a.png has its name, but not its folder: arrange masks and images alike'
    """
    name = os.path.splitext(os.path.basename(image))[0]  # noqa: PTH119, PTH122 - as in `suffix`
    mask = next((mask for mask in masks if os.path.splitext(os.path.basename(mask))[0] == name), None)  # noqa: PTH119, PTH122
    return f"; {mask} has its name, but not its folder: arrange masks and images alike" if mask else ""


def pair_similar(images: dict[str, str], masks: dict[str, str]) -> dict[str, str]:
    """Pairs names of images and of masks that differ in case, Unicode form, or by what tools add to them.

    Args:
        images: files by their names without ending.
        masks: likewise.

    Returns:
        A mask's name for an image's, where each is like no other.

    >>> pair_similar({"A": "A.jpg", "b": "b.jpg"}, {"a_mask": "a_mask.png", "b.jpg": "b.jpg.png"})
    {'A': 'a_mask', 'b': 'b.jpg'}
    """
    alike_images, alike_masks = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for name, file in images.items():
        for key in {canonical(name), canonical(file), without_word(canonical(name), IMAGE_WORDS)}:
            alike_images[key].add(name)
    for name in masks:
        for key in {canonical(name), without_word(canonical(name), MASK_WORDS)}:
            alike_masks[key].add(name)
    partners, claims = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for key, names in alike_images.items():
        for name in names:
            partners[name] |= alike_masks.get(key, set())
            for mask in alike_masks.get(key, ()):
                claims[mask].add(name)
    return {
        name: mask for name in images if len(partners[name]) == 1 for mask in partners[name] if len(claims[mask]) == 1
    }


def without_word(path: str, words: str) -> str:
    """Takes such a word off the start or the end of a path's last part.

    >>> without_word("a/mask_7", MASK_WORDS), without_word("a/7_image", IMAGE_WORDS), without_word("mask7", MASK_WORDS)
    ('a/7', 'a/7', '7')
    """
    folder, slash, name = path.rpartition("/")
    return (
        folder + slash + re.sub(rf"^(?:{words})(?:[_\-. ]+(?=.)|(?=\d))|(?<=.)[_\-. ]+(?:{words})$", "", name, count=1)
    )
