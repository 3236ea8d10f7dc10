"""What is wrong with pairs of two dates."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unimatch.data.check.findings import Part
from unimatch.errors import DataError
from unimatch.images import ImageArray, read_image


def differ_in_size(paths: Sequence[Path]) -> bool:
    """Whether the files of an image can each be read, and have different sizes."""
    try:
        return len({read_image(path).shape for path in paths}) > 1
    except DataError:
        return False


def date_faults(name: str, image: ImageArray) -> Iterator[tuple[str, str]]:
    """What the pixels of a pair say of it."""
    if image.ndim == 4 and np.array_equal(image[0], image[1]):
        yield "same dates", f"{name}: both dates have the same pixels"


def share_faults(part: Part) -> Iterator[tuple[str, str]]:
    """What the share of changed pixels says of a part's labels."""
    unchanged, changed = part.pixels[:2].tolist()
    if changed > unchanged:
        yield "mostly changed", f"{100 * changed / (unchanged + changed):.1f} % of the pixels"
