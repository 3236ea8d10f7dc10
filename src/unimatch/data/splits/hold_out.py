"""Holds out training images for validation where a data set has no validation images of its own."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unimatch.data.sources.files import FilePairs
from unimatch.data.splits.generate import collect, group_of
from unimatch.data.splits.lists import choose_labeled
from unimatch.errors import ConfigError
from unimatch.options import seed_of_numpy

log = logging.getLogger("unimatch")


def hold_out(train: FilePairs, share: float, seed: int, group: str | None, root: Path) -> FilePairs:
    """Returns a share of the training images, chosen at random, for validation.

    Args:
        train: the images with masks.
        share: how many of them, above 0 and below 1.
        seed: of the choice.
        group: a regular expression that finds an image's group, such as its video, in its path
            (:func:`unimatch.data.splits.generate.group_of`); groups are held out as a whole. None for single images.
        root: the folder that the paths are relative to; images elsewhere have absolute ones.

    Raises:
        ConfigError: no image would be left to train on, or an image has no group.
    """
    count = max(1, round(share * len(train)))
    if count >= len(train):
        raise ConfigError(f"val_share={share}: of {len(train)} images with masks none is left to train on")
    seed_of_numpy(val_seed=seed)
    if group is None:
        chosen, settings = choose_labeled(len(train), count, seed)[0], f"val_share={share}, val_seed={seed}"
    else:
        paths = [Path(name) for name in train.images()]
        below = [(path.relative_to(root) if path.is_relative_to(root) else path).as_posix() for path in paths]
        groups = collect([group_of(name, group, "val_group") for name in below])
        if len(groups) == 1:
            raise ConfigError(f"val_group={group}: all {len(train)} images with masks are of one group")
        taken = choose_groups([len(members) for members in groups], count, seed)
        chosen = sorted(index for i in taken for index in groups[i])
        settings = f"{len(taken)} of {len(groups)} groups; val_group={group}, val_share={share}, val_seed={seed}"
    log.info(
        "no folder of validation images: %d of the %d images with masks are held out (%s)",
        len(chosen),
        len(train),
        settings,
    )
    return train.select(chosen)


def refuse_group(group: str | None, where: object) -> None:
    """Refuses ``val_group`` where ``where`` has the validation images.

    Raises:
        ConfigError: it is given.
    """
    if group is not None:
        raise ConfigError(f"val_group={group}: no images are held out, as {where} has those for validation")


def choose_groups(sizes: Sequence[int], count: int, seed: int) -> list[int]:
    """Returns groups of at most ``count`` images together, in a random order, or the smallest group if none fits.

    >>> choose_groups([4, 4, 4, 4], 8, seed=0), choose_groups([9, 5, 7], 2, seed=0)
    ([2, 0], [1])
    """
    taken, room = list[int](), count
    for i in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sizes[i] <= room:
            taken.append(i)
            room -= sizes[i]
    return taken or [int(np.argmin(sizes))]
