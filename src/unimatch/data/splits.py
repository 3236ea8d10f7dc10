"""Which training images are labelled: chosen by number and seed, or read from list files."""

from pathlib import Path

import numpy as np

from unimatch.data.sources import FilePair
from unimatch.errors import ConfigError, DataError


def choose_labeled(total: int, labeled: int | None, seed: int) -> tuple[list[int], list[int]]:
    """Split ``range(total)`` into labelled and remaining indices, both ascending.

    One seeded order serves every size, so that the 12 labelled images of a seed are among its 24.

    Args:
        total: number of images that have a mask.
        labeled: how many of them to use as labelled; None for all.
        seed: of the order.

    Raises:
        ConfigError: ``labeled`` is below 1 or above ``total``.

    >>> choose_labeled(5, 2, seed=0)
    ([2, 4], [0, 1, 3])
    """
    if labeled is None:
        labeled = total
    if labeled < 1:
        raise ConfigError(f"dataset.labeled={labeled}: at least one labelled image is needed")
    if labeled > total:
        raise ConfigError(f"dataset.labeled={labeled}: the data set has only {total} images with a mask")
    order = np.random.default_rng(seed).permutation(total).tolist()
    return sorted(order[:labeled]), sorted(order[labeled:])


def read_list(path: Path, root: Path, *, masks: bool) -> list[FilePair]:
    """Read a list in the published format: ``image_path mask_path`` a line, relative to ``root``.

    Args:
        path: the list file.
        root: the folder its paths are relative to.
        masks: whether each line must name a mask; if False masks are read where they are named and exist.

    Raises:
        DataError: the list cannot be read, is empty, or a line is not of that form or names a missing file.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list cannot be read ({error})") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) > 2 or (masks and len(parts) < 2):
            form = "'image_path mask_path'" if masks else "'image_path' or 'image_path mask_path'"
            raise DataError(f"{path}, line {number}: expected {form}, found {line!r}")
        image = root / parts[0]
        mask = root / parts[1] if len(parts) == 2 else None
        if not image.is_file():
            raise DataError(f"{path}, line {number}: no such image: {image}")
        if mask is not None and not mask.is_file():
            if masks:
                raise DataError(f"{path}, line {number}: no such mask: {mask}")
            mask = None  # unlabelled lists may name masks that were never published
        pairs.append(FilePair(image, mask))
    if not pairs:
        raise DataError(f"{path}: the list is empty")
    return pairs
