"""Makes an encoder of any module that returns feature maps: yours, a Hugging Face backbone, or another library's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError, first_line
from unimatch.models.encoder_base import Encoder

SIDE = 224
"""Side in pixels of the image on which a module is tried: a multiple of all usual patch sizes."""


class ModuleEncoder(Encoder):
    """Returns the last four of the feature maps that a module gives; widths and strides are found by trying it.

    The module turns (B, channels, H, W) into a list of maps from fine to coarse, a dictionary of them, or an object
    that has them as ``feature_maps``. Further maps before the last four are left out.

    Args:
        body: the module.
        size_multiple: what image sides must be multiples of; None for the coarsest stride.
        channels: of the images.

    Raises:
        ConfigError: the module fails, or does not give four such maps.

    >>> encoder = ModuleEncoder(nn.Identity())
    Traceback (most recent call last):
    unimatch.errors.ConfigError: encoder: must give feature maps as a list, this one gives a Tensor
    """

    def __init__(self, body: nn.Module, *, size_multiple: int | None = None, channels: int = 3) -> None:
        super().__init__()
        self.body = body
        name = f"encoder={type(body).__name__}"
        try:
            levels = found_levels(body, channels)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{name}: cannot be run on an image of {channels} x {SIDE} x {SIDE} ({type(error).__name__}: "
                f"{first_line(error)})"
            ) from error
        shapes = [tuple(level.shape) for level in levels]
        if len(levels) < 4 or any(len(shape) != 4 for shape in shapes):
            raise ConfigError(
                f"{name}: must give four feature maps (B, D, h, w), fine to coarse; it gives {shapes}. Ask a Hugging "
                "Face backbone for four by out_features=[...]"
            )
        shapes = shapes[-4:]
        self.widths = tuple(shape[1] for shape in shapes)
        self.strides = tuple(round(SIDE / shape[2]) for shape in shapes)
        sides = [math.ceil(SIDE / stride) for stride in self.strides]
        covers = all(shape[2:] == (side, side) for shape, side in zip(shapes, sides, strict=True))
        if list(self.strides) != sorted(self.strides) or not covers:
            raise ConfigError(f"{name}: its maps do not cover the image, fine to coarse: {shapes} of {SIDE} x {SIDE}")
        self.size_multiple = size_multiple or self.strides[-1]

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        return maps_of(self.body(images))[-4:]

    @override
    def checkpoint_gradients(self) -> None:
        if not hasattr(self.body, "gradient_checkpointing_enable"):  # Hugging Face's
            super().checkpoint_gradients()
        self.body.gradient_checkpointing_enable()


def as_encoder(module: nn.Module, channels: int = 3) -> Encoder:
    """Returns the module itself if it is an encoder, else a :class:`ModuleEncoder` of it."""
    return module if isinstance(module, Encoder) else ModuleEncoder(module, channels=channels)


@torch.no_grad()
def found_levels(body: nn.Module, channels: int) -> list[Tensor]:
    """Returns a module's feature maps of an image of zeros; its modes are restored."""
    modes = {module: module.training for module in body.modules()}
    device = next((parameter.device for parameter in body.parameters()), None)
    try:
        return maps_of(body.eval()(torch.zeros(1, channels, SIDE, SIDE, device=device)))
    finally:
        for module, mode in modes.items():
            module.training = mode


def maps_of(result: Any) -> list[Tensor]:
    """Returns the feature maps in a module's result.

    Raises:
        ConfigError: there are none.
    """
    result = getattr(result, "feature_maps", result)
    if isinstance(result, Mapping):
        result = list(result.values())
    if not isinstance(result, Sequence) or not all(isinstance(level, Tensor) for level in result):
        raise ConfigError(f"encoder: must give feature maps as a list, this one gives a {type(result).__name__}")
    return list(result)
