"""Whole-image prediction by the published rule."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimatch.images import nearest_multiple
from unimatch.models.networks import Model


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
    size = (images.shape[-2], images.shape[-1])
    fitting = (
        nearest_multiple(size[0] * scale, model.size_multiple),
        nearest_multiple(size[1] * scale, model.size_multiple),
    )
    if fitting != size:
        flat = F.interpolate(
            images.flatten(0, -4), fitting, mode="bilinear", align_corners=True
        )  # both dates of a pair
        images = flat.reshape(*images.shape[:-2], *fitting)
    logits = model(images).float()
    if fitting != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=True)
    return logits
