"""Chooses the size of training views by the size of the images (``crop=auto``)."""

from statistics import median_low

from unimatch.data.check.fitness import sizes_of_some
from unimatch.data.sources.base import SegmentationData
from unimatch.errors import ConfigError

LARGEST = 518
"""The paper's crop for Pascal VOC, ADE20K and COCO, pixels: larger views cost memory and time."""
IMAGES = 20
"""The most labelled, and the most unlabelled images that are read."""


def fitting_side(data: SegmentationData) -> int:
    """Returns the side of the largest square that half of the training images hold, at most :data:`LARGEST` pixels.

    This is the median of their shorter sides. Up to :data:`IMAGES` labelled and unlabelled images each are read, spread
    evenly; those that cannot be read are left out, and refused by the check before training.

    Raises:
        ConfigError: the data set has one class for each image.
    """
    refuse_one_class(data)
    sizes = [size for source in (data.labeled, data.unlabeled) for size in sizes_of_some(source, IMAGES)]
    return min(LARGEST, median_low(map(min, sizes))) if sizes else LARGEST


def refuse_one_class(data: SegmentationData) -> None:
    """Refuses a data set with one class for each image: images are shrunk to their views, whatever their size.

    Raises:
        ConfigError: it is one; the message says what to set instead.
    """
    if data.one_class:
        raise ConfigError(
            "crop=auto (which recipe=few_labels sets): where an image has one class, give the side of its views in "
            "pixels, such as recipe.crop=224, and leave that recipe, which is for masks"
        )


def rounded_down(side: int, multiple: int) -> int:
    """Returns the largest multiple of a number that is not longer than a side, but at least the number.

    >>> rounded_down(360, 14), rounded_down(5, 14)
    (350, 14)
    """
    return max(1, side // multiple) * multiple
