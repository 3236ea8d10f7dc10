"""The optimiser and its schedule.

Source: UniMatch V2, section 4.1 and the published logs.
"""

from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from unimatch.models.encoders import Encoder


def adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    decoder_multiplier: float,
    weight_decay: float,
    layer_decay: float = 1.0,
) -> AdamW:
    """AdamW with one learning rate for ``model.encoder`` and a multiple of it for the rest.

    Weight decay applies to everything, LayerNorms and biases included, as in the published runs. Parameters that do
    not require gradients (a frozen encoder's) are left out.

    Args:
        model: with an ``encoder``.
        learning_rate: of the encoder.
        decoder_multiplier: the rest learns at ``learning_rate`` times this.
        weight_decay: of AdamW.
        layer_decay: below 1, the encoder's layer ``l`` of ``n`` (0 is the stem) learns at ``learning_rate *
            layer_decay ** (n - 1 - l)``: the deepest layer at the full rate, the stem slowest. Each layer is a group of
            its own then, ``encoder_00`` and so on.

    Raises:
        ConfigError: layers of this encoder are not numbered.
    """
    encoder: Encoder = model.encoder  # type: ignore[assignment]
    parameters = {name: parameter for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    in_encoder = {id(parameter) for parameter in encoder.parameters()}
    rest = [
        parameter for parameter in model.parameters() if id(parameter) not in in_encoder and parameter.requires_grad
    ]
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
    return AdamW([group for group in groups if group["params"]], betas=(0.9, 0.999), weight_decay=weight_decay)


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
