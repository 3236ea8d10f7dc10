"""Draws a picture of a data set: some images of each part under the colours of their masks, with a legend."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.errors import DataError
from unimatch.images.arrays import ImageArray
from unimatch.images.pictures import Cell, legend_of, overlay, save_figure, spread_evenly
from unimatch.types import IGNORE_INDEX

COLUMNS = 6

ROWS = {"labelled": 2, "unlabelled": 1, "validation": 1}

SIDE = 320
"""The longer side of each picture, in pixels."""

LEGEND = 64
"""The most classes in the legend."""


def draw_contact_sheet(data: SegmentationData, path: Path, faulty: Mapping[str, Sequence[int]]) -> None:
    """Draws some images of each part as a PNG: first some with faults, then others spread evenly over the part.

    Args:
        data: the data set.
        path: the file to write.
        faulty: indices of the faulty images of each part; their titles are red.
    """
    sources = {"labelled": data.labeled, "unlabelled": data.unlabeled, "validation": data.val}
    cells, seen = [], set[int]()
    for part, source in sources.items():
        bad = set(faulty.get(part, ()))
        for index in choose_images(len(source), ROWS[part] * COLUMNS, faulty.get(part, ())):
            picture, ids = draw_image(source, index, data.info)
            title = f"{part} {class_name(source, index, data.info)}{Path(source.name(index)).name}"
            short = title if len(title) <= 38 else f"{title[:18]}...{title[-17:]}"
            cells.append(Cell(picture, short, "red" if index in bad else "black"))
            seen |= ids
    rows = [cells[i : i + COLUMNS] for i in range(0, max(len(cells), 1), COLUMNS)]
    tallest = max((cell.picture.shape[0] / cell.picture.shape[1] for cell in cells), default=1.0)
    size = (2.4 * COLUMNS, (2.3 * min(tallest, 1) + 0.2) * len(rows) + 1.2)
    shown = sorted(i for i in seen if i < data.info.num_classes)[:LEGEND]
    legend = legend_of(data.info.classes, data.info.colors, shown)
    save_figure(path, rows, legend, columns=COLUMNS, size=size, sizes=(6.5, 7), legend_columns=8, interpolation="auto")


def choose_images(total: int, count: int, faulty: Sequence[int]) -> list[int]:
    """Returns up to ``count`` indices, of which at most half are of faulty images; the rest is spread evenly.

    >>> choose_images(100, 4, faulty=[7, 8, 9])
    [7, 8, 25, 75]
    """
    chosen = list(faulty[: count // 2])
    return list(dict.fromkeys(chosen + spread_evenly(total, count - len(chosen))))


def class_name(source: Source, index: int, info: DatasetInfo) -> str:
    """Returns the class of a whole image followed by a colon; empty if it has none."""
    try:
        label = source.mask(index)
    except DataError:
        return ""
    return "" if label is None or label.ndim else f"{info.classes[int(label)]}: "


def draw_image(source: Source, index: int, info: DatasetInfo) -> tuple[ImageArray, set[int]]:
    """Returns a small picture of an image under its mask, and the ids in the mask; a grey square if it cannot be read.

    Of a pair, the second date is under the mask, to the right of the first one.
    """
    try:
        image = source.image(index)
    except DataError:
        return np.full((SIDE, SIDE, 3), 128, np.uint8), set()
    try:
        mask = source.mask(index)
    except DataError:
        mask = None
    dates = [shrink(date) for date in info.bands.picture(image.reshape(-1, *image.shape[-3:]))]
    ids = set[int]()
    if mask is not None and mask.ndim == 2:
        height, width = dates[-1].shape[:2]
        # A mask of another size is stretched over its image, to make the fault visible.
        stretched = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        dates[-1] = overlay(dates[-1], stretched, info.colors, cover_ignored=True)
        ids = set(np.unique(stretched).tolist()) - {IGNORE_INDEX}
    return np.concatenate(dates, axis=1), ids


def shrink(image: ImageArray) -> ImageArray:
    """Returns an image resized to a longer side of :data:`SIDE` pixels."""
    factor = SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8)
