"""Makes lists of labelled and unlabelled images: nested sizes, every class where possible, groups kept together."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unimatch._version import __version__
from unimatch.data.parallel import for_each
from unimatch.data.sources.base import Source
from unimatch.disk import replace_text
from unimatch.errors import ConfigError, DataError
from unimatch.types import IGNORE_INDEX

FACTS = "split.json"
"""How the lists beside it were made."""


@dataclass(frozen=True)
class Candidate:
    """A training image that may be labelled."""

    line: str
    """As in a list file: ``image_path mask_path``, or a name."""
    classes: frozenset[int]
    """Ids that occur in its mask, without the ignored ones; or the one class of the image."""
    group: str
    """Images of one group, such as the frames of one video, go into the same part; by default each is its own."""


@dataclass(frozen=True)
class Split:
    """Indices of candidates, ascending; what is neither in ``labeled[size]`` nor in ``val`` is unlabelled."""

    labeled: dict[int, list[int]]
    """For each size asked for; a smaller size's images are among a larger one's."""
    val: list[int] = field(default_factory=list)


def choose(candidates: Sequence[Candidate], sizes: Iterable[int], seed: int | Sequence[int], val: int = 0) -> Split:
    """Chooses labelled images of several sizes, and validation images where asked.

    One order of all groups serves every part. It begins with images that show every class: for each class not yet
    seen, from the rarest on, the first image of a random order that has it. Where the smallest size has no room for
    those, the order begins with the images that add most classes instead. The others follow at random. Labelled
    images are taken from the start of the order, validation images from its end. A group that would exceed a part's
    number is passed over, so that with groups a part may hold fewer images than asked for.

    Args:
        candidates: the images with masks.
        sizes: numbers of labelled images.
        seed: of the order.
        val: number of validation images to hold out.

    Raises:
        ConfigError: a number is below what is needed or above what there is, or no group fits.

    >>> images = [Candidate(f"{i}.jpg {i}.png", frozenset({0, 1} if i == 7 else {0}), str(i)) for i in range(9)]
    >>> split = choose(images, [1, 3], seed=0)
    >>> split.labeled[1], len(split.labeled[3])
    ([7], 3)
    """
    sizes = sorted(set(sizes))
    if not sizes or sizes[0] < 1:
        raise ConfigError(f"labeled={sizes}: at least one number, each at least 1, is needed")
    if val < 0:
        raise ConfigError(f"val={val}: must be at least 0")
    if sizes[-1] + val > len(candidates):
        raise ConfigError(
            f"labeled={sizes[-1]} and val={val}: there are only {len(candidates)} images to choose from; choose fewer"
        )
    groups = collect_groups(candidates)
    classes = [frozenset[int]().union(*(candidates[i].classes for i in group)) for group in groups]
    order = order_groups(groups, classes, sizes[0], seed)
    held_out = take(groups, order[::-1], val, "val")
    order = [i for i in order if i not in set(held_out)]
    labeled, taken = {}, list[int]()
    for size in sizes:
        room = size - sum(len(groups[i]) for i in taken)
        taken += take(groups, [i for i in order if i not in set(taken)], room, "labeled", already=len(taken))
        labeled[size] = sorted(image for i in taken for image in groups[i])
    return Split(labeled, sorted(image for i in held_out for image in groups[i]))


def choose_of_each_class(
    candidates: Sequence[Candidate], sizes: Iterable[int], seed: int, val: int, names: Sequence[str]
) -> Split:
    """Chooses as many images of each class, where each image has one.

    Args:
        candidates: all training images.
        sizes: numbers of labelled images of each class.
        seed: of the order.
        val: number of validation images of each class to hold out.
        names: of the classes.

    Raises:
        ConfigError: a class has fewer images, or a group has several classes; see :func:`choose`.
    """
    sizes = list(sizes)
    class_of_group: dict[str, int] = {}
    members: dict[int, list[int]] = {number: [] for number in range(len(names))}
    for index, candidate in enumerate(candidates):
        (number,) = candidate.classes
        members[number].append(index)
        other = class_of_group.setdefault(candidate.group, number)
        if other != number:
            both = f"{names[other]} and {names[number]}"
            raise ConfigError(f"group: {candidate.group} has images of {both}, and each class is chosen from alone")
    labeled: dict[int, list[int]] = {size: [] for size in sizes}
    held_out: list[int] = []
    for number, name in enumerate(names):
        try:
            split = choose([candidates[i] for i in members[number]], sizes, [seed, number], val)
        except ConfigError as error:
            raise ConfigError(f"class {name}: {error}") from error
        for size, places in split.labeled.items():
            labeled[size] += [members[number][place] for place in places]
        held_out += [members[number][place] for place in split.val]
    return Split({size: sorted(images) for size, images in sorted(labeled.items())}, sorted(held_out))


def collect_groups(candidates: Sequence[Candidate]) -> list[list[int]]:
    """Returns the indices of the candidates of each group, groups in the order of their first image."""
    groups: dict[str, list[int]] = {}
    for index, candidate in enumerate(candidates):
        groups.setdefault(candidate.group, []).append(index)
    return list(groups.values())


def order_groups(
    groups: list[list[int]], classes: list[frozenset[int]], smallest: int, seed: int | Sequence[int]
) -> list[int]:
    """Puts the groups into the order described in :func:`choose`."""
    order: list[int] = np.random.default_rng(seed).permutation(len(groups)).tolist()
    first = rarest_first(order, classes)
    if sum(len(groups[i]) for i in first) > smallest:
        first = most_classes_first(order, classes)
    chosen = set(first)
    return first + [i for i in order if i not in chosen]


def rarest_first(order: list[int], classes: list[frozenset[int]]) -> list[int]:
    """Goes through the classes from the rarest on, and takes the first group that shows one not yet shown."""
    owners: dict[int, list[int]] = {}
    for i in order:
        for c in classes[i]:
            owners.setdefault(c, []).append(i)
    chosen, seen = [], set[int]()
    for c in sorted(owners, key=lambda c: (len(owners[c]), c)):
        if c not in seen:
            chosen.append(owners[c][0])
            seen |= classes[owners[c][0]]
    return chosen


def most_classes_first(order: list[int], classes: list[frozenset[int]]) -> list[int]:
    """Takes the group that adds most classes, again and again, until none adds any."""
    chosen, missing = [], set().union(*classes)
    while missing:
        best = max(order, key=lambda i: len(classes[i] & missing))
        chosen.append(best)
        missing -= classes[best]
    return chosen


def take(groups: list[list[int]], order: list[int], room: int, key: str, already: int = 0) -> list[int]:
    """Takes groups in their order, passing over those that no longer fit."""
    taken, left = [], room
    for i in order:
        if len(groups[i]) <= left:
            taken.append(i)
            left -= len(groups[i])
    if room and not taken and not already:
        smallest = min((len(groups[i]) for i in order), default=0)
        raise ConfigError(f"{key}={room}: no group is that small; the smallest left has {smallest} images")
    return taken


def ids_in_mask(source: Source, index: int) -> frozenset[int]:
    """Reads the class ids that occur in one mask, without ignored pixels."""
    mask = source.mask(index)
    if mask is None:
        raise DataError(f"{source.name(index)}: has no mask")
    return frozenset(np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE_INDEX)[:IGNORE_INDEX]).tolist())


def read_classes_of(source: Source, indices: Sequence[int], workers: int | None) -> list[frozenset[int]]:
    """Reads the ids in each of the masks, in parallel."""
    return list(for_each(ids_in_mask, source, indices, workers=workers, title="reading masks", unit="mask"))


def group_of(image: str, pattern: str | None) -> str:
    r"""Names an image's group: what ``pattern`` finds in its path, or the path itself without a pattern.

    Raises:
        ConfigError: it is no regular expression, or finds nothing.

    >>> group_of("train/seq1_0042.png", r"(seq\d+)_")
    'seq1'
    """
    if pattern is None:
        return image
    try:
        match = re.search(pattern, image)
    except re.error as error:
        raise ConfigError(f"group={pattern}: not a regular expression ({error})") from error
    if match is None:
        raise ConfigError(f"group={pattern}: not found in {image}; every image must belong to a group")
    return "/".join(match.groups("")) or match.group()


def write_split(
    folder: Path,
    candidates: Sequence[Candidate],
    others: Sequence[str],
    split: Split,
    names: dict[int, str],
    settings: dict[str, Any],
    *,
    overwrite: bool,
    unlabeled_lists: bool = True,
) -> dict[str, Any]:
    """Writes ``SIZE/labeled.txt``, ``SIZE/unlabeled.txt``, ``val.txt`` where there is one, and ``split.json``.

    The lines of ``others``, images without masks, join every unlabelled list; without ``unlabeled_lists`` there are
    none. ``names`` are those of the classes, by id; ``settings`` stand in the JSON file.

    Returns:
        What was written to the JSON file: counts, images per class of each list, classes missing from it.

    Raises:
        ConfigError: a file exists and ``overwrite`` is False.
    """
    lists: dict[str, tuple[list[int], Sequence[str]]] = {}
    held_out = set(split.val)
    for size, labeled in split.labeled.items():
        chosen = held_out.union(labeled)
        lists[f"{size}/labeled.txt"] = labeled, ()
        if unlabeled_lists:
            lists[f"{size}/unlabeled.txt"] = [i for i in range(len(candidates)) if i not in chosen], others
    if split.val:
        lists["val.txt"] = split.val, ()
    for name in [*lists, FACTS]:
        if (folder / name).exists() and not overwrite:
            raise ConfigError(f"{folder / name}: exists; overwrite=true replaces it, out=FOLDER writes elsewhere")
    facts: dict[str, Any] = {
        "unimatch": __version__,
        **settings,
        "images": len(candidates),
        "groups": len(collect_groups(candidates)),
        "images_without_mask": len(others),
        "classes": count_classes(candidates, range(len(candidates)), names),
        "lists": {},
    }
    for name, (indices, more) in lists.items():
        lines = [*(candidates[i].line for i in indices), *more]
        replace_text(folder / name, "".join(f"{line}\n" for line in lines))
        counts = count_classes(candidates, indices, names)
        facts["lists"][name] = {
            "images": len(indices) + len(more),
            "classes": counts,
            "missing": [name for name, count in counts.items() if not count],
        }
    replace_text(folder / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return facts


def count_classes(candidates: Sequence[Candidate], indices: Iterable[int], names: dict[int, str]) -> dict[str, int]:
    """Counts the images that show each class."""
    counts = dict.fromkeys(sorted(names), 0)
    for i in indices:
        for c in candidates[i].classes:
            counts[c] = counts.get(c, 0) + 1
    return {names.get(c, f"id {c}"): count for c, count in counts.items()}
