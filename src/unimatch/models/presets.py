"""The encoders by short name, the licences of their weights, and the widths of the decoder that suits an encoder.

Source: UniMatch V2, section 4.1 (DINOv2 with DPT) and table 9 (other encoders); widths and blocks are those of the
published models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PositionRule = Literal["dinov2", "timm"]
"""How a position embedding is resized, see :mod:`unimatch.models.position_embedding`."""


@dataclass(frozen=True)
class License:
    """The licence of published weights."""

    name: str
    terms: str = ""
    """What a user must know before using the weights; empty for a free licence."""


APACHE = License("Apache-2.0")
DINOV3 = License(
    "DINOv3 License",
    "not a free licence; it also binds what is derived from the weights: read "
    "https://ai.meta.com/resources/models-and-libraries/dinov3-license/ before you use or pass on what you train",
)
NVIDIA = License("NVIDIA Source Code License", "for research and evaluation, not for commercial use")


@dataclass(frozen=True)
class Preset:
    """An encoder by its short name."""

    timm_name: str
    """Architecture and weights in timm; empty where timm does not have it."""
    license: License | None
    """Of the published weights; None where there are none."""
    position_embedding: PositionRule | None = None
    """The rule that its weights were trained with; None for timm's, or if it has no such embedding."""
    features: int | None = None
    """Channels of the decoder's fusion blocks; None for :func:`decoder_widths`."""
    out_channels: tuple[int, int, int, int] | None = None
    """Channels of the decoder's four levels; None for :func:`decoder_widths`."""


PRESETS: dict[str, Preset] = {
    "vits": Preset("vit_small_patch14_dinov2.lvd142m", APACHE, "dinov2"),
    "vitb": Preset("vit_base_patch14_dinov2.lvd142m", APACHE, "dinov2"),
    "vitl": Preset("vit_large_patch14_dinov2.lvd142m", APACHE, "dinov2"),
    "vitg": Preset("vit_giant_patch14_dinov2.lvd142m", APACHE, "dinov2"),
    # With registers the authors resize antialiased and without offset, which is timm's rule.
    "vits_reg": Preset("vit_small_patch14_reg4_dinov2.lvd142m", APACHE, "timm"),
    "vitb_reg": Preset("vit_base_patch14_reg4_dinov2.lvd142m", APACHE, "timm"),
    "vitl_reg": Preset("vit_large_patch14_reg4_dinov2.lvd142m", APACHE, "timm"),
    "vitg_reg": Preset("vit_giant_patch14_reg4_dinov2.lvd142m", APACHE, "timm"),
    "dinov3_s": Preset("vit_small_patch16_dinov3.lvd1689m", DINOV3),
    "dinov3_splus": Preset("vit_small_plus_patch16_dinov3.lvd1689m", DINOV3),
    "dinov3_b": Preset("vit_base_patch16_dinov3.lvd1689m", DINOV3),
    "dinov3_l": Preset("vit_large_patch16_dinov3.lvd1689m", DINOV3),
    "dinov3_convnext_t": Preset("convnext_tiny.dinov3_lvd1689m", DINOV3),
    "dinov3_convnext_s": Preset("convnext_small.dinov3_lvd1689m", DINOV3),
    "dinov3_convnext_b": Preset("convnext_base.dinov3_lvd1689m", DINOV3),
    "dinov3_convnext_l": Preset("convnext_large.dinov3_lvd1689m", DINOV3),
    "beit_b": Preset("beit_base_patch16_384.in22k_ft_in22k_in1k", APACHE),
    "beit_l": Preset("beit_large_patch16_512.in22k_ft_in22k_in1k", APACHE),
    "sam_b": Preset("samvit_base_patch16.sa1b", APACHE),
    "sam_l": Preset("samvit_large_patch16.sa1b", APACHE),
    "resnet50": Preset("resnet50.a1_in1k", APACHE),
    "resnet101": Preset("resnet101.a1_in1k", APACHE),
    "resnet152": Preset("resnet152.a1_in1k", APACHE),
    "convnext_t": Preset("convnext_tiny.fb_in22k", APACHE),
    "convnext_b": Preset("convnext_base.fb_in22k", APACHE),
    # A pyramid of 24, 40, 112 and 320 channels; the decoder is kept as small as the encoder.
    "efficientnet_lite0": Preset("tf_efficientnet_lite0.in1k", APACHE, features=48, out_channels=(24, 40, 112, 320)),
    "mitb5": Preset("", NVIDIA),
    "tiny": Preset("", None, features=32, out_channels=(32, 32, 32, 32)),
}


def token_blocks(depth: int) -> list[int]:
    """Returns the four blocks (from 0) of a transformer that feed the decoder.

    They are those of the published models, and for other depths the last block of each quarter.

    >>> token_blocks(12), token_blocks(24), token_blocks(40)
    ([2, 5, 8, 11], [4, 11, 17, 23], [9, 19, 29, 39])
    """
    return [4, 11, 17, 23] if depth == 24 else [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]


def decoder_widths(widths: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Returns the channels of a decoder's fusion blocks and of its four levels, from the channels of the encoder's.

    Transformers, whose levels are equally wide, get the decoder of the published model of their width, or of the next
    larger one. Pyramids keep their own widths, at most 1024; their fusion blocks are those of the published model as
    wide as their last stage, at most 256.

    >>> decoder_widths([384] * 4)
    (64, (48, 96, 192, 384))
    >>> decoder_widths([256, 512, 1024, 2048])
    (256, (256, 512, 1024, 1024))
    """
    pyramid = len(set(widths)) > 1
    for width, features, out_channels in (
        (384, 64, (48, 96, 192, 384)),
        (768, 128, (96, 192, 384, 768)),
        (1024, 256, (256, 512, 1024, 1024)),
    ):
        if widths[-1] <= width:
            return features, tuple(widths) if pyramid else out_channels
    return (256, tuple(min(width, 1024) for width in widths)) if pyramid else (384, (1536,) * 4)
