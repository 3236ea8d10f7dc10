"""The optimiser and its schedule.

Source: UniMatch V2, section 4.1 and the published logs.
"""

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


def adamw(model: nn.Module, *, learning_rate: float, decoder_multiplier: float, weight_decay: float) -> AdamW:
    """AdamW with one learning rate for ``model.encoder`` and a multiple of it for the rest.

    Weight decay applies to everything, LayerNorms and biases included, as in the published runs.
    """
    encoder = list(model.encoder.parameters())  # type: ignore[union-attr]
    in_encoder = {id(parameter) for parameter in encoder}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in in_encoder]
    groups = [
        {"name": "encoder", "params": encoder, "lr": learning_rate},
        {"name": "decoder", "params": rest, "lr": learning_rate * decoder_multiplier},
    ]
    return AdamW(groups, betas=(0.9, 0.999), weight_decay=weight_decay)


def poly_factor(step: int, total_steps: int, power: float = 0.9) -> float:
    """The factor of the learning rate during step ``step`` (0 for the first): ``(1 - (step - 1) / total)^power``.

    The published code sets the rate *after* each step from that step's number, so that steps 0 and 1 both run at
    the full rate and every later step uses its predecessor's.

    >>> [round(poly_factor(step, 4), 3) for step in range(4)]
    [1.0, 1.0, 0.772, 0.536]
    """
    return (1 - min(max(step - 1, 0), total_steps) / total_steps) ** power


def poly_schedule(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """A scheduler, stepped once per optimizer step, that applies :func:`poly_factor` to every group."""
    return LambdaLR(optimizer, lambda step: poly_factor(step, total_steps))
