"""The classification demo: scikit-learn's 1,797 real handwritten digits; nothing is downloaded."""

from typing import Unpack

import cv2
import numpy as np

from unimatch.data.catalog import DIGITS_CLASSIFICATION
from unimatch.data.sets.digits import digit_part
from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.one_class import ClassArrays
from unimatch.data.splits.per_class import PerClassOptions, choose_images
from unimatch.errors import ConfigError
from unimatch.options import with_options


@with_options(labeled_per_class=4, val_per_class=30)
def digits_classification(*, size: int = 16, **options: Unpack[PerClassOptions]) -> SegmentationData:
    """Returns the digits of 8 x 8 pixels, enlarged: 449 test images, and 1,348 to train on or hold out for validation.

    Args:
        size: height and width in pixels, at least 8.

    Raises:
        ConfigError: a number is out of range.
    """
    if size < 8:
        raise ConfigError(f"size={size}: must be at least 8")
    train, test = (digit_arrays(part, size) for part in ("train", "test"))
    return choose_images(DIGITS_CLASSIFICATION, train, test, options)


def digit_arrays(part: str, size: int) -> ClassArrays:
    """Returns the digits of one part as (size, size, 3) images, bright on dark."""
    strokes, values = digit_part(part == "test")
    images = [cv2.resize(stroke * 255, (size, size), interpolation=cv2.INTER_LINEAR) for stroke in strokes]
    grey = np.stack(images).round().astype(np.uint8)
    return ClassArrays(f"digits_classification/{part}", np.repeat(grey[..., None], 3, axis=3), values)
