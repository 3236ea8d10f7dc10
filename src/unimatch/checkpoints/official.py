"""Reads the authors' published UniMatch V2 checkpoints as our models.

A file is read with ``weights_only=True``; no code in it is run. :func:`official_key` maps each of our names to theirs;
tensors that are missing, left over or of another shape are refused by name.

Two parts of the published models are left out on purpose, because they have no effect on the output: the first residual
unit of the coarsest fusion block, and the mask token of DINOv2's pretraining.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import override

from unimatch.checkpoints.content import MODEL
from unimatch.errors import WeightsError
from unimatch.kinds import checked
from unimatch.models.base import Model
from unimatch.models.descriptions import build_described
from unimatch.models.networks import ChangeModel, SegmentationModel
from unimatch.models.weights import listed, read_plain

log = logging.getLogger("unimatch")

ENTRIES = {"teacher": "model_ema", "student": "model"}
"""The entries of a published checkpoint that hold the two models."""

ENCODERS = {384: "vits", 768: "vitb", 1024: "vitl", 1536: "vitg"}
"""Our names for DINOv2's sizes, by the width of their tokens."""

UNUSED = (
    "backbone.mask_token",
    *(f"head.scratch.refinenet4.resConfUnit1.conv{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")),
)
"""Tensors that the published models hold but never use."""

PATCH = 14
"""Side of DINOv2's patches in pixels."""


