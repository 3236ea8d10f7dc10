"""Predicts whole images by the published rule."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimatch.images.arrays import nearest_multiple
from unimatch.models.base import Model


@torch.no_grad()
def whole_image_logits(model: Model, images: Tensor, scale: float = 1.0) -> Tensor:
    """Predicts logits at the images' own size.

    Images are resized bilinearly (corners aligned) to the nearest multiple of the patch size, and the logits back.

    Args:
        model: in eval mode.
        images: (B, ..., 3, H, W) normalised floats.
        scale: the model sees the images at the multiple nearest to this times their size.

    Returns:
        (B, C, H, W) float32.
    """
    size = tuple(images.shape[-2:])
    fitting = tuple(nearest_multiple(side * scale, model.size_multiple) for side in size)
    if fitting == size:
        return model(images).float()
    flat = F.interpolate(images.flatten(0, -4), fitting, mode="bilinear", align_corners=True)  # both dates of a pair
    logits = model(flat.reshape(*images.shape[:-2], *fitting)).float()
    return F.interpolate(logits, size, mode="bilinear", align_corners=True)
