"""The optimiser and its schedule.

Source: UniMatch V2, section 4.1 and the published logs; for classification FixMatch, arXiv 2001.07685.
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from unimatch.errors import ConfigError, describe_error
from unimatch.models.encoder_base import Encoder
from unimatch.options import at_least_one, one_of
from unimatch.trainer import parts_in_batch

log = logging.getLogger("unimatch")

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]
"""Makes an optimiser from parameter groups, each with ``params``, ``lr`` and ``name``."""
Factor = Callable[[int, int], float]
"""Returns the factor of the learning rates, given the step (0 for the first) and the total number of steps."""


def parameter_groups(
    model: nn.Module,
    *,
    learning_rate: float,
    decoder_multiplier: float,
    layer_decay: float = 1.0,
    decay_norms: bool = True,
) -> list[dict[str, Any]]:
    """Returns the optimiser's parameter groups: the encoder at one learning rate, the rest at a multiple of it.

    Parameters that do not require gradients, such as a frozen encoder's, are left out; those of an encoder that will
    be unlocked later are not. A group has ``name``, ``params``, ``lr`` and, if it must be 0, ``weight_decay``.

    Args:
        model: with an ``encoder``.
        learning_rate: of the encoder.
        decoder_multiplier: the rest learns at ``learning_rate`` times this.
        layer_decay: below 1, the encoder's layer ``l`` of ``n`` (0 is the stem) learns at ``learning_rate *
            layer_decay ** (n - 1 - l)``: the deepest layer at the full rate, the stem slowest. Each layer is then a
            separate group, ``encoder_00`` and so on.
        decay_norms: if False, parameters of at most one dimension (norms and biases) are in separate groups without
            weight decay, ``encoder_undecayed`` and so on.
    """
    encoder: Encoder = model.encoder  # type: ignore[assignment]
    unlocked_later = getattr(model, "unlock_after", 0) > 0
    parameters = {name: value for name, value in encoder.named_parameters() if value.requires_grad or unlocked_later}
    in_encoder = set(encoder.parameters())
    rest = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter not in in_encoder]
    groups: list[dict[str, Any]] = []
    if layer_decay == 1.0:
        groups.append({"name": "encoder", "params": list(parameters.values()), "lr": learning_rate})
    else:
        layers = encoder.layer_numbers()
        last = max(layers.values())
        for layer in range(last + 1):
            members = [parameter for name, parameter in parameters.items() if layers[name] == layer]
            rate = learning_rate * layer_decay ** (last - layer)
            groups.append({"name": f"encoder_{layer:02d}", "params": members, "lr": rate})
    groups.append({"name": "decoder", "params": rest, "lr": learning_rate * decoder_multiplier})
    if not decay_norms:
        groups = [part for group in groups for part in split_by_dimensions(group)]
    return [group for group in groups if group["params"]]


def split_by_dimensions(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Splits a group in two: parameters of several dimensions, and the others, without weight decay."""
    weights = [parameter for parameter in group["params"] if parameter.dim() > 1]
    others = [parameter for parameter in group["params"] if parameter.dim() <= 1]
    undecayed = {**group, "name": f"{group['name']}_undecayed", "params": others, "weight_decay": 0.0}
    return [{**group, "params": weights}, undecayed]


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": partial(AdamW, betas=(0.9, 0.999)),
    "sgd": partial(SGD, momentum=0.9, nesterov=True),
}

FUSED_ON = {"cpu", "cuda"}
"""Kinds of devices for which PyTorch has fused optimisers."""


def build_optimizer(name: str, groups: list[dict[str, Any]], *, weight_decay: float, fused: bool = True) -> Optimizer:
    """Builds ``adamw``, or ``sgd`` with Nesterov momentum 0.9.

    Weight decay applies to all parameters, LayerNorms and biases included, as in the paper's runs, except in groups
    that state their own. The settings of SGD are FixMatch's (arXiv 2001.07685, section 4 and table 4).
    ``fused``: step all parameters in one kernel, on devices that have it.
    """
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    can_fuse = fused and devices <= FUSED_ON
    return OPTIMIZERS[name](
        groups, weight_decay=weight_decay, fused=True if can_fuse else None
    )  # None: PyTorch's choice


def poly_factor(step: int, total_steps: int, power: float = 0.9) -> float:
    """Returns the learning rate's factor during step ``step`` (0 for the first): ``(1 - (step - 1) / total)^power``.

    The published code sets the rate *after* each step from that step's number, so that steps 0 and 1 both run at
    the full rate and every later step uses its predecessor's.

    >>> [round(poly_factor(step, 4), 3) for step in range(4)]
    [1.0, 1.0, 0.772, 0.536]
    """
    return (1 - min(max(step - 1, 0), total_steps) / total_steps) ** power


