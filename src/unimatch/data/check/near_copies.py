"""Finds images that look alike: copies that were saved again or resized, and neighbouring frames of a video."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from unimatch.data.sources.base import Source
from unimatch.images.arrays import ImageArray

SIDE, CLOSER_SIDE = 16, 64
ALIKE, CLOSER_ALIKE = 0.99, 0.97
"""Images look alike if thumbnails of these sides have at least these correlations.

On CamVid and the nuclei of the Data Science Bowl, images of different parts reach 0.965 and 0.932 at most. Copies saved
as JPEG of quality 75, also at a third of the size, reach at least 0.993 and 0.976; a few WebP of low contrast do not.
"""
LEAST_CONTRAST = 1 / 255
"""The least standard deviation of a thumbnail, as a share of its highest value; blank images are not compared."""
ROWS = 4096
"""How many images are compared at once."""

Thumbnail = NDArray[np.float16]


def thumbnail(image: ImageArray, side: int = SIDE) -> Thumbnail | None:
    """Returns a small grey image as a vector of mean 0 and length 1; None for a blank image.

    Args:
        image: (H, W, channels), or (2, H, W, channels) for a pair of dates.
        side: of the small image.
    """
    dates = image if image.ndim == 4 else image[None]
    if image.dtype != np.uint8 or image.shape[-1] > 4:  # which OpenCV cannot resize, or where numbers may be missing
        dates = np.nan_to_num(dates.astype(np.float32), posinf=0.0, neginf=0.0).mean(-1)
    resized = [cv2.resize(date, (side, side), interpolation=cv2.INTER_AREA).reshape(side, side, -1) for date in dates]
    small = np.stack(resized).astype(np.float32).mean(-1)
    centred = small - small.mean()
    length = float(np.linalg.norm(centred))
    if length <= LEAST_CONTRAST * float(np.abs(small).max()) * small.size**0.5:
        return None
    return (centred.ravel() / length).astype(np.float16)


def look_alike(
    source: Source,
    held: Source,
    thumbnails: Sequence[Thumbnail | None],
    held_thumbnails: Sequence[Thumbnail | None],
    part: str,
) -> Iterator[tuple[str, str]]:
    """Yields images of ``held``, the part called ``part``, that look like an image of ``source`` but differ from it."""
    rows, small = stacked(thumbnails)
    columns, held_small = stacked(held_thumbnails)
    best, partner = np.full(len(columns), -1.0, np.float32), np.zeros(len(columns), np.int64)
    for start in range(0, len(rows) if columns else 0, ROWS):
        block = small[start : start + ROWS].astype(np.float32) @ held_small.astype(np.float32).T
        highest, top = block.max(0), block.argmax(0)
        partner = np.where(highest > best, top + start, partner)
        best = np.maximum(highest, best)
    for j, correlation, row in zip(columns, best, partner, strict=True):
        if correlation >= ALIKE and are_alike(source.image(rows[row]), held.image(j)):
            yield "near copy", f"{source.name(rows[row])}: looks like the {part} image {held.name(j)}"


def stacked(thumbnails: Sequence[Thumbnail | None]) -> tuple[list[int], Thumbnail]:
    """Returns the indices of the images that are not blank, and their thumbnails as rows."""
    found = [(i, small) for i, small in enumerate(thumbnails) if small is not None]
    return [i for i, _ in found], np.array([small for _, small in found], np.float16)


def are_alike(image: ImageArray, other: ImageArray) -> bool:
    """Tells whether two images look alike also when they are compared more closely, and are not the same."""
    closer, other_closer = thumbnail(image, CLOSER_SIDE), thumbnail(other, CLOSER_SIDE)
    if closer is None or other_closer is None or np.array_equal(image, other):
        return False
    return float(closer.astype(np.float32) @ other_closer.astype(np.float32)) >= CLOSER_ALIKE
