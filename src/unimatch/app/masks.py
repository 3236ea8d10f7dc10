"""Answers the page of a model that gives masks: segmentation, and what has changed between two dates."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from unimatch.app.files import read
from unimatch.app.patience import Impatient, Patience, in_windows
from unimatch.app.pictures import data_url, mask_url, shown_step
from unimatch.app.truth import Truth, agreement
from unimatch.images.arrays import ImageArray, MaskArray
from unimatch.images.rasters import read_bands, read_dates
from unimatch.inference.predictor import Predictor
from unimatch.types import IGNORE_INDEX


class Masks:
    """Predicts what the page sends.

    Args:
        predictor: of the model; it stays as it is.
        patience: which may end a prediction.
        dataset: the settings of the data set that the model was trained on; see :class:`Truth`.
    """

    def __init__(self, predictor: Predictor, patience: Patience, dataset: Mapping[str, Any]) -> None:
        self.facts, self.predictor = predictor.facts, copy(predictor)
        self.predictor.engine = self.engine = Impatient(predictor.engine, patience)
        self.predictor.inference = in_windows(predictor.inference)
        self.truth = Truth(self.facts, dataset)
        self.parts = ("image", *(["second"] if self.facts.dates == 2 else []), "truth")
        """The files that the page may send for one answer."""

    def answer(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """Predicts one image, or one pair, and returns what the page shows of it.

        Returns:
            ``photos``, a JPEG for each date; ``prediction``, a PNG of the same size whose red is the class, whose green
            is the confidence, 0-255 for 0-1, and whose blue is the true class, 255 for none; ``mask``, a PNG of class
            ids at the image's own size; all as data URLs. ``classes``: index, share and mean confidence of those found,
            the largest first, in percent. ``truth``, of a mask that was sent: see :func:`agreement`; else None.

        Raises:
            UnimatchError: a file cannot be read, or has too many pixels.
        """
        self.engine.begin()
        image, truth = read(files, self.read)
        prediction = self.predictor.predict_batch([image], confidence=True)[0]
        sure = prediction.confidence
        assert sure is not None
        step = shown_step(sure.shape)
        shown = (slice(None, None, step), slice(None, None, step))
        ids, levels = prediction.mask[shown], np.rint(sure[shown] * 255).astype(np.uint8)
        true = np.full_like(ids, IGNORE_INDEX) if truth is None else truth[shown]
        dates = image if self.facts.dates == 2 else image[None]
        return {
            "photos": [data_url(self.facts.bands.picture(date[shown]), "JPEG") for date in dates],
            "prediction": data_url(np.stack([ids, levels, true], axis=-1), "PNG"),
            "mask": mask_url(prediction.mask, self.facts.palette),
            "classes": found_classes(prediction.mask, sure),
            "truth": None if truth is None else agreement(prediction.mask, truth, len(self.facts.classes)),
        }

    def read(self, paths: dict[str, Path]) -> tuple[ImageArray, MaskArray | None]:
        """Reads the image or the pair, and the mask if there is one."""
        if self.facts.dates == 2:
            image = read_dates([paths["image"], paths["second"]], self.facts.bands)
        else:
            image = read_bands(paths["image"], self.facts.bands)
        return image, self.truth.read(paths["truth"], image.shape[-3:-1]) if "truth" in paths else None


def found_classes(mask: MaskArray, sure: Any) -> list[dict[str, Any]]:
    """Returns share and mean confidence of the classes in a mask, in percent, the largest first."""
    counts = np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1)
    sums = np.bincount(mask.ravel(), weights=sure.ravel(), minlength=IGNORE_INDEX + 1)
    return [
        {"index": int(i), "share": 100 * counts[i] / counts.sum(), "confidence": 100 * sums[i] / counts[i]}
        for i in sorted(np.flatnonzero(counts), key=lambda i: -counts[i])
    ]
