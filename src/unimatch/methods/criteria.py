"""The loss of the labelled images: a criterion, with class weights and a Dice term if the settings ask for them."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.methods.losses import Criterion, OwnCriterion, cross_entropy, dice_loss, ohem_cross_entropy
from unimatch.options import not_negative, one_of

log = logging.getLogger("unimatch")

ClassWeights = Literal["balanced"] | Sequence[float]


def labeled_criterion(
    criterion: Literal["ce", "ohem"] | Criterion,
    *,
    num_classes: int,
    ignore_index: int,
    ohem_threshold: float,
    ohem_min_kept: int,
    class_weights: ClassWeights | None,
    dice: float,
    areas: bool,
) -> Criterion:
    """Returns the loss of the labelled images, a scalar.

    The arguments are explained in :class:`unimatch.Method`; ``areas`` is an attribute of :class:`unimatch.tasks.Task`.

    Raises:
        ConfigError: an argument is invalid.
    """
    not_negative(dice=dice)
    if dice and not areas:
        raise ConfigError(f"dice={dice}: Dice compares areas, and an image has one class here; use 0")
    ohem = partial(ohem_cross_entropy, threshold=ohem_threshold, min_kept=ohem_min_kept)
    criteria: dict[str, Callable[..., Tensor]] = {"ce": cross_entropy, "ohem": ohem}
    chosen: Callable[..., Tensor]
    if isinstance(criterion, str):
        one_of("criterion", criterion, criteria)
        chosen = partial(criteria[criterion], ignore_index=ignore_index)
    else:
        chosen = OwnCriterion(criterion, ignore_index)
        if class_weights is not None:
            raise ConfigError("class_weights: a criterion of your own weighs the classes itself; leave them out")
    if class_weights is not None:
        chosen = Weighted(chosen, class_weights, num_classes)
    return WithDice(chosen, dice, ignore_index) if dice else chosen


class Weighted(nn.Module):
    """A criterion with a weight for each class, which its ``state_dict`` holds.

    Args:
        criterion: a function of logits, labels and the keyword ``weight``, (C,) float32.
        weights: one for each class, at least 0; or ``balanced``: all are 1 until :meth:`balance` is called.
        num_classes: ``C``.
    """

    weight: Tensor

    def __init__(self, criterion: Callable[..., Tensor], weights: ClassWeights, num_classes: int) -> None:
        super().__init__()
        self.criterion = criterion
        self.balanced = isinstance(weights, str)
        if isinstance(weights, str):
            one_of("class_weights", weights, ("balanced",))
            weights = [1.0] * num_classes
        if isinstance(weights, (np.ndarray, Tensor)):
            weights = weights.tolist()
        if not isinstance(weights, Sequence):
            raise ConfigError(f"class_weights={weights}: must be balanced, or a number for each class")
        if len(weights) != num_classes:
            raise ConfigError(f"class_weights: {len(weights)} numbers, but there are {num_classes} classes")
        numbers = all(isinstance(weight, (int, float)) and 0 <= weight < math.inf for weight in weights)
        if not numbers or not any(weights):
            raise ConfigError(f"class_weights={list(weights)}: must be numbers of at least 0, and not all of them 0")
        self.register_buffer("weight", torch.tensor([float(weight) for weight in weights]))

    def balance(self, pixels: ArrayLike) -> None:
        """Sets the weights to :func:`balanced_weights` of the labelled pixels of each class."""
        weights = balanced_weights(pixels)
        self.weight.copy_(torch.from_numpy(weights))
        log.info("class_weights=balanced: %s", ", ".join(f"{weight:.3g}" for weight in weights))

    @override
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Computes the scalar loss."""
        return self.criterion(logits, target, weight=self.weight)


class WithDice(nn.Module):
    """A criterion plus ``dice`` times :func:`unimatch.methods.losses.dice_loss`."""

    def __init__(self, criterion: Callable[..., Tensor], dice: float, ignore_index: int) -> None:
        super().__init__()
        self.criterion, self.dice, self.ignore_index = criterion, float(dice), ignore_index

    @override
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Computes the scalar loss."""
        dice = dice_loss(logits, target, ignore_index=self.ignore_index)
        return self.criterion(logits, target) + self.dice * dice


def balanced_weights(pixels: ArrayLike) -> NDArray[np.float64]:
    """Returns (C,) weights ``w_c = sqrt(median(f) / f_c)``, with ``f_c`` the share of class ``c`` in the pixels.

    The median is over the classes that have pixels, so the class in the middle has the weight 1. A class without
    pixels has the weight 1 too, which no labelled pixel uses. This is the square root of median-frequency balancing
    (Eigen and Fergus, arXiv 1411.4734): without the root, a class with a thousandth of the pixels would outweigh all
    others.

    >>> balanced_weights([900, 100, 0, 25])
    array([0.33333333, 1.        , 1.        , 2.        ])
    """
    counted = np.asarray(pixels, np.float64)
    shown = counted > 0
    weights = np.ones_like(counted)
    if shown.any():
        weights[shown] = np.sqrt(np.median(counted[shown]) / counted[shown])
    return weights


def criterion_to_balance(criterion: Criterion) -> Weighted | None:
    """Returns the part of a criterion of :func:`labeled_criterion` that has balanced weights; None if there is none."""
    inner = criterion.criterion if isinstance(criterion, WithDice) else criterion
    return inner if isinstance(inner, Weighted) and inner.balanced else None
