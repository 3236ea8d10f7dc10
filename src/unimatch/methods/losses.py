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


def cross_entropy(
    logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX, weight: Tensor | None = None
) -> Tensor:
    """Returns the mean cross-entropy over the pixels that are not ignored; 0, not NaN, where all are.

    Args:
        logits: (B, C, *) of any float type; computed in float32.
        target: (B, *) int64 class ids and ``ignore_index``.
        ignore_index: does not count.
        weight: (C,) of the classes, for the weighted mean ``sum(w_y CE) / sum(w_y)``; None for equal ones.
    """
    loss = cross_entropy_per_pixel(logits, target, ignore_index)  # (B, *)
    if weight is not None:
        return weighted_mean(loss, target, target != ignore_index, weight)
    return loss.sum() / (target != ignore_index).sum().clamp(min=1)


def weighted_mean(loss: Tensor, target: Tensor, counted: Tensor, weight: Tensor) -> Tensor:
    """Returns the mean of the counted pixels' losses (B, *), each with its class's weight; 0 where all weights are."""
    share = weight[target * counted] * counted
    return (loss * share).sum() / share.sum().clamp(min=torch.finfo(share.dtype).tiny)


def ohem_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    threshold: float = 0.7,
    min_kept: int = 200_000,
    ignore_index: int = IGNORE_INDEX,
    weight: Tensor | None = None,
) -> Tensor:
    """Returns the mean cross-entropy over the hard pixels: online hard example mining.

    A pixel is hard if its true class has at most the probability ``threshold``. Where fewer than ``min_kept`` pixels
    are hard, the ``min_kept`` with the least probable true class count instead (and all that tie with the last of
    them). Where the batch has fewer than ``min_kept`` pixels, or ``min_kept`` is 0, this is :func:`cross_entropy`,
    which explains the other arguments. Weights of the classes do not change which pixels are hard.

    Source: the published Cityscapes settings (threshold 0.7, 200,000 pixels kept of a process's batch).
    """
    valid = target != ignore_index
    if min_kept == 0 or target.numel() < min_kept:
        return cross_entropy(logits, target, ignore_index=ignore_index, weight=weight)
    loss = cross_entropy_per_pixel(logits, target, ignore_index)  # (B, *)
    # An ignored pixel has loss 0 and so probability 1: the easiest.
    probability = torch.where(valid, (-loss.detach()).exp(), 1.0)
    limit = probability.flatten().kthvalue(min_kept).values.clamp(min=threshold)
    kept = valid & ((probability <= limit) | (valid.sum() < min_kept))
    if weight is not None:
        return weighted_mean(loss, target, kept, weight)
    return (loss * kept).sum() / kept.sum().clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Returns 1 minus the mean soft Dice of the classes that the labels show.

    ``L = 1 - 1/|K| sum_k 2 sum_i p_ik y_ik / (sum_i p_ik + sum_i y_ik)``, with ``p`` the softmax, ``y`` the one-hot
    label, ``i`` over all counted pixels of the whole batch (of one process), and ``K`` the classes that occur among
    these labels: a class that no label of the batch shows is left out, because its Dice would be 0 whatever is
    predicted there. Ignored pixels are in no sum. In change detection both classes, unchanged and changed, are in
    ``K``. It is 0, not NaN, where all pixels are ignored. All probabilities are held at full size at once.

    Source: nnU-Net (Isensee et al., arXiv 1809.10486, equation 2), over the batch.

    Args:
        logits: (B, C, h, w), upsampled to the target's size; computed in float32.
        target: (B, H, W) int64 class ids and ``ignore_index``.
        ignore_index: does not count.
    """
    counted = (target != ignore_index).unsqueeze(1)  # (B, 1, H, W)
    probability = upsample(logits.float(), size_of(target)).softmax(dim=1) * counted  # (B, C, H, W)
    label = (target * (target != ignore_index)).unsqueeze(1)
    right = probability.gather(1, label) * counted  # (B, 1, H, W)
    per_class = logits.new_zeros(logits.shape[1], dtype=torch.float32)
    overlap = per_class.index_add(0, label.flatten(), right.flatten())  # (C,)
    pixels = per_class.index_add(0, label.flatten(), counted.flatten().float())
    dice = 2 * overlap / (probability.sum((0, 2, 3)) + pixels).clamp(min=torch.finfo(torch.float32).tiny)
    shown = pixels > 0
    return ((1 - dice) * shown).sum() / shown.sum().clamp(min=1)


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
