"""Counts and names the values that masks store, and packs colours into numbers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unimatch.images.arrays import strips
from unimatch.wording import counted

MOST_IDS = 4096
"""The most different ids of a mask that are counted; a file with more holds no classes."""

TOO_MANY = (
    f"more than {MOST_IDS:,} different ids: is it a photo, a map of heights or of single objects? A mask stores the "
    "ids of classes"
)

SHOWN = 5
"""How many ids or colours a message names."""


def count_ids(ids: NDArray[np.integer]) -> dict[int, int] | None:
    """Returns the pixels of each id, by id; None if there are more than :data:`MOST_IDS` different ids.

    >>> count_ids(np.array([[7, 7, 0], [0, 7, 300]]))
    {0: 2, 7: 3, 300: 1}
    """
    found, flat = Counter[int](), ids.reshape(-1)
    for piece in strips(ids.size, 1):
        values, counts = np.unique(flat[piece], return_counts=True)
        if len(values) > MOST_IDS:
            return None
        found.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        if len(found) > MOST_IDS:
            return None
    return dict(sorted(found.items()))


def listing(names: Sequence[str], counts: Sequence[int], number: int | None = None) -> str:
    """Lists the first :data:`SHOWN` names, each with its number of pixels, and says how many others there are.

    Args:
        names: all names, or at least those to list.
        counts: the pixels of each name.
        number: how many names there are altogether; None if ``names`` has all of them.

    >>> listing(["id 7", "id 9"], [12, 1])
    'id 7 (12 pixels), id 9 (1 pixel)'
    """
    parts = [f"{name} ({counted(count, 'pixel')})" for name, count in zip(names[:SHOWN], counts[:SHOWN], strict=True)]
    others = (len(names) if number is None else number) - len(parts)
    return ", ".join(parts) + (f" and {others} more" if others else "")


def pack(colors: NDArray[np.integer]) -> NDArray[np.integer]:
    """Packs colours (..., 3) RGB into numbers (...), ``0xRRGGBB``.

    >>> [hex(code) for code in pack(np.array([[1, 2, 3]]))]
    ['0x10203']
    """
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def unpack(codes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Unpacks numbers (N,), ``0xRRGGBB``, into colours (N, 3) RGB.

    >>> unpack(np.array([0x10203])).tolist()
    [[1, 2, 3]]
    """
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
