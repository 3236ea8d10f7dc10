"""Encoders: an image batch -> four feature maps, fine to coarse (or of one size, for transformers).

Every encoder says what a decoder needs to know: ``widths``, ``strides`` (pixels per feature cell) and
``size_multiple`` (image sides must be multiples of it). timm builds and loads all of them but two.

Source: UniMatch V2, section 4.1 and table 9.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import group_parameters
from timm.models.beit import Beit
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from unimatch.errors import ConfigError, WeightsError
from unimatch.models.positions import DINOv2ViT, any_grid
from unimatch.models.presets import PRESETS, PositionRule, Preset, token_blocks
from unimatch.models.weights import load_weights_file
from unimatch.speed.recompute import recompute_activations

PRETRAINED = "pretrained"
"""The value of ``weights`` that asks for the published weights."""


class Encoder(nn.Module):
    """What every encoder offers.

    ``forward`` takes (B, 3, H, W) normalised floats and returns four maps (B, widths[l], H / strides[l], W / ...).
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    size_multiple: int
    position_embedding: PositionRule | None = None
    """How the position embedding is resized, where there is one and the rule is known."""
    body: Any
    """The library's model, whose key names a weights file has; the encoder itself where it is ours."""

    def layer_numbers(self) -> dict[str, int]:
        """The depth of each parameter, 0 for the stem, by its name in this module."""
        raise ConfigError(f"method.layer_decay: {type(self).__name__} does not say how deep its layers are; use 1.0")

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of keeping them."""
        raise ConfigError(f"encoder.gradient_checkpointing: {type(self).__name__} has none; use false")


def build_encoder(
    name: str,
    weights: str | Path | None = None,
    *,
    position_embedding: PositionRule | None = None,
    options: Mapping[str, Any] | None = None,
) -> Encoder:
    """Build an encoder by a preset's name or by a timm model's.

    Args:
        name: a key of :data:`unimatch.models.PRESETS`, or any timm model that gives intermediate features.
        weights: None for random ones, ``"pretrained"`` for the published ones (downloaded once), or a file in the
            library's key names or, for DINOv2, the authors': safetensors or a PyTorch state dict.
        position_embedding: for vision transformers of timm with a position embedding: how it is resized off its own
            grid, ``"dinov2"`` (bicubic, offset 0.1, as in the published models) or ``"timm"`` (antialiased); None for
            the preset's.
        options: further arguments of the timm model, such as ``{"drop_path_rate": 0.1}``.

    Raises:
        ConfigError: an unknown name or option, a model without four feature levels, or weights that do not exist.
        WeightsError: the file does not fit, or the download failed.

    >>> import torch
    >>> encoder = build_encoder("tiny")
    >>> [tuple(level.shape) for level in encoder(torch.zeros(1, 3, 48, 48))]
    [(1, 48, 12, 12), (1, 96, 6, 6), (1, 128, 3, 3), (1, 128, 2, 2)]
    """
    preset = PRESETS.get(name) or Preset(name)
    rule = position_embedding or preset.position_embedding
    published = weights == PRETRAINED
    encoder: Encoder
    if name in ("tiny", "mitb5"):
        if options or position_embedding:
            raise ConfigError(f"encoder.name={name} takes neither encoder.options nor encoder.position_embedding")
        if name == "tiny" and published:
            raise ConfigError("encoder.weights=pretrained: the tiny encoder has no published weights; use null")
        encoder = TinyEncoder() if name == "tiny" else MiTEncoder(pretrained=published)
    else:
        check_name(preset.timm_name)
        encoder = TimmEncoder(preset.timm_name, pretrained=published, position_embedding=rule, options=options)
    if weights is not None and not published:
        load_weights_file(encoder.body, Path(weights))
    return encoder


def check_name(timm_name: str) -> None:
    """Check that timm has a model of that name.

    Raises:
        ConfigError: naming the closest ones.
    """
    if not timm_name or not timm.is_model(timm_name):
        known = [*PRESETS, *timm.list_models()]
        close = difflib.get_close_matches(timm_name, known, n=3, cutoff=0.6)
        raise ConfigError(
            f"encoder.name={timm_name}: neither one of ours ({', '.join(PRESETS)}) nor a model of timm"
            + (f"; did you mean {' or '.join(close)}?" if close else "")
        )


class TimmEncoder(Encoder):
    """A model of timm.

    Of a transformer, whose blocks are all of one size: the tokens after four blocks, through the final LayerNorm where
    the model has one for tokens (SAM and BEiT have none), as maps. Of a pyramid: its last four stages.
    What comes after them (classifier, pooling, necks) is cut off.

    Args:
        timm_name: with a tag after a dot for particular weights.
        pretrained: load timm's published weights.
        position_embedding: see :func:`build_encoder`.
        options: further arguments of the model.

    Raises:
        ConfigError: see :func:`build_encoder`.
        WeightsError: the download failed.
    """

    def __init__(
        self,
        timm_name: str,
        *,
        pretrained: bool = False,
        position_embedding: PositionRule | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.body = create_body(timm_name, pretrained=pretrained, options=options or {})
        info = getattr(self.body, "feature_info", ())
        if len(info) < 4 or not hasattr(self.body, "prune_intermediate_layers"):
            raise ConfigError(f"encoder.name={timm_name}: gives no four levels of features, as the decoder needs")
        is_transformer = len({level["reduction"] for level in info}) == 1
        self.levels = token_blocks(len(info)) if is_transformer else [len(info) - 4 + i for i in range(4)]
        self.norm = is_transformer and isinstance(getattr(self.body, "norm", None), nn.LayerNorm)
        self.body.prune_intermediate_layers(self.levels, prune_norm=not self.norm, prune_head=True)
        self.widths = tuple(info[level]["num_chs"] for level in self.levels)
        self.strides = tuple(info[level]["reduction"] for level in self.levels)
        # What cuts the image into patches wants whole cells at the coarsest level, padded convolutions do not mind.
        cuts = isinstance(self.body, ConvNeXt) or hasattr(self.body, "patch_embed")
        self.size_multiple = self.strides[-1] if cuts else 1
        if isinstance(self.body, Beit):
            any_grid(self.body)
        recompute_activations(self.body)
        self.set_position_embedding(timm_name, position_embedding)

    def set_position_embedding(self, timm_name: str, rule: PositionRule | None) -> None:
        """Choose how the position embedding is resized."""
        embedded = type(self.body) is VisionTransformer and self.body.pos_embed is not None
        if rule not in (None, "dinov2", "timm"):
            raise ConfigError(f"encoder.position_embedding={rule}: choose dinov2, timm or null")
        if rule is not None and not embedded:
            raise ConfigError(
                f"encoder.position_embedding={rule}: {timm_name} has no position embedding of that kind; use null"
            )
        if rule == "dinov2":
            self.body.__class__ = DINOv2ViT
        self.position_embedding = rule or ("timm" if embedded else None)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four (B, widths[l], ceil(H / strides[l]), ceil(W / strides[l]))."""
        # norm: the authors normalise every level, timm by default none.
        return self.body.forward_intermediates(
            images, indices=self.levels, norm=self.norm, output_fmt="NCHW", intermediates_only=True
        )

    def layer_numbers(self) -> dict[str, int]:
        """By timm's own grouping: the stem, then block by block; the last norm counts with the last block."""
        groups = group_parameters(self.body, self.body.group_matcher(coarse=False), reverse=True)
        return {f"body.{name}": number for name, number in groups.items()}

    def checkpoint_gradients(self) -> None:
        """Recompute block by block, or stage by stage, as timm does for the model."""
        try:
            self.body.set_grad_checkpointing(True)
        except (AssertionError, AttributeError) as error:
            raise ConfigError("encoder.gradient_checkpointing: timm has none for this model; use false") from error


