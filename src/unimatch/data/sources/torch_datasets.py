"""Converts the samples of a PyTorch ``Dataset``, of tensors, arrays or PIL images, to images and labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from unimatch.data.sources.base import MapDataset
from unimatch.data.sources.checked import kind
from unimatch.errors import DataError
from unimatch.images.bands import PHOTOS, Bands

IMAGE_KEYS = ("image", "pixel_values")
"""Possible keys of the image in a sample that is a dictionary."""
LABEL_KEYS = ("mask", "label", "labels")
"""Possible keys of its mask or class."""


class DatasetSource:
    """Images of a PyTorch ``Dataset`` and their masks or classes; other parts of its samples are left out.

    Args:
        dataset: its samples are an image, a tuple of an image and a mask or class, or a dictionary of these.
        part: its name in messages.
        bands: what the bands of its images mean.

    >>> import torch
    >>> source = DatasetSource([(torch.ones(3, 2, 4), torch.zeros(1, 2, 4, dtype=torch.int64))], "labeled")
    >>> source.name(0), source.image(0).shape, int(source.image(0).max()), source.mask(0).shape
    ('labeled[0]', (2, 4, 3), 255, (2, 4))
    """

    def __init__(self, dataset: MapDataset, part: str, bands: Bands = PHOTOS) -> None:
        self.dataset, self.part, self.bands = dataset, part, bands
        self._last: tuple[int, Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """Names sample ``index`` in messages."""
        return f"{self.part}[{index}]"

    def image(self, index: int) -> Any:
        """Returns the image as an array with its channels last."""
        image, name = self._sample(index)[0], self.name(index)
        return to_image(image, name) if self.bands.photos else to_levels(image, name, self.bands)

    def mask(self, index: int) -> Any:
        """Returns the mask or class as an array; None if there is none."""
        label = self._sample(index)[1]
        if label is None:
            return None
        if isinstance(label, Image.Image) and label.mode not in ("1", "L", "P") and not label.mode.startswith("I"):
            raise DataError(f"{self.name(index)}: the mask is an image of mode {label.mode}, and must hold class ids")
        array = to_array(label)
        if array.dtype.kind == "f" and array.size and array.max() <= 1:
            raise DataError(
                f"{self.name(index)}: the mask is of {array.dtype} in 0-1, and must hold ids as integers: "
                "torchvision's ToTensor divides by 255, PILToTensor does not"
            )
        return array[0] if array.ndim == 3 and len(array) == 1 else array

    def _sample(self, index: int) -> tuple[Any, Any]:
        """Returns image and label; successive calls for one index return the same sample, even of a random dataset."""
        if self._last is None or self._last[0] != index:
            self._last = (index, *self._split(self.dataset[index], index))
        return self._last[1:]

    def _split(self, sample: Any, index: int) -> tuple[Any, Any]:
        if isinstance(sample, (tuple, list)) and sample:
            return sample[0], sample[1] if len(sample) > 1 else None
        if isinstance(sample, Mapping):
            image = next((sample[key] for key in IMAGE_KEYS if key in sample), None)
            if image is None:
                raise DataError(f"{self.name(index)}: has {', '.join(map(str, sample))}, but no {IMAGE_KEYS[0]}")
            return image, next((sample[key] for key in LABEL_KEYS if key in sample), None)
        return sample, None


def to_array(value: Any) -> NDArray[Any]:
    """Returns a PIL image or any tensor, also a sparse one or one of a type that NumPy lacks, as an array."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    dense = value.detach().cpu().to_dense()
    return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()


def to_image(image: Any, name: str) -> NDArray[Any]:
    """Returns a tensor, an array or a PIL image as an array (..., H, W, 3), uint8 if it was uint8 or floats in 0-1.

    Raises:
        DataError: it is no image, has no pixels, or holds floats outside 0-1.
    """
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{name}: the image has more than 8 bits a channel ({image.mode}); convert it to 8")
        return np.asarray(image.convert("RGB"))
    if not isinstance(image, (torch.Tensor, np.ndarray)):
        raise DataError(f"{name}: the image is no tensor, array or PIL image but {kind(image)}")
    array = to_array(image)
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"{name}: the image has the shape {array.shape}, and must be (3, H, W) or (H, W, 3)")
    if array.ndim == 2:
        array = array[None]
    if array.ndim >= 3 and array.shape[-3] in (1, 3) and (array.shape[-1] != 3 or isinstance(image, torch.Tensor)):
        array = np.moveaxis(array, -3, -1)
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    if array.shape[-1] != 3:
        raise DataError(
            f"{name}: the image has the shape {array.shape}, and must be (3, H, W) or (H, W, 3); of images of other "
            "bands than red, green and blue say what they mean: bands=Bands(...)"
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise DataError(
                f"{name}: the image holds floats from {array.min():.3g} to {array.max():.3g}, and must lie in 0-1, as "
                "ToTensor gives it, or be uint8; leave out Normalize, which is done later"
            )
        array = (array * 255).round().astype(np.uint8)
    return np.ascontiguousarray(array)


def to_levels(image: Any, name: str, bands: Bands) -> NDArray[np.uint8]:
    """Returns a tensor (..., N, H, W), an array (..., H, W, N) or a PIL image, of any type, as levels (..., H, W, C).

    Raises:
        DataError: it is no image, or does not fit ``bands``.
    """
    if not isinstance(image, (torch.Tensor, np.ndarray, Image.Image)):
        raise DataError(f"{name}: the image is no tensor, array or PIL image but {kind(image)}")
    array = to_array(image)
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim > 2 and isinstance(image, torch.Tensor):
        array = np.moveaxis(array, -3, -1)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"{name}: the image has the shape {array.shape}, and must be (N, H, W), or (H, W, N) as an array"
        )
    if array.ndim == 4:  # two dates
        return np.stack([bands.levels(bands.choose(date, name), name) for date in array])
    return bands.levels(bands.choose(array, name), name)
