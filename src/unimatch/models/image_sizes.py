"""Finds which image sizes an encoder takes, by trying: libraries do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from unimatch.errors import ConfigError

if TYPE_CHECKING:
    from unimatch.models.encoders import Encoder

LEAST = 64
"""Pixels; smaller images are not tried."""


@torch.no_grad()
def find_image_sizes(encoder: Encoder, name: str, *, channels: int = 3) -> None:
    """Sets ``size_multiple`` and ``fixed_size`` to what the encoder turns out to take.

    A size fits if the encoder computes its features and each level covers the image: ``ceil(side / stride)`` long. The
    multiples that are tried are the one that it has, its coarsest stride, twice that, and the size that it was made
    for, at last as the only size.

    Args:
        encoder: with weights, or on the meta device, where nothing can be tried and all stays as it is.
        name: for the message.
        channels: of the images.

    Raises:
        ConfigError: none of them fits.
    """
    if any(parameter.is_meta for parameter in encoder.parameters()):
        return
    own, stride, was_training = own_size(encoder.body), max(encoder.strides), encoder.training
    encoder.eval()
    faults = []
    for multiple in dict.fromkeys((encoder.size_multiple, stride, 2 * stride, own)):
        k = -(-LEAST // multiple)
        sizes = [((k + 1) * multiple, k * multiple), (k * multiple, (k + 2) * multiple)]
        fault = next((found for size in sizes if (found := fault_at(encoder, channels, size))), None)
        if fault is None:
            encoder.size_multiple = multiple
            break
        faults.append(fault)
    else:
        if fault := fault_at(encoder, channels, (own, own)):
            raise ConfigError(f"encoder={name}: takes images of no size that was tried ({faults[0]}; {fault})")
        encoder.size_multiple, encoder.fixed_size = own, True
    encoder.train(was_training)


def fault_at(encoder: Encoder, channels: int, size: tuple[int, int]) -> str | None:
    """Returns why images of this height and width do not fit; None if they do."""
    try:
        levels = encoder(torch.zeros(1, channels, *size, device=next(encoder.parameters()).device))
    except Exception as error:  # libraries raise many kinds
        return f"{size[0]} x {size[1]}: {str(error).partition(chr(10))[0]}"
    found = [tuple(level.shape[-2:]) for level in levels]
    expected = [tuple(-(-side // stride) for side in size) for stride in encoder.strides]
    if len(levels) == 1 or found == expected:  # a pooled feature has no extent
        return None
    return f"{size[0]} x {size[1]}: features of {found} for {expected}"


def own_size(body: Any) -> int:
    """Returns the side of the images that a timm model was made for."""
    size: Any = getattr(getattr(body, "patch_embed", None), "img_size", None)
    return int((size or body.pretrained_cfg["input_size"])[-1])
