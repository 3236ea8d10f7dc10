"""Answers the page of a model that predicts masks: segmentation or change detection."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from unimatch.app.files import stored
from unimatch.app.pictures import data_url, mask_url, shown_step
from unimatch.app.time_limit import LimitedEngine, TimeLimit, in_windows
from unimatch.app.truth import Truth, agreement
from unimatch.images.arrays import ImageArray, MaskArray
from unimatch.images.rasters import read_bands, read_dates
from unimatch.inference.predictor import Predictor
from unimatch.types import IGNORE_INDEX


class Masks:
    """Predicts the masks of the images that the page sends.

    Args:
        predictor: the model; it is not changed.
        time_limit: after which a prediction is given up.
        dataset: the settings of the data set that the model was trained on; see :class:`Truth`.
    """

    def __init__(self, predictor: Predictor, time_limit: TimeLimit, dataset: Mapping[str, Any]) -> None:
        self.facts = predictor.facts
        self.engine = LimitedEngine(predictor.engine, time_limit)
        self.predictor = copy(predictor)
        self.predictor.engine = self.engine
        self.predictor.inference = in_windows(predictor.inference)
        self.truth = Truth(self.facts, dataset)
        self.parts = ("image", "second", "truth") if self.facts.dates == 2 else ("image", "truth")
        """The kinds of files that the page may send for one answer."""

    def answer(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """Predicts one image, or one pair, and returns what the page shows of it.

        Returns:
            As data URLs, ``photos``: a JPEG for each date; ``prediction``: a PNG of the same size whose red is the
            class, whose green is the confidence, 0-255 for 0-1, and whose blue is the true class, 255 for none;
            ``mask``: a PNG of class ids at the image's own size. ``classes``: index, share and mean confidence of the
            predicted classes, both in percent, the largest first. ``truth``: the :func:`agreement` with the mask that
            was sent; None without one.

        Raises:
            UnimatchError: a file cannot be read or has too many pixels, or the prediction takes too long.
        """
        self.engine.start()
        with stored(files) as paths:
            image, truth = self.read(paths)
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
        """Reads an image (H, W, bands), or a pair (2, H, W, bands), and its true mask (H, W) if one was sent."""
        if self.facts.dates == 2:
            image = read_dates([paths["image"], paths["second"]], self.facts.bands)
        else:
            image = read_bands(paths["image"], self.facts.bands)
        truth = self.truth.read(paths["truth"], image.shape[-3:-1]) if "truth" in paths else None
        return image, truth


def found_classes(mask: MaskArray, sure: Any) -> list[dict[str, Any]]:
    """Returns share and mean confidence of the classes in a mask, in percent, the largest class first.

    Args:
        mask: (H, W) class ids.
        sure: (H, W) confidences, 0-1.
    """
    counts = np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1)
    sums = np.bincount(mask.ravel(), weights=sure.ravel(), minlength=IGNORE_INDEX + 1)
    return [
        {"index": int(i), "share": 100 * counts[i] / counts.sum(), "confidence": 100 * sums[i] / counts[i]}
        for i in sorted(np.flatnonzero(counts), key=lambda i: -counts[i])
    ]
