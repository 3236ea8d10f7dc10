"""Encoders turn images into four feature maps, fine to coarse; those of a transformer all have one size.

Every encoder states what a decoder needs to know: ``widths``, ``strides`` (pixels per feature cell) and
``size_multiple`` (image sides must be multiples of it). All but ``tiny`` and ``mitb5`` are models of timm.

Source: UniMatch V2, section 4.1 and table 9.
"""

import difflib
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from types import EllipsisType
from typing import Any

import timm
import torch
from timm.models import group_parameters, is_model_pretrained
from timm.models.beit import Beit
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.hub import download_error, offline_if_unreachable
from unimatch.models.image_sizes import find_image_sizes
from unimatch.models.position_embedding import DINOv2ViT, any_grid
from unimatch.models.presets import PRESETS, License, PositionRule, Preset, token_blocks
from unimatch.models.weights import load_weights_file

log = logging.getLogger("unimatch")

PRETRAINED = "pretrained"
"""The value of ``weights`` that asks for the published weights."""
Weights = str | Path | None | EllipsisType
"""Where an encoder's weights come from: ``"pretrained"``, a file, or None for random ones; ``...`` if not given."""
FREE_LICENSES = {"apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit"}
"""Licences that allow any use, by timm's names."""


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


def build_encoder(
    name: str,
    weights: Weights = ...,
    *,
    position_embedding: PositionRule | None = None,
    options: Mapping[str, Any] | None = None,
    timm_encoder: "type[TimmBody] | None" = None,
    channels: int = 3,
) -> Encoder:
    """Builds an encoder by the name of a preset or of a timm model.

    Args:
        name: a key of :data:`unimatch.models.PRESETS`, or any timm model that gives intermediate features.
        weights: ``"pretrained"`` for the published ones (downloaded once), None for random ones, or a file (safetensors
            or a PyTorch state dict) with the library's key names or, for DINOv2, the authors'. Must be given for
            encoders that have published weights, which are all but ``tiny``.
        position_embedding: for vision transformers of timm with a position embedding: how it is resized to another
            grid than its own, ``"dinov2"`` (bicubic, offset 0.1, as in the published models) or ``"timm"``
            (antialiased); None for the preset's rule.
        options: further arguments of the timm model, such as ``{"drop_path_rate": 0.1}``.
        timm_encoder: the class of the encoder of a timm model; None for :class:`TimmEncoder`.
        channels: of the images. For other than 3, the first layer's weights are converted by timm's rule: for one
            channel they are summed over red, green and blue; for C channels they are repeated in turn, times 3 / C.

    Raises:
        ConfigError: a name or option is unknown, the model lacks four feature levels or works at no size that is tried,
            there are no published weights, or ``weights`` is left out though there are some.
        WeightsError: the file does not fit, or the download failed.

    >>> import torch
    >>> encoder = build_encoder("tiny")
    >>> [tuple(level.shape) for level in encoder(torch.zeros(1, 3, 48, 48))]
    [(1, 48, 12, 12), (1, 96, 6, 6), (1, 128, 3, 3), (1, 128, 2, 2)]
    """
    preset = find_preset(name)
    weights = check_weights(name, weights, preset.license)
    published = weights == PRETRAINED
    encoder: Encoder
    if not preset.timm_name:
        if options or position_embedding:
            raise ConfigError(f"encoder={name}: takes neither options nor position_embedding")
        if name != "tiny" and channels != 3:
            raise ConfigError(
                f"encoder={name}: only takes images of 3 bands, and these have {channels}; choose another"
            )
        encoder = TinyEncoder(channels) if name == "tiny" else MiTEncoder(pretrained=published)
    else:
        rule = position_embedding or preset.position_embedding
        options = {**(options or {}), **({"in_chans": channels} if channels != 3 else {})}
        body = create_body(preset.timm_name, pretrained=published, position_embedding=rule, options=options)
        encoder = (timm_encoder or TimmEncoder)(body)
        # With channels last, PyTorch's backward pass of FastViT damages memory on a CPU.
        encoder.channels_last = not isinstance(body, FastVit)
    if weights is not None and not published:
        load_weights_file(encoder.body, Path(weights))
    if name not in PRESETS:  # the sizes of presets are known
        find_image_sizes(encoder, name, channels=(options or {}).get("in_chans", 3))
    return encoder


