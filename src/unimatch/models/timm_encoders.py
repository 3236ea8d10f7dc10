"""Models of timm as encoders."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import timm
from timm.models import group_parameters
from timm.models.beit import Beit
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.encoder_base import Encoder
from unimatch.models.hub import download_error, offline_if_unreachable
from unimatch.models.position_embedding import DINOv2ViT, any_grid
from unimatch.models.presets import PositionRule, token_blocks


class TimmBody(Encoder):
    """A model of timm, made by :func:`create_body`. Subclasses choose which of its features to return."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        if has_positions(body):
            self.position_embedding = "dinov2" if isinstance(body, DINOv2ViT) else "timm"

    @property
    def patch_multiple(self) -> int:
        """The coarsest stride if the model cuts images into patches, else 1: padded convolutions take any size."""
        cuts_patches = isinstance(self.body, ConvNeXt) or hasattr(self.body, "patch_embed")
        return self.strides[-1] if cuts_patches else 1

    @override
    def layer_numbers(self) -> dict[str, int]:
        # timm's grouping: the stem, then block by block; the last norm belongs to the last block.
        groups = group_parameters(self.body, self.body.group_matcher(coarse=False), reverse=True)
        return {f"body.{name}": number for name, number in groups.items()}

    @override
    def checkpoint_gradients(self) -> None:
        try:
            self.body.set_grad_checkpointing(True)  # block by block, or stage by stage
        except (AssertionError, AttributeError) as error:
            raise ConfigError("gradient_checkpointing: timm has none for this model; leave it out") from error


class TimmEncoder(TimmBody):
    """Returns four levels of a timm model's features.

    Those of a transformer, whose blocks all have one size, are the tokens after four blocks, as maps, normalised by the
    model's final LayerNorm if it has one for tokens (SAM and BEiT have none). Those of a pyramid are its last four
    stages. The layers after them (classifier, pooling, necks) are removed.
    """

    def __init__(self, body: Any) -> None:
        super().__init__(body)
        info = getattr(body, "feature_info", ())
        if len(info) < 4 or not hasattr(body, "prune_intermediate_layers"):
            name = body.pretrained_cfg["architecture"]
            raise ConfigError(f"encoder={name}: gives no four levels of features, as the decoder needs")
        is_transformer = len({level["reduction"] for level in info}) == 1
        self.levels = token_blocks(len(info)) if is_transformer else [len(info) - 4 + i for i in range(4)]
        self.norm = is_transformer and isinstance(getattr(body, "norm", None), nn.LayerNorm)
        body.prune_intermediate_layers(self.levels, prune_norm=not self.norm, prune_head=True)
        self.widths = tuple(info[level]["num_chs"] for level in self.levels)
        self.strides = tuple(info[level]["reduction"] for level in self.levels)
        self.size_multiple = self.patch_multiple

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        # norm: DINOv2's authors normalise every level; timm by default normalises none.
        return self.body.forward_intermediates(
            images, indices=self.levels, norm=self.norm, output_fmt="NCHW", intermediates_only=True
        )


def has_positions(body: Any) -> bool:
    """Tells whether a timm model has a position embedding that either rule can resize."""
    return type(body) in (VisionTransformer, DINOv2ViT) and body.pos_embed is not None


def create_body(
    timm_name: str,
    *,
    pretrained: bool,
    position_embedding: PositionRule | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Builds a timm model, for images of any size if possible; :func:`build_encoder` explains arguments and errors."""
    with offline_if_unreachable() if pretrained else nullcontext():
        body = create_timm_model(timm_name, pretrained=pretrained, options=options or {})
    if isinstance(body, Beit):
        any_grid(body)
    rule = position_embedding
    if rule not in (None, "dinov2", "timm"):
        raise ConfigError(f"position_embedding={rule}: must be one of dinov2, timm, or left out")
    if rule and not has_positions(body):
        raise ConfigError(f"position_embedding={rule}: {timm_name} has no such position embedding; leave it out")
    if rule == "dinov2":
        body.__class__ = DINOv2ViT
    return body


def create_timm_model(timm_name: str, *, pretrained: bool, options: Mapping[str, Any]) -> Any:
    """Builds a timm model, with the architecture's option for images of any size if it has one.

    Raises:
        ConfigError: the model does not take the ``options``.
        WeightsError: the download failed.
    """
    any_size: list[dict[str, Any]] = [{"dynamic_img_size": True}, {"strict_img_size": False}, {}]
    try:
        for flexible in any_size:
            try:
                return timm.create_model(timm_name, pretrained=pretrained, num_classes=0, **flexible, **options)
            except TypeError as error:
                refuses_flexible = any(option in str(error) for option in flexible)
                if not refuses_flexible:
                    raise
    except TypeError as error:
        raise ConfigError(f"options: {timm_name} does not take them ({error})") from error
    except Exception as error:
        if not pretrained:
            raise
        raise download_error(timm_name, f"model.safetensors of timm/{timm_name}", error) from error
    raise AssertionError("unreachable: the last attempt has no flexible option")
