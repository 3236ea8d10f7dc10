"""Computes cross-entropy and pseudo labels by compiled code, a few whole images at a time: for a GPU.

It replaces :mod:`unimatch.speed.cross_entropy_by_rows` while :data:`unimatch.speed.compile.LOSSES_ON` names the device.
A piece is as many whole images as :data:`PIECE` allows, and needs a few kernels instead of a dozen. Values and
gradients are the same, to rounding, but a label that is not a class raises no error here.

``B`` images, ``C`` classes, ``h w`` the decoder's size, ``H W`` the target's.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unimatch.speed.compile import compiled_function
from unimatch.speed.upsampling import size_of, upsampling_gradient

PIECE = 2**26
"""How many upsampled logits a piece has at most, unless a single image has more: 256 MiB in float32."""


def losses(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Computes the losses (B, H, W) of logits (B, C, h, w) and a target (B, H, W)."""
    log_p = upsample(logits, size_of(target)).log_softmax(1)
    loss = -torch.where(is_class(target, logits.shape[1]), log_p, 0.0).sum(1)
    return torch.where(target != ignore_index, loss, 0.0)


def logits_gradient(logits: Tensor, target: Tensor, gradient: Tensor, ignore_index: int) -> Tensor:
    """Computes the gradient (B, C, h, w) float32 of logits from that of their losses (B, H, W)."""
    upsampled = upsample(logits, size_of(target))
    slope = upsampled.softmax(1) - is_class(target, logits.shape[1]).float()
    slope = slope * (gradient * (target != ignore_index)).unsqueeze(1)
    return upsampling_gradient(slope, size_of(logits))


def labels(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Computes the most probable class and its probability, each (B, *size), of logits (B, C, h, w)."""
    confidence, label = upsample(logits, size).softmax(1).max(1)
    return label, confidence


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsamples in float32."""
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=True)


def is_class(target: Tensor, classes: int) -> Tensor:
    """Returns the one-hot target, (B, C, H, W) bool; all False where the target is not a class."""
    return torch.arange(classes, device=target.device).view(1, -1, 1, 1) == target.unsqueeze(1)


def piecewise(function: Callable[..., Any], size: tuple[int, int], images: tuple[Tensor, ...], *same: Any) -> Any:
    """Calls one of the functions above, compiled, with a few images at a time, and joins the results.

    Args:
        function: takes the tensors of ``images``, then the arguments ``same``.
        size: ``(H, W)``.
        images: tensors with an entry for each image, the logits (B, C, h, w) first.
        *same: the arguments that are the same for all images.
    """
    run = compiled(function)
    count = max(1, PIECE // (images[0].shape[1] * size[0] * size[1]))
    if count >= len(images[0]):
        return run(*images, *same)
    pieces = zip(*(torch.split(tensor, count) for tensor in images), strict=True)
    results = [run(*piece, *same) for piece in pieces]
    if isinstance(results[0], Tensor):
        return torch.cat(results)
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns one of the functions above, compiled."""
    return compiled_function(function, f"a step's {function.__name__.replace('_', ' ')}")