def find_preset(name: str) -> Preset:
    """Returns the preset of that name, or a new one for the timm model of that name."""
    if name in PRESETS:
        return PRESETS[name]
    if not name or not timm.is_model(name):
        close = difflib.get_close_matches(name, dict.fromkeys((*PRESETS, *timm.list_models())), n=3, cutoff=0.6)
        raise ConfigError(
            f"encoder={name}: neither one of ours ({', '.join(PRESETS)}) nor a model of timm"
            + (f"; did you mean {' or '.join(close)}?" if close else "")
        )
    try:
        stated = getattr(timm.get_pretrained_cfg(name), "license", None) or "licence that timm does not name"
    except RuntimeError as error:  # the weights' tag, after the dot, does not exist
        raise ConfigError(f"encoder={name}: {error}") from error
    license = License(stated, "" if stated in FREE_LICENSES else "not a licence that allows any use; read it first")
    return Preset(name, license if is_model_pretrained(name) else None)


def check_weights(name: str, weights: Weights, license: License | None) -> str | Path | None:
    """Returns the ``weights`` given for an encoder whose published ones have this licence; warns of its terms.

    Raises:
        ConfigError: published weights do not exist, or they do and ``weights`` was not given.
    """
    if license is None:
        if weights == PRETRAINED:
            raise ConfigError(f"weights={weights}: {name} has no published weights; use None (null in a configuration)")
        return None if isinstance(weights, EllipsisType) else weights
    if isinstance(weights, EllipsisType):
        raise ConfigError(
            f'weights: {name} has published ones: write weights="pretrained" to use them, weights=FILE for a file, '
            "or weights=None for random ones"
        )
    if license.terms and weights is not None:
        log.warning("the published weights of %s are under the %s: %s", name, license.name, license.terms)
    return weights


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
        raise ConfigError(f"position_embedding={rule}: must be dinov2 or timm, or left out")
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


class MiTEncoder(Encoder):
    """MiT-B5 of SegFormer, from segmentation-models-pytorch: stages of strides 4, 8, 16 and 32."""

    widths = (64, 128, 320, 512)
    strides = (4, 8, 16, 32)
    size_multiple = 1

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        try:
            from segmentation_models_pytorch.encoders import get_encoder
        except ModuleNotFoundError as error:
            raise ConfigError("encoder=mitb5: needs another library: pip install 'unimatch[mit]'") from error
        try:
            # On the CPU in any case: the constructor reads values from tensors, which the meta device does not hold.
            with offline_if_unreachable() if pretrained else nullcontext(), torch.device("cpu"):
                self.body = get_encoder("mit_b5", weights="imagenet" if pretrained else None)
        except Exception as error:
            if not pretrained:
                raise
            raise download_error("mit_b5", "smp-hub/mit_b5.imagenet", error) from error

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        return self.body(images)[-4:]

    @override
    def layer_numbers(self) -> dict[str, int]:
        # The stage, whose number is the first digit: patch embedding, blocks and norm of stage 1 have depth 0.
        names = [name for name, _ in self.named_parameters()]
        return {name: next(int(c) - 1 for c in name.partition(".")[2] if c.isdigit()) for name in names}


class TinyEncoder(Encoder):
    """Four stages of convolutions with BatchNorm (0.7M parameters), trained from scratch: for demo and tests."""

    widths = (48, 96, 128, 128)
    strides = (4, 8, 16, 32)
    size_multiple = 1

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        stem = self.widths[0] // 2
        self.stem = nn.Sequential(*conv_bn_relu(channels, stem, stride=2))
        self.stages = nn.ModuleList(
            nn.Sequential(*conv_bn_relu(before, width, stride=2), *conv_bn_relu(width, width, stride=1))
            for before, width in pairwise((stem, *self.widths))
        )

    @property
    @override
    def body(self) -> nn.Module:
        return self

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        return [x := stage(x) for stage in self.stages]

    @override
    def layer_numbers(self) -> dict[str, int]:
        names = [name for name, _ in self.named_parameters()]
        return {name: int(name.split(".")[1]) + 1 if name.startswith("stages.") else 0 for name in names}


def conv_bn_relu(inputs: int, outputs: int, *, stride: int) -> tuple[nn.Module, ...]:
    """Returns a 3 x 3 convolution, BatchNorm and ReLU."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
