"""Converts images of any accepted kind to arrays, without PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unimatch.errors import DataError
from unimatch.images.arrays import ImageArray
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.rasters import read_bands

FEW_BANDS = 32
"""An array (H, W, N) with at most this many rows and more than this many bands is probably (N, H, W)."""


def is_tensor(image: Any) -> bool:
    """Tells whether something is a PyTorch tensor, without importing PyTorch."""
    return type(image).__module__.split(".")[0] == "torch"


def to_arrays(image: Any, dates: int, bands: Bands = PHOTOS) -> ImageArray:
    """Converts one image by :func:`to_array`, or one image for each date, stacked along a new first axis.

    Raises:
        DataError: not an image, or not ``dates`` images of one size.
    """
    if dates == 1:
        return to_array(image, bands)
    found = [] if isinstance(image, (str, Path, Image.Image)) else [to_array(date, bands) for date in image]
    if len(found) != dates or len({date.shape for date in found}) > 1:
        raise DataError(f"this model needs {dates} images of one size as one, such as a (2, H, W, 3) array")
    return np.stack(found)


def to_array(image: Any, bands: Bands = PHOTOS) -> ImageArray:
    """Converts an image of any accepted kind to (H, W, 3) uint8 RGB, or to levels of the bands, (H, W, C) uint8.

    Raises:
        DataError: not an image.
    """
    if isinstance(image, (str, Path)):
        return read_bands(Path(image), bands)
    if not bands.photos:
        stored = image.detach().cpu().numpy() if is_tensor(image) else np.asarray(image)
        if stored.ndim == 2:
            stored = stored[..., None]
        elif is_tensor(image):
            stored = np.moveaxis(stored, 0, -1)
        if stored.ndim != 3 or 0 in stored.shape:
            raise DataError(f"an image must be (H, W, N), or (N, H, W) for tensors; this one is {stored.shape}")
        first, _, last = stored.shape
        if bands.bands is not None and max(bands.bands) <= first <= FEW_BANDS < last and not is_tensor(image):
            raise DataError(
                f"an image must be (H, W, N), and this one, {stored.shape}, looks like (N, H, W), as rasterio reads "
                "it: give np.moveaxis(image, 0, -1); if it has so few rows, give it as a tensor (N, H, W)"
            )
        return bands.levels(bands.choose(stored, "the image"), "the image")
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if is_tensor(image):
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array[..., None]
    else:
        array = np.asarray(image)
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise DataError(
            f"an image must be (H, W, 3) or (H, W) for arrays and (3, H, W) for tensors, uint8 in 0-255; this one is "
            f"{tuple(getattr(image, 'shape', ()))} of {getattr(image, 'dtype', type(image).__name__)}"
        )
    return array
