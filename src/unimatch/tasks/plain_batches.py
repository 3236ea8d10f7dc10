"""Reads the batches of any data loader: stacked tensors, in a tuple or a dictionary or alone, or lists of samples."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unimatch.errors import DataError
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.tensors import normalize

log = logging.getLogger("unimatch")

HIGHEST = 10
"""More than any value of a normalised image that has none below 0: white is 2.6 with ImageNet's mean and deviation."""


def samples_of(batch: Any, bands: Bands = PHOTOS) -> list[dict[str, Tensor]]:
    """Returns a batch's samples: each an image (..., H, W) of normalised floats and a label (*S) int64.

    Args:
        batch: a list of samples, as our data module gives it; or stacked tensors, as ``{"image": ..., "label": ...}``
            (or ``mask``) or ``(images, labels)``. uint8 images are normalised here, floats must be normalised already.
        bands: how the model's images are normalised.

    Raises:
        DataError: images or labels are missing or of the wrong type, or labels are not whole numbers.
    """
    if not isinstance(batch, Mapping) and len(batch) and isinstance(batch[0], Mapping):
        return [prepare_sample(sample["image"], sample["label"], sample, bands) for sample in batch]
    images, labels = images_of(batch), None
    if isinstance(batch, Mapping):
        labels = batch.get("label", batch.get("mask"))
    elif not isinstance(batch, Tensor) and len(batch) > 1:
        labels = batch[1]
    if labels is None:
        raise DataError("an evaluation batch has no labels: give {'image': ..., 'label': ...} or (images, labels)")
    return [prepare_sample(image, label, {}, bands) for image, label in zip(images, labels, strict=True)]


def prepare_sample(image: Tensor, label: Tensor, others: Mapping[str, Any], bands: Bands) -> dict[str, Any]:
    """Returns a sample with a normalised image, an int64 label, and the ``others`` of its entries unchanged."""
    ids = label.long()
    if label.is_floating_point() and not torch.equal(ids.to(label.dtype), label):
        raise DataError("the labels of an evaluation batch hold fractions: they must be ids of classes, whole numbers")
    return {**others, "image": as_floats(image, bands), "label": ids}


def images_of(batch: Any) -> Any:
    """Returns the images of a batch unchanged: a tensor (B, ..., H, W), or a list of single images (..., H, W).

    Raises:
        DataError: the batch holds no images, or they are not tensors.
    """
    images = batch
    if isinstance(batch, Mapping):
        if "image" not in batch:
            raise DataError(f"a batch has {', '.join(map(str, batch))}, but no image")
        images = batch["image"]
    elif isinstance(batch, (list, tuple)) and batch:
        images = [sample["image"] for sample in batch] if isinstance(batch[0], Mapping) else batch[0]
    if not all(isinstance(image, Tensor) for image in (images if isinstance(images, list) else [images])):
        raise DataError(
            f"the images of a batch must be tensors, and this batch is {type(batch).__name__} with "
            f"{type(images).__name__} in their place; unimatch.Predictor reads files"
        )
    return images


def as_floats(images: Any, bands: Bands = PHOTOS) -> Tensor:
    """Returns uint8 images (0-255) normalised as our data module does it, and floats unchanged.

    Raises:
        DataError: they are no tensor, or of another type, such as int64: nothing says then what their values mean.
    """
    if not isinstance(images, Tensor):
        raise DataError(
            f"images must be a tensor, and this is {type(images).__name__}; unimatch.Predictor takes arrays and files"
        )
    if images.dtype == torch.uint8:
        return normalize(images, bands)
    if not images.is_floating_point():
        raise DataError(
            f"images of {str(images.dtype).removeprefix('torch.')}: must be uint8 in 0-255, which are normalised here, "
            "or normalised floats; images.to(torch.uint8) converts whole numbers in 0-255"
        )
    return images


def for_model(images: Tensor, model: nn.Module) -> Tensor:
    """Returns images in the type of the model's weights, such as bfloat16 with ``precision=bf16-true``."""
    return images.to(next(model.parameters()).dtype)


def warn_unless_normalized(images: Any) -> None:
    """Warns if the first image holds floats in 0-1, as ``ToTensor`` makes them, or in 0-255: scores would be useless.

    A normalised image that is bright everywhere has no value below 0 either, but it has values above 1.
    """
    first = images[0]
    if not first.is_floating_point():
        return
    low, high = (float(value) for value in first.aminmax())
    if low >= 0 and (0 < high <= 1 or high > HIGHEST):
        log.warning(
            "the first image's values lie between %.3g and %.3g: it looks as if it were not normalised with the mean "
            "and deviation that the model was trained with; unimatch.images.tensors.normalize does it with ImageNet's, "
            "for values in 0-255 (uint8 images are normalised here)",
            low,
            high,
        )


@contextmanager
def label_errors_explained(scores: Tensor, label: Tensor, ignore_index: int) -> Iterator[None]:
    """Refuses a label of another shape than the scores, and explains an error of counting if it is the label's fault.

    Args:
        scores: (C, *S).
        label: (*S) class ids.
        ignore_index: the id that does not count.

    Raises:
        DataError: saying what is wrong with the label.
    """
    if label.shape != scores.shape[1:]:
        if scores.ndim == 1:
            raise DataError(
                f"a label has the shape {tuple(label.shape)}, and an image has one class: give one id for each"
            )
        raise DataError(
            f"a label has the shape {tuple(label.shape)}, and its image needs {tuple(scores.shape[1:])}: an id for "
            "each pixel, as many rows and columns as the image, without a dimension for channels"
        )
    try:
        yield
    except (RuntimeError, IndexError, ValueError) as error:
        wrong = label[(label != ignore_index) & ((label < 0) | (label >= len(scores)))]
        if not wrong.numel():
            raise
        raise DataError(
            f"a label holds the id {wrong[0].item()}, and the model has {len(scores)} classes: ids are 0 to "
            f"{len(scores) - 1}, and {ignore_index} for what does not count"
        ) from error
