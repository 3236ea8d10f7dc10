"""Encoders: an image batch -> four feature maps, fine to coarse (or of one size, for transformers).

Every encoder says what a decoder needs to know: ``widths``, ``strides`` (pixels per feature cell) and
``size_multiple`` (image sides must be multiples of it). timm builds and loads all of them but :class:`TinyEncoder`.

Source: UniMatch V2, section 4.1 (DINOv2 with DPT); the blocks of a 12-, 24- and 40-layer transformer that
feed the decoder are those of the published models.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from unimatch.errors import ConfigError, WeightsError
from unimatch.models.weights import load_weights_file

PRETRAINED = "pretrained"
"""The value of ``weights`` that asks for timm's published weights."""


class Encoder(nn.Module):
    """What every encoder offers.

    ``forward`` takes (B, 3, H, W) normalised floats and returns four maps (B, widths[l], H / strides[l], W / ...).
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    size_multiple: int
    body: Any


@dataclass(frozen=True)
class Preset:
    """An encoder by its short name, and the decoder that the paper puts on it."""

    timm_name: str
    features: int
    """Width of the decoder's fusion blocks."""
    out_channels: tuple[int, int, int, int]
    """Widths of the decoder's four reassembled levels."""
    blocks: tuple[int, int, int, int] | None = None
    """The transformer blocks whose tokens are used; None for pyramids, whose last four stages are."""


DINOV2_BLOCKS = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23), 40: (9, 19, 29, 39)}

PRESETS: dict[str, Preset] = {
    "vits": Preset("vit_small_patch14_dinov2.lvd142m", 64, (48, 96, 192, 384), DINOV2_BLOCKS[12]),
    "vitb": Preset("vit_base_patch14_dinov2.lvd142m", 128, (96, 192, 384, 768), DINOV2_BLOCKS[12]),
    "vitl": Preset("vit_large_patch14_dinov2.lvd142m", 256, (256, 512, 1024, 1024), DINOV2_BLOCKS[24]),
    "vitg": Preset("vit_giant_patch14_dinov2.lvd142m", 384, (1536, 1536, 1536, 1536), DINOV2_BLOCKS[40]),
    # A pyramid of 24, 40, 112 and 320 channels; the decoder is kept as small as the encoder.
    "efficientnet_lite0": Preset("tf_efficientnet_lite0.in1k", 48, (24, 40, 112, 320)),
    "tiny": Preset("", 32, (32, 32, 32, 32)),
}


def build_encoder(name: str, weights: str | Path | None = None) -> Encoder:
    """Build an encoder by its preset's name.

    Args:
        name: a key of :data:`PRESETS`.
        weights: None for random ones, ``"pretrained"`` for timm's published ones (downloaded once), or a file in
            timm's key names, safetensors or a PyTorch state dict.

    Raises:
        ConfigError: an unknown name, or ``"pretrained"`` for ``tiny``.
        WeightsError: the file does not fit, or the download failed.

    >>> import torch
    >>> encoder = build_encoder("tiny")
    >>> [tuple(level.shape) for level in encoder(torch.zeros(1, 3, 48, 48))]
    [(1, 48, 12, 12), (1, 96, 6, 6), (1, 128, 3, 3), (1, 128, 2, 2)]
    """
    preset = find_preset(name)
    encoder: Encoder
    if name == "tiny":
        encoder = TinyEncoder()
        if weights == PRETRAINED:
            raise ConfigError("encoder.weights=pretrained: the tiny encoder has no published weights; use null")
    else:
        published = weights == PRETRAINED
        try:
            if preset.blocks is None:
                encoder = PyramidEncoder(preset.timm_name, pretrained=published)
            else:
                encoder = TokenEncoder(preset.timm_name, preset.blocks, pretrained=published)
        except Exception as error:
            if not published:
                raise
            # The hub's client raises many kinds of error; each means that the weights could not be had.
            raise WeightsError(
                f"the weights of {preset.timm_name} could not be downloaded ({type(error).__name__}: {error}). "
                f"Download "
                f"model.safetensors of timm/{preset.timm_name} from the Hugging Face hub on a machine with network "
                "access and give encoder.weights=PATH, or train from scratch with encoder.weights=null"
            ) from error
    if weights is not None and weights != PRETRAINED:
        load_weights_file(encoder if name == "tiny" else encoder.body, Path(weights))
    return encoder


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"encoder.name={name}: unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


class TokenEncoder(Encoder):
    """A vision transformer: the tokens after four blocks, through the final LayerNorm, as maps of one size.

    Args:
        timm_name: a timm model with ``forward_intermediates``.
        blocks: four 0-based block numbers.
        pretrained: load timm's published weights.
    """

    def __init__(self, timm_name: str, blocks: tuple[int, int, int, int], *, pretrained: bool = False) -> None:
        super().__init__()
        self.body = timm.create_model(timm_name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
        self.blocks = list(blocks)
        patch = self.body.patch_embed.patch_size[0]
        self.widths = (self.body.embed_dim,) * 4
        self.strides = (patch,) * 4
        self.size_multiple = patch

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four (B, D, H / patch, W / patch)."""
        return self.body.forward_intermediates(  # norm=True: the authors normalise every level, timm by default none
            images, indices=self.blocks, norm=True, output_fmt="NCHW", intermediates_only=True
        )


class PyramidEncoder(Encoder):
    """A convolutional network: its last four stages, usually of strides 4, 8, 16 and 32.

    Args:
        timm_name: a timm model that offers ``features_only``.
        pretrained: load timm's published weights.
    """

    size_multiple = 1

    def __init__(self, timm_name: str, *, pretrained: bool = False) -> None:
        super().__init__()
        self.body = timm.create_model(
            timm_name, pretrained=pretrained, features_only=True, out_indices=(-4, -3, -2, -1)
        )
        self.widths = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, widths[l], ceil(H / strides[l]), ...) for four levels."""
        return self.body(images)


class TinyEncoder(Encoder):
    """Four stages of convolutions with BatchNorm, for the demo and for tests: 0.6M parameters, from scratch."""

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

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, widths[l], ceil(H / strides[l]), ...) for four levels."""
        levels = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


def conv_bn_relu(inputs: int, outputs: int, *, stride: int) -> tuple[nn.Module, ...]:
    """A 3 x 3 convolution, BatchNorm and ReLU."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