def create_body(timm_name: str, *, pretrained: bool, options: Mapping[str, Any]) -> Any:
    """Build a timm model for images of any size where it can be.

    Raises:
        ConfigError: an option that the model does not take, a tag that it does not have.
        WeightsError: the download failed.
    """
    try:
        attempts: list[dict[str, Any]] = [{"dynamic_img_size": True}, {"strict_img_size": False}, {}]
        for flexible in attempts:
            try:
                return timm.create_model(timm_name, pretrained=pretrained, num_classes=0, **flexible, **options)
            except TypeError as error:
                if not any(option in str(error) for option in flexible):
                    raise
    except TypeError as error:
        raise ConfigError(f"encoder.options: {timm_name} does not take them ({error})") from error
    except Exception as error:
        if "Invalid pretrained tag" in str(error):
            raise ConfigError(f"encoder.name={timm_name}: {error}") from error
        if not pretrained:
            raise
        # The hub's client raises many kinds of error; each means that the weights could not be had.
        raise WeightsError(
            f"the weights of {timm_name} could not be downloaded ({type(error).__name__}: {error}). "
            f"Download model.safetensors of timm/{timm_name} from the Hugging Face hub on a machine with network "
            "access and give encoder.weights=PATH, or train from scratch with encoder.weights=null"
        ) from error
    raise AssertionError("unreachable: the last attempt has no flexible option")


