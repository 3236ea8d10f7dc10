"""Reads the true mask of an image, and counts how far a prediction agrees with it."""

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
    """Reads masks of class ids, stored as in the model's data set, and masks in the classes' colours.

    Args:
        facts: of the model.
        dataset: the settings of the data set that the model was trained on, from its checkpoint; empty if unknown.
    """

    def __init__(self, facts: ModelFacts, dataset: Mapping[str, Any]) -> None:
        info: dict[str, Any] = {"name": "the page", "classes": facts.classes, "palette": facts.palette}
        usual: dict[str, Any] = {"ids": {0: 0, 1: 1, 255: 1}} if facts.dates == 2 else {}
        try:
            self.read_ids = mask_reader(DatasetInfo(**info, **(settings_of(dataset) or usual)))
        except (UnimatchError, TypeError, ValueError, OverflowError):  # the checkpoint's settings make no sense
            self.read_ids = mask_reader(DatasetInfo(**info, **usual))
        distinct = len({bytes(color) for color in facts.palette}) == len(facts.palette)
        self.read_colors = mask_reader(DatasetInfo(**info, color_masks=True)) if distinct else None

    def read(self, path: Path, shape: tuple[int, ...]) -> MaskArray:
        """Returns the mask (H, W) uint8 in a file, with 255 for pixels whose class is unknown.

        Raises:
            DataError: the file is no mask of these classes, or the mask does not have this shape (H, W).
        """
        mask = self.read_colors(path) if self.read_colors and is_colored(path) else self.read_ids(path)
        if mask.shape != shape:
            raise DataError(
                f"{path}: has {mask.shape[1]} x {mask.shape[0]} pixels, and the image {shape[1]} x {shape[0]}"
            )
        return mask


def settings_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of a data set's settings that say how its masks store classes."""
    found: dict[str, Any] = {}
    if isinstance(ids := dataset.get("ids"), Mapping):
        found["ids"] = {int(stored): int(meaning) for stored, meaning in ids.items()}
    if dataset.get("reduce_zero_label") is True:
        found["reduce_zero_label"] = True
    if isinstance(ignored := dataset.get("ignore_ids"), (list, tuple)):
        found["ignore_ids"] = frozenset(int(stored) for stored in ignored)
    return found


def is_colored(path: Path) -> bool:
    """Returns whether a mask's file holds colours, without a palette: its channels differ somewhere."""
    with opened(path, "a mask") as image:
        if image.mode not in ("RGB", "RGBA"):
            return False
        pixels = np.asarray(image)
    return bool((pixels[..., :1] != pixels[..., 1:3]).any())


def agreement(prediction: MaskArray, truth: MaskArray, count: int) -> list[dict[str, int]]:
    """Counts the pixels of each class in both masks (intersection) and in either (union).

    Args:
        prediction: (H, W) class ids.
        truth: (H, W) class ids; pixels of 255 are left out.
        count: how many classes there are.

    Returns:
        ``index``, ``both`` and ``either`` of each class that is in at least one of the masks.

    >>> agreement(np.array([[0, 1, 1]], np.uint8), np.array([[0, 0, 255]], np.uint8), 2)
    [{'index': 0, 'both': 1, 'either': 2}, {'index': 1, 'both': 0, 'either': 1}]
    """
    valid = truth != IGNORE_INDEX
    predicted, true = prediction[valid], truth[valid]
    ids = IGNORE_INDEX + 1
    both = np.bincount(true[predicted == true], minlength=ids)
    either = np.bincount(predicted, minlength=ids) + np.bincount(true, minlength=ids) - both
    return [{"index": i, "both": int(both[i]), "either": int(either[i])} for i in range(count) if either[i]]
