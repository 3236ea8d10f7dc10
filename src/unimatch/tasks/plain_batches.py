"""Batches of any data loader: stacked tensors, alone, in a tuple or a dictionary, or lists of single samples."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unimatch.errors import DataError
from unimatch.tensors import normalize


def samples_of(batch: Any) -> list[dict[str, Tensor]]:
    """Returns a batch's samples: each an image (..., H, W) of normalised floats and a label (*S) int64.

    Args:
        batch: a list of samples, as our data module has it; or stacked: ``{"image": ..., "label": ...}`` (or ``mask``)
            or ``(images, labels)``. Images that are uint8 are normalised, floats are taken to be so.

    Raises:
        DataError: there are no images or no labels.
    """
    if not isinstance(batch, Mapping) and len(batch) and isinstance(batch[0], Mapping):
        return [prepared(sample["image"], sample["label"], sample) for sample in batch]
    images, labels = images_of(batch), None
    if isinstance(batch, Mapping):
        labels = batch.get("label", batch.get("mask"))
    elif not isinstance(batch, Tensor) and len(batch) > 1:
        labels = batch[1]
    if labels is None:
        raise DataError("an evaluation batch has no labels: give {'image': ..., 'label': ...} or (images, labels)")
    return [prepared(image, label, {}) for image, label in zip(images, labels, strict=True)]


def prepared(image: Tensor, label: Tensor, others: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a sample with its image normalised, unless it is so, and its label int64."""
    return {**others, "image": as_floats(image), "label": label.long()}


def images_of(batch: Any) -> Any:
    """Returns the images of a batch as they are: a tensor (B, ..., H, W), or a list of single ones (..., H, W)."""
    if isinstance(batch, Mapping):
        if "image" not in batch:
            raise DataError(f"a batch has {', '.join(map(str, batch))}, but no image")
        return batch["image"]
    if isinstance(batch, (list, tuple)) and batch:
        return [sample["image"] for sample in batch] if isinstance(batch[0], Mapping) else batch[0]
    return batch


def as_floats(images: Tensor) -> Tensor:
    """Returns images normalised: uint8 in 0-255 as our data module does it, floats as they are."""
    return normalize(images) if images.dtype == torch.uint8 else images
