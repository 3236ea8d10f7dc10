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
from unimatch.speed.cross_entropy_by_rows import cross_entropy_per_pixel
from unimatch.speed.upsampling import size_of, upsample
from unimatch.types import IGNORE_INDEX


@dataclass(frozen=True)
class PseudoLabels:
    """The pseudo labels of one unlabelled batch, before CutMix; each tensor is (B, *S)."""

    label: Tensor
    confidence: Tensor
    valid: Tensor
    tau: float | Tensor
    """The threshold: one for all pseudo labels, or one for each."""


@dataclass(frozen=True)
class Losses:
    """What a method computes in one step."""

    total: Tensor
    """The scalar to minimise."""
    parts: dict[str, Tensor]
    """Scalars to log, such as ``loss_x``, ``loss_s`` and ``mask_ratio``."""
    pseudo: PseudoLabels | None = None
    """The pseudo labels whose quality is measured; None if the method makes none."""


Criterion = Callable[[Tensor, Tensor], Tensor]
"""Returns the loss of the labelled images, a scalar, from logits and labels."""


class OwnCriterion(nn.Module):
    """Calls the user's own criterion with logits at the labels' size.

    Args:
        criterion: a function or module of logits (B, C, *S) float32 and labels (B, *S) int64.
        ignore_index: the label that does not count. If the criterion has an attribute ``ignore_index``, as PyTorch's
            have, it must be the same.

    Raises:
        ConfigError: the criterion cannot be called, or ignores another label.
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
    """Returns the mean cross-entropy over the pixels that are not ignored; 0, not NaN, if all are.

    Args:
        logits: (B, C, *) of any float type; computed in float32.
        target: (B, *) int64 class ids and ``ignore_index``.
        ignore_index: the label that does not count.
        weight: (C,) of the classes, for the weighted mean ``sum(w_y CE) / sum(w_y)``; None for equal weights.
    """
    loss = cross_entropy_per_pixel(logits, target, ignore_index)  # (B, *)
    if weight is not None:
        return weighted_mean(loss, target, target != ignore_index, weight)
    return loss.sum() / (target != ignore_index).sum().clamp(min=1)


def weighted_mean(loss: Tensor, target: Tensor, counted: Tensor, weight: Tensor) -> Tensor:
    """Returns the mean of losses (B, *) over the counted pixels, weighted by class; 0 if all these weights are 0."""
    share = weight[target * counted] * counted  # pixels that do not count look up class 0, which has no effect
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

    A pixel is hard if its true class has at most the probability ``threshold``. If fewer than ``min_kept`` pixels are
    hard, the ``min_kept`` pixels whose true class is least probable count instead (and all that tie with the last of
    them). If the batch has fewer than ``min_kept`` pixels, or ``min_kept`` is 0, this is :func:`cross_entropy`,
    which explains the other arguments. Class weights do not change which pixels are hard.

    Source: the published Cityscapes settings (threshold 0.7, 200,000 pixels kept of a process's batch).
    """
    valid = target != ignore_index
    if min_kept == 0 or target.numel() < min_kept:
        return cross_entropy(logits, target, ignore_index=ignore_index, weight=weight)
    loss = cross_entropy_per_pixel(logits, target, ignore_index)  # (B, *)
    # An ignored pixel has loss 0 and is given probability 1: it is the easiest.
    probability = torch.where(valid, (-loss.detach()).exp(), 1.0)
    limit = probability.flatten().kthvalue(min_kept).values.clamp(min=threshold)
    kept = valid & ((probability <= limit) | (valid.sum() < min_kept))
    if weight is not None:
        return weighted_mean(loss, target, kept, weight)
    return (loss * kept).sum() / kept.sum().clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Returns 1 minus the mean soft Dice of the classes that the labels show.

    ``L = 1 - 1/|K| sum_k 2 sum_i p_ik y_ik / (sum_i p_ik + sum_i y_ik)``, with ``p`` the softmax, ``y`` the one-hot
    label, ``i`` over all pixels of the batch (of one process) that are not ignored, and ``K`` the classes that occur
    among their labels. A class without a label in the batch is left out, because its Dice would be 0 whatever is
    predicted. In change detection both classes, unchanged and changed, count. The loss is 0, not NaN, if all pixels are
    ignored. The probabilities of the whole batch are in memory at full size.

    Source: nnU-Net (Isensee et al., arXiv 1809.10486, equation 2), over the batch.

    Args:
        logits: (B, C, h, w), upsampled to the target's size; computed in float32.
        target: (B, H, W) int64 class ids and ``ignore_index``.
        ignore_index: the label that does not count.
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

    The denominator counts valid pixels, not confident ones. The loss is 0, not NaN, if no pixel is valid.

    Source: UniMatch V2, equation (3).

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
    """Returns the share (0-1) of valid pixels with a confident pseudo label; arguments as :func:`consistency_loss`."""
    return ((confidence >= tau) & valid).sum() / valid.sum().clamp(min=1)
