"""Reads a mask of what is really there, and counts how far a prediction agrees with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.masks import mask_reader
from unimatch.engines.model_facts import ModelFacts
from unimatch.errors import DataError, UnimatchError
from unimatch.images.arrays import MaskArray, opened
from unimatch.types import IGNORE_INDEX


class Truth:
    """Reads masks as the model's data set stores them, or in the classes' colours.

    Args:
        facts: of the model.
        dataset: the settings of the data set that it was trained on, as its checkpoint says; empty if unknown.
    """

    def __init__(self, facts: ModelFacts, dataset: Mapping[str, Any]) -> None:
        info: dict[str, Any] = {"name": "the page", "classes": facts.classes, "palette": facts.palette}
        usual: dict[str, Any] = {"ids": {0: 0, 1: 1, 255: 1}} if facts.dates == 2 else {}
        try:
            self.of_ids = mask_reader(DatasetInfo(**info, **(settings_of(dataset) or usual)))
        except (UnimatchError, TypeError, ValueError, OverflowError):  # a checkpoint may say anything
            self.of_ids = mask_reader(DatasetInfo(**info, **usual))
        distinct = len({bytes(color) for color in facts.palette}) == len(facts.palette)
        self.of_colors = mask_reader(DatasetInfo(**info, color_masks=True)) if distinct else None

    def read(self, path: Path, shape: tuple[int, ...]) -> MaskArray:
        """Returns the mask (H, W) of a file, 255 where it says nothing.

        Raises:
            DataError: it is no mask of these classes, or not of this shape.
        """
        mask = self.of_colors(path) if self.of_colors and is_colored(path) else self.of_ids(path)
        if mask.shape != shape:
            raise DataError(
                f"{path}: has {mask.shape[1]} x {mask.shape[0]} pixels, and the image {shape[1]} x {shape[0]}"
            )
        return mask


def settings_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how a data set's masks store classes, of what its settings say."""
    found: dict[str, Any] = {}
    if isinstance(ids := dataset.get("ids"), Mapping):
        found["ids"] = {int(stored): int(meaning) for stored, meaning in ids.items()}
    if dataset.get("reduce_zero_label") is True:
        found["reduce_zero_label"] = True
    if isinstance(ignored := dataset.get("ignore_ids"), (list, tuple)):
        found["ignore_ids"] = frozenset(int(stored) for stored in ignored)
    return found


def is_colored(path: Path) -> bool:
    """Returns whether a mask's file holds colours and no palette: its channels differ somewhere."""
    with opened(path, "a mask") as image:
        if image.mode not in ("RGB", "RGBA"):
            return False
        pixels = np.asarray(image)
    return bool((pixels[..., :1] != pixels[..., 1:3]).any())


def agreement(prediction: MaskArray, truth: MaskArray, count: int) -> list[dict[str, int]]:
    """Counts, for each class in either mask, the pixels of both and of at least one; 255 in the truth is left out.

    >>> agreement(np.array([[0, 1, 1]], np.uint8), np.array([[0, 0, 255]], np.uint8), 2)
    [{'index': 0, 'both': 1, 'either': 2}, {'index': 1, 'both': 0, 'either': 1}]
    """
    told = truth != IGNORE_INDEX
    seen, true = prediction[told], truth[told]
    both = np.bincount(true[seen == true], minlength=IGNORE_INDEX + 1)
    each = np.bincount(seen, minlength=IGNORE_INDEX + 1) + np.bincount(true, minlength=IGNORE_INDEX + 1)
    return [
        {"index": i, "both": int(both[i]), "either": int(each[i] - both[i])} for i in range(count) if each[i] - both[i]
    ]