def cosine_factor(step: int, total_steps: int) -> float:
    """Returns the learning rate's factor during step ``step`` (0 for the first): ``cos(7 pi step / (16 total))``.

    It ends at ``cos(7 pi / 16)``, 0.195. Source: FixMatch, arXiv 2001.07685, section 2.3.

    >>> [round(cosine_factor(step, 4), 3) for step in range(5)]
    [1.0, 0.942, 0.773, 0.514, 0.195]
    """
    return math.cos(7 * math.pi * min(step, total_steps) / (16 * total_steps))


FACTORS: dict[str, Factor] = {"poly": poly_factor, "cosine": cosine_factor}


def check_choices(optimizer: str | MakeOptimizer, schedule: str | Factor, reference_batch: int | None = None) -> None:
    """Refuses an optimiser or a schedule that is neither the name of one of ours nor a callable, and a wrong number.

    Raises:
        ConfigError: naming the argument and what it may be.
    """
    if not callable(optimizer):
        if isinstance(optimizer, Optimizer):
            raise ConfigError(
                "optimizer: has its parameters already; give what makes one of parameter groups, such as its class"
            )
        one_of("optimizer", optimizer, OPTIMIZERS)
    if not callable(schedule):
        one_of("schedule", schedule, FACTORS)
    at_least_one(reference_batch=reference_batch)


def custom_optimizer(make: MakeOptimizer, groups: list[dict[str, Any]]) -> Optimizer:
    """Returns the optimiser that the user's function makes.

    Raises:
        ConfigError: the function fails, or returns something else.
    """
    try:
        optimizer = make(groups)
    except Exception as error:  # the user's own code may raise anything
        raise ConfigError(f"optimizer: cannot be made: {describe_error(error)}") from error
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(f"optimizer: must make a torch.optim.Optimizer, this one makes a {type(optimizer).__name__}")
    return optimizer


def build_schedule(schedule: str | Factor, optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """Builds a scheduler, to be stepped after each optimizer step, that multiplies every group's rate by a factor.

    Raises:
        ConfigError: the user's ``schedule`` returns an invalid factor; raised at that step.
    """
    if isinstance(schedule, str):
        factor = FACTORS[schedule]
        return LambdaLR(optimizer, lambda step: factor(step, total_steps))
    return LambdaLR(optimizer, lambda step: checked_factor(schedule, step, total_steps))


def checked_factor(schedule: Factor, step: int, total_steps: int) -> float:
    """Returns the factor that the user's schedule gives a step; refuses NaN, with which training would go on."""
    value: Any = schedule(step, total_steps)
    try:
        number = float(value)
    except (TypeError, ValueError):  # such as a tensor of several numbers
        number = math.nan
    if not 0 <= number < math.inf:
        raise ConfigError(
            f"schedule: must return a number of at least 0; for step {step} of {total_steps} it returns {value!s:.80}"
        )
    return number


def learning_rate_factor(trainer: lightning.Trainer, reference: int | None) -> float:
    """Returns the factor by which the number of labelled images in a step scales the learning rates, and logs both.

    Args:
        trainer: with a data module, whose ``batch_size`` is the labelled images of one part of a step.
        reference: labelled images of a step for which the rates are meant; None for a factor of 1 in any case.

    Raises:
        ConfigError: ``reference`` is below 1, or there is no ``batch_size`` to compare it with.
    """
    batch_size = getattr(getattr(trainer, "datamodule", None), "batch_size", None)
    if reference is not None and (batch_size is None or reference < 1):
        raise ConfigError(
            f"reference_batch={reference}: must be at least 1, and needs a data module whose batch_size it is compared "
            "with"
        )
    if batch_size is None:
        return 1.0
    processes, batches = trainer.world_size, trainer.accumulate_grad_batches
    batch = batch_size * parts_in_batch(trainer)
    images = batch * processes * batches
    factor = 1.0 if reference is None else images / reference
    if trainer.is_global_zero:
        product = [f"{batch} at once"]
        if processes > 1:
            product.append(f"in each of {processes} processes")
        if batches > 1:
            product.append(f"{batches} times before the step")
        log.info(
            "an optimizer step has %d labelled images%s; the learning rate is %s",
            images,
            f" ({', '.join(product)})" if len(product) > 1 else "",
            "the same for any number of them, see method.reference_batch"
            if reference is None
            else f"multiplied by {images} / {reference} = {factor:.4g}",
        )
    return factor
