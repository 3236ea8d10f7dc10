"""Tells which image and mask belong together if their names differ by more than the extension."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from unimatch.images.folders import MASK_WORD, canonical, suffix

IMAGE_WORDS = r"images?|img|sat|photo|rgb"
MASK_WORDS = rf"{MASK_WORD}|target|l"
"""Words that label tools and published data sets put before or after the common name of a photo and its mask."""


def several_masks(image: str, masks: Sequence[str]) -> str:
    """Says, for a message, that an image seems to have several masks, each of one class or object; empty if not.

    >>> print(several_masks("day/7.jpg", ["road/7.png", "car/7.png", "8_car.png"]))
    ; car/7.png and road/7.png seem to be masks of one image: join them (python -m unimatch.labels does so)
    """
    name = os.path.splitext(os.path.basename(image))[0]  # noqa: PTH119, PTH122 - as in `suffix`
    belongs = re.compile(rf"(?:.*/)?{re.escape(name)}(?:[/_\-. ].*)?", re.IGNORECASE)
    own = sorted(mask for mask in masks if belongs.fullmatch(mask.removesuffix(suffix(mask)).replace(os.sep, "/")))
    if len(own) < 2:
        return ""
    text = f"; {own[0]} and {own[1]} seem to be masks of one image: join them (python -m unimatch.labels does so)"
    return text if "/" in own[1] else f"{text}, or name what follows the one that is meant: dataset.mask_suffix"


def further_mask(unused: Sequence[str], used: Iterable[str]) -> str:
    """Says, for a message, that a mask of no image seems to be a further one of an image that has one; empty if not.

    >>> further_mask(["7.png", "a_mask_1.png"], ["a_mask.png", "b_mask.png"])
    '; a_mask_1.png seems to be a further mask beside a_mask.png: join them (python -m unimatch.labels does so)'
    """
    first = {mask.removesuffix(suffix(mask)): mask for mask in used}
    for mask in unused:
        numbered = re.fullmatch(r"(.+)[_\-. ]\d+", mask.removesuffix(suffix(mask)))
        if numbered and (other := first.get(numbered[1])):
            return f"; {mask} seems to be a further mask beside {other}: join them (python -m unimatch.labels does so)"
    return ""


def in_other_folder(image: str, masks: Sequence[str]) -> str:
    """Says, for a message, that a mask of the image's name lies in another folder; empty if none does.

    >>> in_other_folder("a.jpg", ["trimaps/a.png", "b.png"])
    '; trimaps/a.png has its name, but not its folder: arrange masks and images alike'
    """
    name = os.path.splitext(os.path.basename(image))[0]  # noqa: PTH119, PTH122 - as in `suffix`
    mask = next((mask for mask in masks if os.path.splitext(os.path.basename(mask))[0] == name), None)  # noqa: PTH119, PTH122
    return f"; {mask} has its name, but not its folder: arrange masks and images alike" if mask else ""


def pair_similar(images: dict[str, str], masks: dict[str, str]) -> dict[str, str]:
    """Pairs names of images and masks that differ in case, Unicode form, or by the words that tools add.

    Args:
        images: image files by their names without extension.
        masks: mask files by their names without extension.

    Returns:
        For an image's name the name of its mask, if neither is similar to any other.

    >>> pair_similar({"A": "A.jpg", "b": "b.jpg"}, {"a_mask": "a_mask.png", "b.jpg": "b.jpg.png"})
    {'A': 'a_mask', 'b': 'b.jpg'}
    """
    alike_images, alike_masks = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for name, file in images.items():
        for key in {canonical(file), *without_word(canonical(name), IMAGE_WORDS)}:
            alike_images[key].add(name)
    for name in masks:
        for key in without_word(canonical(name), MASK_WORDS):
            alike_masks[key].add(name)
    partners, claims = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for key, names in alike_images.items():
        for name in names:
            partners[name] |= alike_masks.get(key, set())
            for mask in alike_masks.get(key, ()):
                claims[mask].add(name)
    pairs = {name: next(iter(found)) for name, found in partners.items() if len(found) == 1}
    return {name: pairs[name] for name in images if name in pairs and len(claims[pairs[name]]) == 1}


def without_word(path: str, words: str) -> set[str]:
    """Returns a path, and it without a word at the start or end of its last part, or as its last part.

    Args:
        path: without extension.
        words: the words, as a regular expression.

    >>> sorted(without_word("a/mask_7", MASK_WORDS)), sorted(without_word("mask7_gt", MASK_WORDS))
    (['a/7', 'a/mask_7'], ['7_gt', 'mask7', 'mask7_gt'])
    >>> sorted(without_word("a/mask", MASK_WORDS))
    ['a/', 'a/mask']
    """
    folder, slash, name = path.rpartition("/")
    at_start, at_end, alone = (
        rf"^(?:{words})(?:[_\-. ]+(?=.)|(?=\d))",
        rf"(?<=.)[_\-. ]+(?:{words})$",
        rf"^(?:{words})$",
    )
    return {path, *(folder + slash + re.sub(place, "", name) for place in (at_start, at_end, alone))}