class WholePatches(Model):
    """Crops images to whole patches, as the published models do.

    ``forward`` takes (B, ..., H, W) normalised floats, at least 14 pixels a side, and returns logits (B, C, 14 * (H //
    14), 14 * (W // 14)); it ignores the pixels beyond the last whole patch at the bottom and on the right.
    """

    @override
    def forward(self, images: Tensor) -> Tensor:
        height, width = (PATCH * (side // PATCH) for side in images.shape[-2:])
        return super().forward(images[..., :height, :width])


class OfficialModel(WholePatches, SegmentationModel):
    """A published model of segmentation."""


class OfficialChangeModel(WholePatches, ChangeModel):
    """A published model of change detection."""


OFFICIAL: dict[object, type[Model]] = {"segmentation": OfficialModel, "change": OfficialChangeModel}
"""The model class of each task, by the task's name."""

CHANGE_ENTRY = "previous_best_acc"
"""An entry, the accuracy, that only published checkpoints of change detection have: the weights' names are the same."""


@dataclass(frozen=True)
class OfficialWeights:
    """The description and the weights of one of the two models in a published checkpoint."""

    description: dict[str, Any]
    """The task, and the arguments of its model (:func:`unimatch.models.descriptions.describe_model`)."""
    state: dict[str, Tensor]
    """The weights, by our names."""
    report: str
    """A line for the log: what matched and what was left out."""


@checked
def load_official(path: str | Path, which: Literal["teacher", "student"] = "teacher") -> Model:
    """Loads a model of one of the authors' published checkpoints, in eval mode on the CPU.

    The model's size and number of classes are read from the file. The position embedding, which DINOv2 has for 37 x 37
    patches, is resized by the published rule (:func:`unimatch.models.position_embedding.resize_positions`). What
    matched is logged.

    Args:
        path: such as ``ade20k_vitb.pth``.
        which: the teacher, whose results the paper reports, or the student.

    Returns:
        A model that turns (B, 3, H, W) floats, normalised with ImageNet's mean and deviation, into logits (B, C, 14 *
        (H // 14), 14 * (W // 14)); in change detection it takes (B, 2, 3, H, W). H and W need not be multiples of 14:
        pixels beyond the last whole patch are cropped.

    Raises:
        WeightsError: not such a checkpoint, with the reason.
    """
    weights = read_official(path, which)
    log.info("%s", weights.report)
    arguments = {"weights": None, **weights.description}
    model = OFFICIAL[arguments.pop("task")](**arguments)
    model.load_state_dict(weights.state)
    return model.eval()


def read_official(path: str | Path, which: Literal["teacher", "student"]) -> OfficialWeights:
    """Reads the weights of one of the two models of a published checkpoint, under our names.

    Raises:
        WeightsError: not such a checkpoint, with the reason.
    """
    path = Path(path).expanduser()
    checkpoint = read_plain(path, "checkpoint", NUMPY_SCALAR)
    if not isinstance(checkpoint, dict):
        raise WeightsError(f"{path}: not a checkpoint: expected a dict, found {type(checkpoint).__name__}")
    if MODEL in checkpoint:
        raise WeightsError(f"{path}: already one of our checkpoints; unimatch.load_model reads it")
    entry = ENTRIES[which]
    if entry not in checkpoint:
        raise WeightsError(
            f"{path}: no entry '{entry}' for the {which}, as a UniMatch V2 checkpoint has; there are: "
            + ", ".join(sorted(map(str, checkpoint))[:8])
        )
    given = checkpoint[entry]
    if not isinstance(given, dict) or not all(isinstance(value, Tensor) for value in given.values()):
        raise WeightsError(f"{path}: '{entry}' is not a state dict, tensors by name")
    given = {str(key).removeprefix("module."): value for key, value in given.items()}
    task = ChangeModel.task if CHANGE_ENTRY in checkpoint else SegmentationModel.task
    description = {"task": task, **describe(path, given)}
    with torch.device("meta"):
        wanted = build_described(description).state_dict()
    names = {ours: official_key(ours, swiglu=description["encoder"] == "vitg") for ours in wanted}
    missing = [name for name in names.values() if name not in given]
    extra = sorted(set(given) - set(names.values()) - set(UNUSED))
    shapes = [
        f"{name}: {tuple(given[name].shape)} in the file, {tuple(wanted[ours].shape)} expected"
        for ours, name in names.items()
        if name in given and given[name].shape != wanted[ours].shape
    ]
    title = f"UniMatch V2's {which} with DINOv2 {description['encoder']}, {description['num_classes']} classes"
    title += ", for change detection" * (task == ChangeModel.task)
    if missing or extra or shapes:
        raise WeightsError(
            f"{path}: looks like {title}, but does not match"
            + listed(f"{len(missing)} of {len(names)} tensors are missing", missing)
            + listed(f"{len(extra)} are not known", extra)
            + listed(f"{len(shapes)} have another shape", shapes)
        )
    left_out = [name for name in UNUSED if name in given]
    encoder = sum(name.startswith("backbone.") for name in names.values())
    report = (
        f"{path}: {title}: {encoder} tensors of the encoder and {len(names) - encoder} of the decoder matched by name "
        f"and shape; left out, because nothing uses them: {', '.join(left_out) or 'none'}"
    )
    return OfficialWeights(description, {ours: given[name] for ours, name in names.items()}, report)


def describe(path: Path, given: dict[str, Tensor]) -> dict[str, Any]:
    """Returns the arguments of the model that has weights of these shapes.

    Raises:
        WeightsError: they are the weights of another kind of model.
    """
    if "backbone.cls_token" not in given:
        what = "UniMatch V1's (a ResNet with DeepLabV3+)" if any(".layer4." in key for key in given) else "another's"
        raise WeightsError(
            f"{path}: not a UniMatch V2 checkpoint: no DINOv2 encoder ('backbone.cls_token'), so it is {what}"
            + listed("it holds", sorted(given), limit=4)
        )
    width = (given["backbone.cls_token"].shape or (0,))[-1]
    if width not in ENCODERS:
        raise WeightsError(f"{path}: its encoder is {width} wide; DINOv2's are {', '.join(map(str, ENCODERS))}")
    heads = [f"head.projects.{level}.weight" for level in range(4)]
    heads += ["head.scratch.layer1_rn.weight", "head.scratch.output_conv.2.weight"]
    absent = [key for key in heads if key not in given]
    if absent:
        found = sorted(key for key in given if not key.startswith("backbone."))
        raise WeightsError(
            f"{path}: its decoder is not UniMatch V2's DPT"
            + listed("not in the file", absent)
            + listed("but there are", found, limit=4)
        )
    if any(given[key].ndim != 4 for key in heads):
        raise WeightsError(f"{path}: its decoder's weights are not those of convolutions")
    *projections, reduction, classifier = (given[key].shape for key in heads)
    return {
        "encoder": ENCODERS[width],
        "num_classes": classifier[0],
        "features": reduction[0],
        "out_channels": [shape[0] for shape in projections],
        "position_embedding": "dinov2",
    }


def official_key(ours: str, *, swiglu: bool = False) -> str:
    """Returns the published name of one of our tensors.

    Args:
        ours: in the state dict of a :class:`SegmentationModel` with a DINOv2 encoder.
        swiglu: whether the encoder is ViT-g, whose feed-forward layers have other names.

    >>> official_key("encoder.body.blocks.3.attn.qkv.weight")
    'backbone.blocks.3.attn.qkv.weight'
    >>> official_key("decoder.fuse.0.refine_skip.layers.3.bias")
    'head.scratch.refinenet1.resConfUnit1.conv2.bias'
    """
    part, _, name = ours.partition(".")
    if part == "encoder":
        name = name.removeprefix("body.")
        if swiglu:
            name = name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.")
        return f"backbone.{name}"
    layer, _, rest = name.partition(".")
    index, _, rest = rest.partition(".")
    match layer:
        case "project":
            return f"head.projects.{index}.{rest}"
        case "resize":
            return f"head.resize_layers.{index}.{rest}"
        case "reduce":
            return f"head.scratch.layer{int(index) + 1}_rn.{rest}"
        case "classify":
            return f"head.scratch.output_conv.{index}.{rest}"
    for mine, theirs in (("refine_skip.layers.", "resConfUnit1.conv"), ("refine.layers.", "resConfUnit2.conv")):
        if rest.startswith(mine):
            convolution, _, kind = rest.removeprefix(mine).partition(".")
            return f"head.scratch.refinenet{int(index) + 1}.{theirs}{ {'1': 1, '3': 2}[convolution] }.{kind}"
    return f"head.scratch.refinenet{int(index) + 1}.{rest.replace('project.', 'out_conv.')}"


class Ignored:
    """Replaces an object that a file may hold beside tensors and plain values: accepts its content and ignores it."""

    def __init__(self, *content: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


NUMPY_SCALAR: list[Any] = [
    type(name, (Ignored,), {"__module__": f"numpy{module}"})
    for module, name in (("", "dtype"), (".core.multiarray", "scalar"), ("._core.multiarray", "scalar"))
]
"""Classes that torch's reader creates in place of NumPy's, because they have the names that NumPy 1 and 2 write: the
published files hold their best mIoU as a NumPy scalar."""
