"""Checks images and masks of the user's own sources each time that they are read, as those of files are."""

from typing import Any

import numpy as np

from unimatch.data.catalog import DatasetInfo
from unimatch.errors import DataError, own_errors_explained
from unimatch.images.arrays import ImageArray, LabelArray
from unimatch.types import IGNORE_INDEX, NO_CLASS
from unimatch.wording import counted


class CheckedSource:
    """Wraps a source of the user's own, and checks that its images and masks are what methods expect.

    All other attributes are those of the source.

    Args:
        source: with the four methods of :class:`unimatch.data.Source`.
        info: the classes.
        one_class: whether an image has one class, instead of one for each pixel.
    """

    def __init__(self, source: Any, info: DatasetInfo, *, one_class: bool) -> None:
        self.source, self.info, self.one_class = source, info, one_class

    def __getattr__(self, name: str) -> Any:
        if name == "source":  # not set yet while this is unpickled
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """Names sample ``index`` in messages."""
        return str(self.source.name(index))

    def image(self, index: int) -> ImageArray:
        """Returns (H, W, 3) uint8 RGB, or (2, H, W, 3), the two dates of a pair; with as many bands as ``info`` says.

        Raises:
            DataError: the source returns something else.
        """
        with own_errors_explained(lambda: self.name(index), foreign=True):
            image = self.source.image(index)
        if fault := image_fault(image, self.info.bands.count):
            raise DataError(f"{self.name(index)}: the image {fault}")
        return image

    def mask(self, index: int) -> LabelArray | None:
        """Returns (H, W) uint8 class ids with 255 for ignored pixels, or () int64; None if there is no label.

        Raises:
            DataError: the source returns something else, or ids of no class.
        """
        with own_errors_explained(lambda: self.name(index), foreign=True):
            label = self.source.mask(index)
        if label is None:
            return None
        if self.one_class and isinstance(label, int):
            label = np.asarray(label)
        if fault := label_fault(label, self.info.num_classes, one_class=self.one_class):
            raise DataError(f"{self.name(index)}: the {'class' if self.one_class else 'mask'} {fault}")
        if not self.one_class:
            return np.asarray(label, np.uint8)
        return None if label == NO_CLASS else np.asarray(label, np.int64)


def image_fault(image: Any, bands: int = 3) -> str | None:
    """Says what is wrong with an image that should be (H, W, bands) or (2, H, W, bands) uint8; None if nothing is."""
    if not isinstance(image, np.ndarray):
        return f"is no NumPy array but {kind(image)}; SegmentationData.from_datasets takes tensors and PIL images"
    if image.dtype.kind == "f":
        return (
            f"is of {image.dtype}, and must be uint8 in 0-255, which is divided by 255 later: where yours lies in "
            "0-1, return (255 * image).round().astype(np.uint8)"
        )
    if image.dtype != np.uint8:
        return f"is of {image.dtype}, and must be uint8 in 0-255; convert it to 8 bits"
    if (
        image.ndim not in (3, 4)
        or image.shape[-1] != bands
        or (image.ndim == 4 and len(image) != 2)
        or 0 in image.shape
    ):
        hint = ""
        if image.ndim == 2:
            hint = "; of a grey one np.repeat(image[..., None], 3, 2)"
        elif image.ndim == 3 and image.shape[0] == bands:
            hint = "; channels are last: image.transpose(1, 2, 0)"
        return f"has the shape {image.shape}, and must be (H, W, {bands}), or (2, H, W, {bands}) for two dates{hint}"
    return None


def label_fault(label: Any, classes: int, *, one_class: bool) -> str | None:
    """Says what is wrong with a mask (H, W) of ids, or with a class (); None if nothing is."""
    if not isinstance(label, (np.ndarray, np.integer)):
        return f"is no NumPy array but {kind(label)}"
    if label.dtype.kind not in "biu":
        return f"is of {label.dtype}, and must hold integers: ids of classes, and {IGNORE_INDEX} for none"
    if label.ndim != (0 if one_class else 2) or 0 in label.shape:
        expected = "(), one class (SegmentationData.one_class)" if one_class else "(H, W), an id for each pixel"
        return f"has the shape {label.shape}, and must have {expected}"
    lowest, highest = int(label.min()), int(label.max())
    if one_class:
        known = lowest == NO_CLASS or 0 <= lowest < classes
        return None if known else f"is {lowest}, and the classes are 0-{classes - 1}"
    limit = classes or IGNORE_INDEX
    if lowest >= 0 and highest < limit:
        return None  # as for nearly all masks, which need no second pass
    values, counts = np.unique(label, return_counts=True)
    wrong = [
        f"id {value} ({counted(number, 'pixel')})"
        for value, number in zip(values.tolist(), counts.tolist(), strict=True)
        if value != IGNORE_INDEX and not 0 <= value < limit
    ]
    if not wrong:
        return None
    listed = ", ".join(wrong[:5]) + (", ..." if len(wrong) > 5 else "")
    return f"holds {listed}, and the classes are 0-{limit - 1}; {IGNORE_INDEX} stands for none"


def kind(value: Any) -> str:
    """Names the type of a value, such as ``torch.Tensor``."""
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
