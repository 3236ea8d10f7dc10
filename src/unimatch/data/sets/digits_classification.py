"""The embedded data set of classification: scikit-learn's 1,797 real handwritten digits, nothing downloaded."""

import cv2
import numpy as np

from unimatch.data.catalog import DIGITS_CLASSIFICATION
from unimatch.data.sets.digits import digit_part
from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.one_class import ClassArrays
from unimatch.data.splits.per_class import Pool, choose_images
from unimatch.errors import ConfigError


def digits_classification(
    *,
    size: int = 16,
    labeled_per_class: int | None = 4,
    split_seed: int = 0,
    val_per_class: int = 30,
    unlabeled: Pool = "train",
) -> SegmentationData:
    """The digits of 8 x 8 pixels, enlarged: 1,348 to train on and to hold out of, 449 to test.

    Args:
        size: height and width in pixels, at least 8.
        labeled_per_class: see :func:`unimatch.data.splits.per_class.choose_images`, as for the arguments that follow.
        split_seed: likewise.
        val_per_class: likewise.
        unlabeled: likewise.

    Raises:
        ConfigError: a number that cannot be.
    """
    if size < 8:
        raise ConfigError(f"dataset.size={size}: must be at least 8")
    train, test = (digit_arrays(part, size) for part in ("train", "test"))
    return choose_images(
        DIGITS_CLASSIFICATION,
        train,
        test,
        labeled_per_class=labeled_per_class,
        split_seed=split_seed,
        val_per_class=val_per_class,
        unlabeled=unlabeled,
    )


def digit_arrays(part: str, size: int) -> ClassArrays:
    """The digits of one part, bright on dark."""
    strokes, values = digit_part(part == "test")
    images = [cv2.resize(stroke * 255, (size, size), interpolation=cv2.INTER_LINEAR) for stroke in strokes]
    grey = np.stack(images).round().astype(np.uint8)
    return ClassArrays(f"digits_classification/{part}", np.repeat(grey[..., None], 3, axis=3), values)
