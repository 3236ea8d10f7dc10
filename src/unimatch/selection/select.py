"""Selects which photos to label by what all photos show."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from math import ceil, inf
from pathlib import Path

import numpy as np

from unimatch.data.splits.generate import group_of
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import ImageArray, read_image
from unimatch.options import at_least_one
from unimatch.selection.feature_cache import Store, default_folder, key_of, open_store
from unimatch.selection.features import ColorDescriber, Describer
from unimatch.selection.greedy import Coverage, Floats, check_count, choose
from unimatch.selection.patch_clusters import find_kinds, shares
from unimatch.terminal import progress_bar

PARTITIONS = 4
"""How often patches are clustered, each time from another seed: a single clustering is a matter of luck."""

PATCH_SAMPLE = 50_000
"""About the most patches that are clustered, spread evenly over the photos."""

READ_AHEAD = 16
"""How many photos are read before they are described."""

THREADS = 2
"""Threads that read photos."""


@dataclass(frozen=True)
class Selection:
    """The photos to label."""

    chosen: list[Path]
    """The best first: the first five of ten are a good choice of five."""
    given: list[Path]
    """The photos that counted as labelled."""
    left_out: dict[Path, str]
    """The photos that cannot be read, and why."""
    by: str
    """The name of the describer."""


def select(
    photos: Sequence[Path],
    n: int,
    *,
    describer: Describer | None = None,
    given: Sequence[Path] = (),
    group: str | None = None,
    unsure: Mapping[Path, float] | None = None,
    likeness: float = 2.0,
    kinds: int = 64,
    features: Path | None = None,
    progress: bool = True,
) -> Selection:
    """Selects photos that together show most of what all photos show.

    Args:
        photos: the files to choose from, including those that are labelled already.
        n: how many to choose.
        describer: computes the photos' features; None for colour and texture, which need no weights and tell less.
        given: the files among ``photos`` that are labelled already, and so count as chosen.
        group: a regular expression; photos in whose paths it finds the same text form a group, such as the frames of a
            drive (:func:`unimatch.data.splits.generate.group_of`), and no group gets more than its share.
        unsure: how unsure a model is of each photo, in later rounds: the mean of 1 - confidence, 0 to 1. What a photo
            adds is multiplied by it. A photo without a value gets the mean of the others.
        likeness: weight of how well the chosen photos represent all others, relative to how many kinds of patches they
            show.
        kinds: how many clusters of patches to find.
        features: the folder in which descriptions are stored, by the photos' content; None for the user's cache.
        progress: whether to show a progress bar.

    Raises:
        ConfigError: ``n``, ``group``, ``likeness`` or ``kinds`` is out of range or does not fit the photos.
        DataError: no photo can be read.
    """
    groups = check_choice(photos, n, given, group, likeness, kinds)
    describer = describer or ColorDescriber()
    left_out: dict[Path, str] = {}
    keys: dict[Path, bytes] = {}
    with open_store(features or default_folder()) as store:
        for path, key in describe_all(photos, describer, store, progress):
            if isinstance(key, bytes):
                keys[path] = key
            else:
                left_out[path] = str(key)
        if not keys:
            raise DataError(f"none of {len(photos)} photos can be read; the first: {next(iter(left_out.values()), '')}")
        coverage = coverage_of(list(keys.values()), store, likeness, kinds)
    files = list(keys)
    place = {path: index for index, path in enumerate(files)}
    order = choose(
        n,
        coverage,
        given=[place[path] for path in given if path in place],
        weights=None if unsure is None else weights_of(files, unsure),
        groups=None if group is None else [groups[path] for path in files],
    )
    return Selection([files[i] for i in order], [path for path in given if path in place], left_out, describer.name)


def check_choice(
    photos: Sequence[Path], n: int, given: Sequence[Path], group: str | None, likeness: float, kinds: int
) -> dict[Path, str]:
    """Checks the arguments of :func:`select` before any work is done; returns the group of each photo.

    Raises:
        ConfigError: ``n``, ``group``, ``likeness`` or ``kinds`` is out of range or does not fit the photos.
    """
    check_count(n, len(photos), len(set(given) & set(photos)))
    if not 0 <= likeness < inf:
        raise ConfigError(f"likeness={likeness}: must be a finite number of at least 0")
    at_least_one(kinds=kinds)
    return {path: group_of(path.as_posix(), group) for path in photos}


def describe_all(
    photos: Sequence[Path], describer: Describer, store: Store, progress: bool
) -> Iterator[tuple[Path, bytes | DataError]]:
    """Describes the photos that are not stored yet; yields each photo with its key, or with its error."""
    bar = progress_bar(len(photos), "describing", "photo", late=True, disable=not progress)
    waiting = iter(photos)
    with ThreadPoolExecutor(THREADS) as readers:
        while block := list(islice(waiting, READ_AHEAD)):
            keys = dict(zip(block, readers.map(lambda path: key_of(path, describer.identity), block), strict=True))
            missing = [path for path, key in keys.items() if isinstance(key, bytes) and key not in store]
            for path, image in zip(missing, readers.map(read_or_error, missing), strict=True):
                if isinstance(image, DataError):
                    keys[path] = image
                elif isinstance(key := keys[path], bytes):
                    store.add(key, describer(image))
            bar.update(len(block))
            yield from keys.items()
    bar.close()


def read_or_error(path: Path) -> ImageArray | DataError:
    """Returns a photo, or the error that says why it cannot be read."""
    try:
        return read_image(path)
    except DataError as error:
        return error


def coverage_of(keys: Sequence[bytes], store: Store, likeness: float, kinds: int) -> Coverage:
    """Returns the value of choices among the photos with these keys."""
    sample = PATCH_SAMPLE // len(keys) + 1  # patches of each sampled photo
    every = ceil(len(keys) / PATCH_SAMPLE)  # one photo of so many is sampled
    images, some = [], []
    for number, key in enumerate(keys):
        description = store[key]
        images.append(description.image)
        if number % every == 0:
            step = max(1, len(description.patches) // sample)
            some.append(description.patches[::step][:sample].copy())  # a view would keep all patches of the photo
    patches = np.concatenate(some).astype(np.float32)
    partitions = [find_kinds(patches, kinds, seed) for seed in range(PARTITIONS)]
    rows = []
    for key in keys:
        own = store[key].patches.astype(np.float32)
        rows.append(np.concatenate([shares(own, centres) for centres in partitions]))
    return Coverage(np.stack(images), (np.stack(rows) / PARTITIONS).astype(np.float32), likeness)


def weights_of(files: Sequence[Path], unsure: Mapping[Path, float]) -> Floats:
    """Returns (N,), the uncertainty of each file, or the mean of the others if it is not known."""
    known = [unsure[path] for path in files if path in unsure]
    mean = float(np.mean(known)) if known else 1.0
    return np.array([unsure.get(path, mean) for path in files], np.float32)
