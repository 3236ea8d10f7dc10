"""Encodes images once for all models that share an encoder, when these are evaluated on the same images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from unimatch.models.base import Model


def share_encoder(models: Sequence[nn.Module]) -> bool:
    """Tells whether two or more models have equal encoders, as student and teacher do while the encoder is frozen."""
    ours = [model for model in models if isinstance(model, Model)]
    return len(ours) == len(models) > 1 and all(equal_encoders(ours[0], other) for other in ours[1:])


def equal_encoders(one: Model, other: Model) -> bool:
    """Tells whether two models compute the same features; False if in doubt.

    That is in training mode, with forward hooks, and for weights that FSDP has divided.
    """
    encoders = (one.encoder, other.encoder)
    if type(one) is not type(other) or type(encoders[0]) is not type(encoders[1]):
        return False
    if any(module.training or module._forward_hooks for encoder in encoders for module in encoder.modules()):
        return False
    first, second = (dict(chain(encoder.named_parameters(), encoder.named_buffers())) for encoder in encoders)
    if not first or first.keys() != second.keys() or any(hasattr(tensor, "device_mesh") for tensor in first.values()):
        return False
    # This is quick: encoders that have been trained differ in the first tensor already.
    return all(same(tensor, second[name]) for name, tensor in first.items())


def same(one: Tensor, other: Tensor) -> bool:
    """Tells whether two tensors have the same values; tensors that share memory are not compared value by value."""
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    return (one.data_ptr(), one.stride()) == (other.data_ptr(), other.stride()) or torch.equal(one, other)


@contextmanager
def encoded_once(models: Sequence[Model]) -> Iterator[None]:
    """Lets models that share an encoder reuse the features of the images that one of them has just encoded.

    Only the last images and their features are kept. Each model gets a copy, since its decoder may change it in place.

    Args:
        models: those for which :func:`share_encoder` is true.
    """
    encode = models[0].encode
    kept = list[tuple[Tensor, list[Tensor]]]()

    def encode_once(images: Tensor) -> list[Tensor]:
        if not kept or not same(kept[0][0], images):
            kept[:] = [(images.clone(), encode(images))]
        return [level.clone() for level in kept[0][1]]

    before = [vars(model).get("encode") for model in models]
    for model in models:
        model.encode = encode_once  # type: ignore[method-assign]
    try:
        yield
    finally:
        for model, own in zip(models, before, strict=True):
            if own is None:
                del model.encode
            else:
                model.encode = own  # type: ignore[method-assign]
