"""Losses over logits (B, C, *) and targets (B, *): the same for masks, changed pixels and image classes.

Maps of logits may be coarser than the target: they are upsampled to its size
(:mod:`unimatch.speed.cross_entropy_by_rows`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.dpt import size_of
from unimatch.speed.cross_entropy_by_rows import cross_entropy_per_pixel
from unimatch.speed.upsampling import upsample
from unimatch.types import IGNORE_INDEX


@dataclass(frozen=True)
class PseudoLabels:
    """The pseudo labels of one unlabelled batch, before CutMix; each tensor is (B, *S)."""

    label: Tensor
    confidence: Tensor
    valid: Tensor
    tau: float | Tensor
    """The threshold of all, or of each."""


@dataclass(frozen=True)
class Losses:
    """What a method computes in one step."""

    total: Tensor
    """The scalar to minimise."""
    parts: dict[str, Tensor]
    """Scalars to log, such as ``loss_x``, ``loss_s`` and ``mask_ratio``."""
    pseudo: PseudoLabels | None = None
    """What the pseudo labels' quality is measured on, where the method makes any."""


Criterion = Callable[[Tensor, Tensor], Tensor]
"""The loss of the labelled images, a scalar, of logits and labels."""


class OwnCriterion(nn.Module):
    """Calls a criterion of the user's with logits at the labels' size.

    Args:
        criterion: a function or module of logits (B, C, *S) float32 and labels (B, *S) int64.
        ignore_index: the label that it must not count, which it may say as its attribute ``ignore_index``.

    Raises:
        ConfigError: it cannot be called, or says that it leaves out another label.
    """

    def __init__(self, criterion: Criterion, ignore_index: int) -> None:
        super().__init__()
        if not callable(criterion):
            raise ConfigError(f"criterion={criterion}: must be ce, ohem, or a function of logits and labels")
        if (theirs := getattr(criterion, "ignore_index", ignore_index)) != ignore_index:
            raise ConfigError(
                f"criterion: leaves out the label {theirs}, but {ignore_index} stands for what does not count; give "
                f"{type(criterion).__name__} ignore_index={ignore_index}"
            )
        self.criterion = criterion

    @override
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Computes the scalar loss of logits at the decoder's size (B, C, *s) and labels (B, *S)."""
        whole = upsample(logits, size_of(target)) if logits.dim() == 4 else logits
        loss = self.criterion(whole.float(), target)
        if loss.dim() != 0:
            raise ConfigError(f"criterion: must return a scalar, this one returns a tensor of {tuple(loss.shape)}")
        return loss


def cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Returns the mean cross-entropy over the pixels that are not ignored; 0, not NaN, where all are.

    Args:
        logits: (B, C, *) of any float type; computed in float32.
        target: (B, *) int64 class ids and ``ignore_index``.
        ignore_index: does not count.
    """
    total = cross_entropy_per_pixel(logits, target, ignore_index).sum()
    return total / (target != ignore_index).sum().clamp(min=1)


def ohem_cross_entropy(
    logits: Tensor, target: Tensor, *, threshold: float = 0.7, min_kept: int = 200_000, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Returns the mean cross-entropy over the hard pixels: online hard example mining.

    A pixel is hard if its true class has at most the probability ``threshold``. Where fewer than ``min_kept`` pixels
    are hard, the ``min_kept`` with the least probable true class count instead (and all that tie with the last of
    them). Where the batch has fewer than ``min_kept`` pixels, or ``min_kept`` is 0, this is :func:`cross_entropy`,
    which explains the other arguments.

    Source: the published Cityscapes settings (threshold 0.7, 200,000 pixels kept of a process's batch).
    """
    valid = target != ignore_index
    if min_kept == 0 or target.numel() < min_kept:
        return cross_entropy(logits, target, ignore_index=ignore_index)
    loss = cross_entropy_per_pixel(logits, target, ignore_index)  # (B, *)
    # An ignored pixel has loss 0 and so probability 1: the easiest.
    probability = torch.where(valid, (-loss.detach()).exp(), 1.0)
    limit = probability.flatten().kthvalue(min_kept).values.clamp(min=threshold)
    kept = valid & ((probability <= limit) | (valid.sum() < min_kept))
    return (loss * kept).sum() / kept.sum().clamp(min=1)


def consistency_loss(logits: Tensor, label: Tensor, confidence: Tensor, valid: Tensor, tau: float | Tensor) -> Tensor:
    """Returns the cross-entropy against confident pseudo labels: ``sum(CE(f(s), q) [c >= tau] v) / sum(v)``.

    The denominator counts valid pixels, not confident ones. Source: UniMatch V2, equation (3).

    It is 0, not NaN, where no pixel is valid.

    Args:
        logits: (B, C, *) of a strong view, ``f(s)``.
        label: (B, *) int64 pseudo labels ``q``.
        confidence: (B, *) their probabilities ``c`` in 0-1.
        valid: (B, *) bool, ``v``: False where the crop padded the image.
        tau: the threshold; (B, *) where pixels have thresholds of their own.
    """
    loss = cross_entropy_per_pixel(logits, label)  # (B, *)
    counted = (confidence >= tau) & valid
    return (loss * counted).sum() / valid.sum().clamp(min=1)


def mask_ratio(confidence: Tensor, valid: Tensor, tau: float | Tensor) -> Tensor:
    """Returns the share of valid pixels whose pseudo label is confident, 0-1; arguments as above."""
    return ((confidence >= tau) & valid).sum() / valid.sum().clamp(min=1)
