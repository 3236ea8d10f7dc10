"""Losses over logits (B, C, *) and targets (B, *): the same for masks, changed pixels and image classes."""

import torch.nn.functional as F
from torch import Tensor

from unimatch.types import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the pixels that are not ignored; 0, not NaN, where all are.

    Args:
        logits: (B, C, *) of any float type; computed in float32.
        target: (B, *) int64 class ids and :data:`IGNORE_INDEX`.
    """
    total = F.cross_entropy(logits.float(), target, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (target != IGNORE_INDEX).sum().clamp(min=1)


def consistency_loss(logits: Tensor, label: Tensor, confidence: Tensor, valid: Tensor, tau: float) -> Tensor:
    """Cross-entropy against confident pseudo labels: ``sum(CE(f(s), q) [c >= tau] v) / sum(v)``.

    The denominator counts valid pixels, not confident ones. Source: UniMatch V2, equation (3).

    Args:
        logits: (B, C, *) of a strong view, ``f(s)``.
        label: (B, *) int64 pseudo labels ``q``.
        confidence: (B, *) their probabilities ``c`` in 0-1.
        valid: (B, *) bool, ``v``: False where the crop padded the image.
        tau: the threshold.

    Returns:
        A scalar; 0, not NaN, where no pixel is valid.
    """
    loss = F.cross_entropy(logits.float(), label, reduction="none")  # (B, *)
    counted = (confidence >= tau) & valid
    return (loss * counted).sum() / valid.sum().clamp(min=1)


def mask_ratio(confidence: Tensor, valid: Tensor, tau: float) -> Tensor:
    """The share of valid pixels whose pseudo label is confident, 0-1."""
    return ((confidence >= tau) & valid).sum() / valid.sum().clamp(min=1)
