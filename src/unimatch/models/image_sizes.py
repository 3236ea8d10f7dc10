"""Finds out which image sizes an encoder takes by trying them: libraries do not document it."""

import math
from typing import Any

import torch

from unimatch.errors import ConfigError
from unimatch.models.encoder_base import Encoder

LEAST = 64
"""The least side, in pixels, of the images that are tried."""


@torch.no_grad()
def find_image_sizes(encoder: Encoder, name: str, *, channels: int = 3) -> None:
    """Sets ``size_multiple`` and ``fixed_size`` to what the encoder turns out to take.

    A size fits if the encoder computes features whose sides are ``ceil(side / stride)`` at each level, so that they
    cover the image. These multiples are tried: the encoder's present one, its coarsest stride, twice that, and the size
    that it was made for; last, this size as the only one.

    Args:
        encoder: with weights; on the meta device nothing can be tried, and nothing is changed.
        name: of the encoder, for the message.
        channels: of the images.

    Raises:
        ConfigError: none of these sizes fits.
    """
    if any(parameter.is_meta for parameter in encoder.parameters()):
        return
    native, stride, was_training = native_size(encoder.body), max(encoder.strides), encoder.training
    encoder.eval()
    faults = []
    for multiple in dict.fromkeys((encoder.size_multiple, stride, 2 * stride, native)):
        fault = fault_of_multiple(encoder, channels, multiple)
        if fault is None:
            encoder.size_multiple = multiple
            break
        faults.append(fault)
    else:
        fault = fault_at(encoder, channels, (native, native))
        if fault is not None:
            raise ConfigError(f"encoder={name}: takes images of no size that was tried ({faults[0]}; {fault})")
        encoder.size_multiple, encoder.fixed_size = native, True
    encoder.train(was_training)


def fault_of_multiple(encoder: Encoder, channels: int, multiple: int) -> str | None:
    """Returns why images whose sides are multiples of this number do not fit; None if two such images do."""
    k = math.ceil(LEAST / multiple)
    for height, width in ((k + 1, k), (k, k + 2)):
        fault = fault_at(encoder, channels, (height * multiple, width * multiple))
        if fault is not None:
            return fault
    return None


def fault_at(encoder: Encoder, channels: int, size: tuple[int, int]) -> str | None:
    """Returns why images of this height and width do not fit; None if they do."""
    try:
        levels = encoder(torch.zeros(1, channels, *size, device=next(encoder.parameters()).device))
    except Exception as error:  # libraries raise many kinds
        return f"{size[0]} x {size[1]}: {str(error).partition(chr(10))[0]}"
    found = [tuple(level.shape[-2:]) for level in levels]
    expected = [tuple(math.ceil(side / stride) for side in size) for stride in encoder.strides]
    if len(levels) == 1 or found == expected:  # a single, pooled level has no size
        return None
    return f"{size[0]} x {size[1]}: features of {found} for {expected}"


def native_size(body: Any) -> int:
    """Returns the side of the images that a timm model was made for, in pixels."""
    size: Any = getattr(getattr(body, "patch_embed", None), "img_size", None)
    return int((size or body.pretrained_cfg["input_size"])[-1])
