"""Encoders for classification: an image batch -> one pooled feature level, (B, D, 1, 1)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.models.beit import Beit
from timm.models.convnext import ConvNeXt
from torch import Tensor

from unimatch.errors import ConfigError
from unimatch.models.encoders import PRETRAINED, Encoder, TimmEncoder, build_encoder, check_name, create_body
from unimatch.models.positions import any_grid
from unimatch.models.presets import PRESETS, PositionRule, Preset
from unimatch.models.weights import load_weights_file
from unimatch.models.wide_resnet import WIDE_RESNETS, wide_resnet


def build_pooled_encoder(
    name: str,
    weights: str | Path | None = None,
    *,
    position_embedding: PositionRule | None = None,
    options: Mapping[str, Any] | None = None,
) -> Encoder:
    """Build an encoder whose one level is the pooled feature of the image.

    Args:
        name: a Wide ResNet (:data:`unimatch.models.wide_resnet.WIDE_RESNETS`), a key of
            :data:`unimatch.models.PRESETS`, or any timm model.
        weights: see :func:`unimatch.models.build_encoder`.
        position_embedding: see there.
        options: further arguments of the model, such as ``{"bn_momentum": 0.1}`` of a Wide ResNet.

    Raises:
        ConfigError: see there.
        WeightsError: see there.

    >>> import torch
    >>> [tuple(level.shape) for level in build_pooled_encoder("wrn_28_2")(torch.zeros(2, 3, 32, 32))]
    [(2, 128, 1, 1)]
    """
    if name in ("tiny", "mitb5"):
        return PooledEncoder(build_encoder(name, weights, position_embedding=position_embedding, options=options))
    published = weights == PRETRAINED
    encoder: Encoder
    if name in WIDE_RESNETS:
        if published or position_embedding:
            raise ConfigError(f"encoder.name={name} has no published weights and no position embedding; use null")
        encoder = wide_resnet(name, options)
    else:
        preset = PRESETS.get(name) or Preset(name)
        check_name(preset.timm_name)
        rule = position_embedding or preset.position_embedding
        encoder = PooledTimmEncoder(preset.timm_name, pretrained=published, position_embedding=rule, options=options)
    if weights is not None and not published:
        load_weights_file(encoder.body, Path(weights))
    return encoder


class PooledTimmEncoder(TimmEncoder):
    """A model of timm up to its classifier: what it pools, it pools in its own way.

    Args:
        timm_name: see :class:`TimmEncoder`, as for all arguments.
        pretrained: likewise.
        position_embedding: likewise.
        options: likewise.
    """

    def __init__(
        self,
        timm_name: str,
        *,
        pretrained: bool = False,
        position_embedding: PositionRule | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        Encoder.__init__(self)
        self.body = create_body(timm_name, pretrained=pretrained, options=options or {})
        self.widths = (int(getattr(self.body, "head_hidden_size", None) or self.body.num_features),)
        info = getattr(self.body, "feature_info", None) or [{"reduction": 1}]
        self.strides = (info[-1]["reduction"],)
        cuts = isinstance(self.body, ConvNeXt) or hasattr(self.body, "patch_embed")
        self.size_multiple = self.strides[-1] if cuts else 1
        if isinstance(self.body, Beit):
            any_grid(self.body)
        self.set_position_embedding(timm_name, position_embedding)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> [(B, D, 1, 1)]."""
        return [self.body(images)[:, :, None, None]]


class PooledEncoder(Encoder):
    """Another encoder's last level, averaged over the image.

    Args:
        encoder: the other one.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.inner = encoder
        self.widths, self.strides = encoder.widths[-1:], encoder.strides[-1:]
        self.size_multiple = encoder.size_multiple

    @property
    def body(self) -> Any:
        """The other encoder's."""
        return self.inner.body

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> [(B, D, 1, 1)]."""
        return [self.inner(images)[-1].mean(dim=(2, 3), keepdim=True)]

    def layer_numbers(self) -> dict[str, int]:
        """The other encoder's."""
        return {f"inner.{name}": number for name, number in self.inner.layer_numbers().items()}
