"""Encoders for classification: they turn images into one pooled feature level, (B, D, 1, 1)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.encoder_base import Encoder
from unimatch.models.encoders import Weights, build_encoder, check_weights
from unimatch.models.own_encoder import as_encoder
from unimatch.models.presets import PositionRule
from unimatch.models.timm_encoders import TimmBody
from unimatch.models.weights import load_weights_file
from unimatch.models.wide_resnet import WIDE_RESNETS, wide_resnet


def build_pooled_encoder(
    name: str,
    weights: Weights = ...,
    *,
    position_embedding: PositionRule | None = None,
    options: Mapping[str, Any] | None = None,
    channels: int = 3,
) -> Encoder:
    """Builds an encoder whose one level is the pooled feature of the image.

    Takes the arguments of :func:`unimatch.models.build_encoder` and raises its errors. ``name`` may also be a Wide
    ResNet's (:data:`unimatch.models.wide_resnet.WIDE_RESNETS`): these have no published weights, and their ``options``
    are arguments of :class:`unimatch.models.wide_resnet.WideResNet`, such as ``{"bn_momentum": 0.1}``.

    >>> import torch
    >>> [tuple(level.shape) for level in build_pooled_encoder("wrn_28_2")(torch.zeros(2, 3, 32, 32))]
    [(2, 128, 1, 1)]
    """
    if name in WIDE_RESNETS:
        weights = check_weights(name, weights, None)
        if position_embedding:
            raise ConfigError(f"position_embedding={position_embedding}: {name} has none; leave it out")
        network = wide_resnet(name, options, channels)
        if weights is not None:
            load_weights_file(network, Path(weights))
        return network
    encoder = build_encoder(
        name,
        weights,
        position_embedding=position_embedding,
        options=options,
        timm_encoder=PooledTimmEncoder,
        channels=channels,
    )
    return encoder if isinstance(encoder, PooledTimmEncoder) else PooledEncoder(encoder)


def as_pooled_encoder(module: nn.Module, channels: int = 3) -> Encoder:
    """Returns a module as an encoder of one pooled level; of a module with four levels, the last one is averaged."""
    encoder = as_encoder(module, channels)
    return encoder if len(encoder.widths) == 1 else PooledEncoder(encoder)


class PooledTimmEncoder(TimmBody):
    """A model of timm without its classifier, pooled by the model's own method."""

    def __init__(self, body: Any) -> None:
        super().__init__(body)
        self.widths = (int(getattr(body, "head_hidden_size", None) or body.num_features),)
        info = getattr(body, "feature_info", None) or [{"reduction": 1}]
        self.strides = (info[-1]["reduction"],)
        self.size_multiple = self.patch_multiple

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.body(images)[:, :, None, None]]


class PooledEncoder(Encoder):
    """The last level of an encoder with four levels, averaged over the image."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.inner = encoder
        self.widths, self.strides = encoder.widths[-1:], encoder.strides[-1:]
        self.size_multiple = encoder.size_multiple

    @property
    @override
    def body(self) -> Any:
        return self.inner.body

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.inner(images)[-1].mean(dim=(2, 3), keepdim=True)]

    @override
    def layer_numbers(self) -> dict[str, int]:
        return {f"inner.{name}": number for name, number in self.inner.layer_numbers().items()}
