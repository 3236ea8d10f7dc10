"""A picture of a data set: images of every part under the colours of their masks, with a legend."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.errors import DataError
from unimatch.images import ImageArray, MaskArray, colorize
from unimatch.types import IGNORE_INDEX

COLUMNS = 6

ROWS = {"labelled": 2, "unlabelled": 1, "validation": 1}

SIDE = 320
"""Longer side of each picture, pixels."""

LEGEND = 64
"""Classes named below the pictures, at most."""


def draw_contact_sheet(data: SegmentationData, path: Path, faulty: Mapping[str, Sequence[int]]) -> None:
    """Draw some images of each part, those with faults first, the others spread evenly over the part.

    Args:
        data: the data set.
        path: of the PNG.
        faulty: indices of the images with faults of each part; their names are red.
    """
    sources = {"labelled": data.labeled, "unlabelled": data.unlabeled, "validation": data.val}
    cells = [
        (part, source, index, index in set(faulty.get(part, ())))
        for part, source in sources.items()
        for index in choose_images(len(source), ROWS[part] * COLUMNS, faulty.get(part, ()))
    ]
    rows = max(1, -(-len(cells) // COLUMNS))
    drawn = [draw_image(source, index, data.info) for _, source, index, _ in cells]
    tallest = max((picture.shape[0] / picture.shape[1] for picture, _ in drawn), default=1.0)
    size = (2.4 * COLUMNS, (2.3 * min(tallest, 1) + 0.2) * rows + 1.2)
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    seen = set[int]().union(*(ids for _, ids in drawn))
    for axis, (part, source, index, bad), (picture, _) in zip(axes, cells, drawn, strict=False):
        axis.imshow(picture)
        title = f"{part} {class_name(source, index, data.info)}{Path(source.name(index)).name}"
        axis.set_title(
            title if len(title) <= 38 else f"{title[:18]}...{title[-17:]}",
            fontsize=6.5,
            color="red" if bad else "black",
        )
    for axis in axes:
        axis.axis("off")
    handles = []
    for i in sorted(i for i in seen if i < data.info.num_classes)[:LEGEND]:
        red, green, blue = data.info.palette[i]
        color = (red / 255, green / 255, blue / 255)
        handles.append(mpl.patches.Patch(facecolor=color, edgecolor="0.5", label=data.info.classes[i]))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=7, frameon=False)
    figure.savefig(path)


def choose_images(total: int, count: int, faulty: Sequence[int]) -> list[int]:
    """Up to ``count`` indices: at most half of them faulty ones, the rest spread evenly.

    >>> choose_images(100, 4, faulty=[7, 8, 9])
    [7, 8, 25, 75]
    """
    chosen = list(faulty[: count // 2])
    number = min(count - len(chosen), total)
    return list(dict.fromkeys(chosen + [(2 * i + 1) * total // (2 * number) for i in range(number)]))


def class_name(source: Source, index: int, info: DatasetInfo) -> str:
    """The class of an image as a whole and what stands before the next word; nothing where there is none."""
    try:
        label = source.mask(index)
    except DataError:
        return ""
    return "" if label is None or label.ndim else f"{info.classes[int(label)]}: "


def draw_image(source: Source, index: int, info: DatasetInfo) -> tuple[ImageArray, set[int]]:
    """One image under its mask, made small, and the ids in the mask; a grey square where it cannot be read.

    Of a pair of dates the first stands left of the second, which is under the mask.
    """
    try:
        image = source.image(index)
    except DataError:
        return np.full((SIDE, SIDE, 3), 128, np.uint8), set()
    try:
        mask = source.mask(index)
    except DataError:
        mask = None
    dates = [shrink(date) for date in image.reshape(-1, *image.shape[-3:])]
    ids = set[int]()
    if mask is not None and mask.ndim == 2:
        height, width = dates[-1].shape[:2]
        # A mask of another size is stretched over its image, so that the fault can be seen.
        stretched = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        dates[-1], ids = overlay(dates[-1], stretched, info), set(np.unique(stretched).tolist()) - {IGNORE_INDEX}
    return np.concatenate(dates, axis=1), ids


def shrink(image: ImageArray) -> ImageArray:
    """An image with a longer side of :data:`SIDE`."""
    factor = SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8)


def overlay(image: ImageArray, mask: MaskArray, info: DatasetInfo) -> ImageArray:
    """An image half covered by the colours of its classes, and by white where pixels are ignored.

    >>> image, mask = np.zeros((1, 2, 3), np.uint8), np.array([[0, 255]], np.uint8)
    >>> overlay(image, mask, DatasetInfo("x", ("a",), ((20, 40, 60),))).tolist()
    [[[10, 20, 30], [127, 127, 127]]]
    """
    return ((image.astype(np.uint16) + colorize(mask, info.palette)) // 2).astype(np.uint8)
