"""What every encoder has: four feature maps of an image, fine to coarse; those of a transformer all have one size.

It states what a decoder needs to know: ``widths``, ``strides`` (pixels per feature cell) and ``size_multiple`` (image
sides must be multiples of it).
"""

from typing import Any

from torch import nn

from unimatch.errors import ConfigError
from unimatch.models.presets import PositionRule


class Encoder(nn.Module):
    """The base class of all encoders.

    ``forward`` takes (B, 3, H, W) normalised floats, or with as many channels as it was built for, and returns four
    maps (B, widths[l], H / strides[l], W / strides[l]).
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    size_multiple: int
    fixed_size: bool = False
    """Whether the encoder only takes images of ``size_multiple`` pixels a side."""
    channels_last: bool = True
    """Whether images and weights are stored with channels last in memory, which is faster."""
    position_embedding: PositionRule | None = None
    """How the position embedding is resized; None if there is none, or if it follows another rule."""
    body: Any
    """The library's model, whose key names are those of a weights file; the encoder itself if we define it."""

    def layer_numbers(self) -> dict[str, int]:
        """Returns the depth of each parameter, by its name in this module; the stem has depth 0."""
        raise ConfigError(f"layer_decay: {type(self).__name__} does not say how deep its layers are; use 1.0")

    def checkpoint_gradients(self) -> None:
        """Makes the backward pass recompute activations, so that they need not be kept."""
        raise ConfigError(f"gradient_checkpointing: {type(self).__name__} has none; leave it out")
