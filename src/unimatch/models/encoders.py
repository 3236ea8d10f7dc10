"""Builds encoders by name: the presets, and any other model of timm.

Source: UniMatch V2, section 4.1 and table 9.
"""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import EllipsisType
from typing import Any

import timm
from timm.models import is_model_pretrained
from timm.models.fastvit import FastVit

from unimatch.errors import ConfigError
from unimatch.kinds import checked
from unimatch.models.encoder_base import Encoder
from unimatch.models.image_sizes import find_image_sizes
from unimatch.models.mit import MiTEncoder
from unimatch.models.presets import PRESETS, License, PositionRule, Preset
from unimatch.models.timm_encoders import TimmBody, TimmEncoder, create_body
from unimatch.models.tiny import TinyEncoder
from unimatch.models.weights import load_weights_file

log = logging.getLogger("unimatch")

PRETRAINED = "pretrained"
"""The value of ``weights`` that asks for the published weights."""
Weights = str | Path | None | EllipsisType
"""Where an encoder's weights come from: ``"pretrained"``, a file, or None for random ones; ``...`` if not given."""
FREE_LICENSES = {"apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit"}
"""Licences that allow any use, by timm's names."""


@checked
def build_encoder(
    name: str,
    weights: Weights = ...,
    *,
    position_embedding: PositionRule | None = None,
    options: Mapping[str, Any] | None = None,
    timm_encoder: type[TimmBody] | None = None,
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
