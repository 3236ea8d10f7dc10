"""Chooses labelled images of several nested sizes, with every class if possible and groups kept together."""

import json
import re
from collections import Counter
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
from unimatch.wording import counted

FACTS = "split.json"
"""A file that says how the lists beside it were made."""


@dataclass(frozen=True)
class Candidate:
    """A training image that may be labelled."""

    line: str
    """Its line in a list: ``image_path mask_path``, or a name."""
    classes: frozenset[int]
    """The class ids in its mask, or its one class."""
    group: str
    """Images of one group, such as the frames of one video, stay in one part; by default each image is a group."""


@dataclass(frozen=True)
class Split:
    """Indices of candidates, ascending; images neither in ``labeled[size]`` nor in ``val`` are unlabelled."""

    labeled: dict[int, list[int]]
    """The labelled images for each size; those of a smaller size are among those of a larger one."""
    val: list[int] = field(default_factory=list)


def choose(candidates: Sequence[Candidate], sizes: Iterable[int], seed: int | Sequence[int], val: int = 0) -> Split:
    """Chooses labelled images of several sizes, and validation images if any are wanted.

    All parts are taken from one order of the groups. It begins with groups that together show every class: for each
    class not yet shown, from the rarest on, the first group of a random order that shows it. If the smallest size has
    no room for these, the order begins with the groups that add most classes instead. The others follow at random.
    Labelled images are taken from the start of the order, validation images from its end. A group that would exceed a
    part's number is left out, so that a part may have fewer images than its number.

    Args:
        candidates: the images to choose from.
        sizes: numbers of labelled images.
        seed: of the random order.
        val: number of validation images to hold out.

    Raises:
        ConfigError: a number is too small or too large, or no group fits.

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
            f"labeled={sizes[-1]} and val={val}: there are only {counted(len(candidates), 'image')} to choose from; "
            "choose fewer"
        )
    groups = collect(candidate.group for candidate in candidates)
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
    """Chooses the same number of images of each class, for images that have one class each.

    Args:
        candidates: the images to choose from.
        sizes: numbers of labelled images of each class.
        seed: of the random order.
        val: number of validation images of each class to hold out.
        names: the names of the classes.

    Raises:
        ConfigError: a class has too few images, or a group has several classes; see :func:`choose`.
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


def collect(names: Iterable[str]) -> list[list[int]]:
    """Returns the indices of the images of each group, given the group of each, in the order of their first images."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    return list(groups.values())


def order_groups(
    groups: list[list[int]], classes: list[frozenset[int]], smallest: int, seed: int | Sequence[int]
) -> list[int]:
    """Returns the order of the groups that :func:`choose` describes."""
    order: list[int] = np.random.default_rng(seed).permutation(len(groups)).tolist()
    first = rarest_first(order, classes)
    if sum(len(groups[i]) for i in first) > smallest:
        first = most_classes_first(order, classes)
    chosen = set(first)
    return first + [i for i in order if i not in chosen]


def rarest_first(order: list[int], classes: list[frozenset[int]]) -> list[int]:
    """Returns, for each class that no group before shows, from the rarest on, the first group that shows it."""
    showing: dict[int, list[int]] = {}
    for group in order:
        for class_id in classes[group]:
            showing.setdefault(class_id, []).append(group)
    chosen, shown = [], set[int]()
    for class_id in sorted(showing, key=lambda class_id: (len(showing[class_id]), class_id)):
        if class_id not in shown:
            first = showing[class_id][0]
            chosen.append(first)
            shown |= classes[first]
    return chosen


def most_classes_first(order: list[int], classes: list[frozenset[int]]) -> list[int]:
    """Returns groups of which each adds most classes to those before it, until all classes are shown."""
    chosen, missing = [], set().union(*classes)
    while missing:
        best = max(order, key=lambda i: len(classes[i] & missing))
        chosen.append(best)
        missing -= classes[best]
    return chosen


def take(groups: list[list[int]], order: list[int], room: int, key: str, already: int = 0) -> list[int]:
    """Takes groups in their order, without those that no longer fit.

    Args:
        groups: the images of each group.
        order: of the groups.
        room: the most images to take.
        key: the setting, for messages.
        already: how many groups this part has.

    Raises:
        ConfigError: not one group fits, and the part has none yet.
    """
    taken, left = [], room
    for i in order:
        if len(groups[i]) <= left:
            taken.append(i)
            left -= len(groups[i])
    if room and not taken and not already:
        smallest = min((len(groups[i]) for i in order), default=0)
        raise ConfigError(f"{key}={room}: no group is that small; the smallest left has {counted(smallest, 'image')}")
    return taken


def ids_in_mask(source: Source, index: int) -> frozenset[int]:
    """Returns the class ids in one mask, without that of ignored pixels."""
    mask = source.mask(index)
    if mask is None:
        raise DataError(f"{source.name(index)}: has no mask")
    return frozenset(np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE_INDEX)[:IGNORE_INDEX]).tolist())


def read_classes_of(source: Source, indices: Sequence[int], workers: int | None) -> list[frozenset[int]]:
    """Returns the class ids in each of some masks, which are read in parallel."""
    return list(for_each(ids_in_mask, source, indices, workers=workers, title="reading masks", unit="mask"))


def group_of(image: str, pattern: str | None, key: str = "group") -> str:
    r"""Returns an image's group: what a regular expression finds in its path or, without one, the path itself.

    Args:
        image: its path.
        pattern: the regular expression.
        key: the setting, for messages.

    Raises:
        ConfigError: ``pattern`` is no regular expression, or finds nothing.

    >>> group_of("train/seq1_0042.png", r"(seq\d+)_")
    'seq1'
    """
    if pattern is None:
        return image
    try:
        match = re.search(pattern, image)
    except re.error as error:
        raise ConfigError(f"{key}={pattern}: not a regular expression ({error})") from error
    if match is None:
        raise ConfigError(f"{key}={pattern}: not found in {image}; every image must belong to a group")
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
    """Writes ``SIZE/labeled.txt``, ``SIZE/unlabeled.txt``, ``val.txt`` if images are held out, and ``split.json``.

    Args:
        folder: where to write them.
        candidates: the images that were chosen from.
        others: lines of images without masks, which are added to every unlabelled list.
        split: which candidates were chosen.
        names: the names of the classes by their ids.
        settings: further entries of the JSON file.
        overwrite: whether existing files may be replaced.
        unlabeled_lists: whether to write lists of unlabelled images.

    Returns:
        The content of the JSON file: counts, images of each class in each list, classes missing from it.

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
        "groups": len(collect(candidate.group for candidate in candidates)),
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
    """Returns how many images show each class, by its name."""
    counts = Counter(dict.fromkeys(sorted(names), 0))
    for index in indices:
        counts.update(candidates[index].classes)
    return {names.get(class_id, f"id {class_id}"): count for class_id, count in counts.items()}