class MiTEncoder(Encoder):
    """MiT-B5 of SegFormer, from segmentation-models-pytorch: stages of strides 4, 8, 16 and 32.

    Args:
        pretrained: load that library's published weights.

    Raises:
        ConfigError: the library is not installed.
        WeightsError: the download failed.
    """

    widths = (64, 128, 320, 512)
    strides = (4, 8, 16, 32)
    size_multiple = 1

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        try:
            from segmentation_models_pytorch.encoders import get_encoder
        except ModuleNotFoundError as error:
            raise ConfigError("encoder=mitb5 needs another library: pip install 'unimatch[mit]'") from error
        try:
            with torch.device("cpu"):  # it reads numbers from tensors, which those of the meta device have none of
                self.body = get_encoder("mit_b5", weights="imagenet" if pretrained else None)
        except Exception as error:
            if not pretrained:
                raise
            raise WeightsError(
                f"the weights of mit_b5 could not be downloaded ({type(error).__name__}: {error}). Download "
                "smp-hub/mit_b5.imagenet from the Hugging Face hub on a machine with network access and give "
                "encoder.weights=PATH, or train from scratch with encoder.weights=null"
            ) from error

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, widths[l], ceil(H / strides[l]), ...) for four levels."""
        return self.body(images)[-4:]

    def layer_numbers(self) -> dict[str, int]:
        """The stage: patch embedding, blocks and norm of stage 1 are 0, and so on."""
        return {
            name: next(int(c) - 1 for c in name.partition(".")[2] if c.isdigit()) for name, _ in self.named_parameters()
        }


class TinyEncoder(Encoder):
    """Four stages of convolutions with BatchNorm, for the demo and for tests: 0.7M parameters, from scratch."""

    widths = (48, 96, 128, 128)
    strides = (4, 8, 16, 32)
    size_multiple = 1

    def __init__(self) -> None:
        super().__init__()
        stem = self.widths[0] // 2
        self.stem = nn.Sequential(*conv_bn_relu(3, stem, stride=2))
        stages, before = [], stem
        for width in self.widths:
            stages.append(nn.Sequential(*conv_bn_relu(before, width, stride=2), *conv_bn_relu(width, width, stride=1)))
            before = width
        self.stages = nn.ModuleList(stages)

    @property
    def body(self) -> nn.Module:
        """Itself."""
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, widths[l], ceil(H / strides[l]), ...) for four levels."""
        levels = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels

    def layer_numbers(self) -> dict[str, int]:
        """0 for the stem, then stage by stage."""
        return {
            name: int(name.split(".")[1]) + 1 if name.startswith("stages.") else 0
            for name, _ in self.named_parameters()
        }


def conv_bn_relu(inputs: int, outputs: int, *, stride: int) -> tuple[nn.Module, ...]:
    """A 3 x 3 convolution, BatchNorm and ReLU."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
