"""Reads the authors' published UniMatch V2 checkpoints as our models.

A file is read with ``weights_only=True``; nothing in it is run. Their names and ours are matched by
:func:`official_key`, one by one; what is missing, left over or of another shape is refused with its name.

Two things of the published models are left out on purpose, because nothing passes through them: the first residual
unit of the coarsest fusion block, and the mask token of DINOv2's own pretraining.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.serialization import safe_globals
from typing_extensions import override

from unimatch.checkpoints.content import MODEL
from unimatch.checkpoints.files import read_plain
from unimatch.errors import WeightsError
from unimatch.models.networks import ChangeModel, Model, SegmentationModel, build_described
from unimatch.models.weights import listed

log = logging.getLogger("unimatch")

ENTRIES = {"teacher": "model_ema", "student": "model"}
"""The entries of a checkpoint in which the two models are."""

ENCODERS = {384: "vits", 768: "vitb", 1024: "vitl", 1536: "vitg"}
"""Our names of DINOv2's sizes, by the width of their tokens."""

UNUSED = (
    "backbone.mask_token",
    *(f"head.scratch.refinenet4.resConfUnit1.conv{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")),
)
"""What the published models hold and never use."""

FUSION = {
    "refine_skip.layers.1.": "resConfUnit1.conv1.",
    "refine_skip.layers.3.": "resConfUnit1.conv2.",
    "refine.layers.1.": "resConfUnit2.conv1.",
    "refine.layers.3.": "resConfUnit2.conv2.",
    "project.": "out_conv.",
}
NAMES = {
    "encoder.body.": "backbone.",
    "encoder.": "backbone.",
    "decoder.project.": "head.projects.",
    "decoder.resize.": "head.resize_layers.",
    "decoder.classify.": "head.scratch.output_conv.",
    **{f"decoder.reduce.{i}.": f"head.scratch.layer{i + 1}_rn." for i in range(4)},
    **{
        f"decoder.fuse.{i}.{ours}": f"head.scratch.refinenet{i + 1}.{FUSION[ours]}" for i in range(4) for ours in FUSION
    },
}
"""How our names of tensors begin, and the published ones."""

PATCH = 14


class WholePatches(Model):
    """What published models do with images of any size, at least 14 pixels a side: they cut them to whole patches.

    ``forward`` takes (B, ..., H, W) normalised floats and gives (B, C, 14 * (H // 14), 14 * (W // 14)) logits; it
    ignores what exceeds the last whole patch at the bottom and at the right.
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

CHANGE_ENTRY = "previous_best_acc"
"""An entry of the published checkpoints of change detection alone: their accuracy. The weights' names are the same."""


@dataclass(frozen=True)
class OfficialWeights:
    """What a published checkpoint holds of one of its two models."""

    description: dict[str, Any]
    """The task, and the arguments of its model (:func:`unimatch.models.networks.describe_model`)."""
    state: dict[str, Tensor]
    """Its weights, by our names."""
    report: str
    """What matched and what was left out."""


def load_official(path: str | Path, which: Literal["teacher", "student"] = "teacher") -> Model:
    """Loads a model of one of the authors' published checkpoints, in eval mode on the CPU.

    Its size and its number of classes are read from the file. Off the 37 x 37 patches of DINOv2's position embedding
    the published rule resizes it (:func:`unimatch.models.position_embedding.resize_positions`). What matched is logged.

    Args:
        path: such as ``ade20k_vitb.pth``.
        which: the teacher, whose results the paper reports, or the student.

    Returns:
        (B, 3, H, W) floats, normalised with ImageNet's mean and deviation -> (B, C, 14 * (H // 14), 14 * (W // 14))
        logits. H and W need not be multiples of 14: what exceeds the last whole patch is cut off. One of change
        detection takes (B, 2, 3, H, W).

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
    """Reads the weights of one of the two models of a published checkpoint, under our names, or says why not."""
    path = Path(path).expanduser()
    checkpoint = read_published(path)
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
    """Reads the arguments of the model from the shapes of its weights, or says what other model it is."""
    if "backbone.cls_token" not in given:
        what = "UniMatch V1's (a ResNet with DeepLabV3+)" if any(".layer4." in key for key in given) else "another's"
        raise WeightsError(
            f"{path}: not a UniMatch V2 checkpoint: no DINOv2 encoder ('backbone.cls_token'), so it is {what}"
            + listed("it holds", sorted(given), limit=4)
        )
    width = given["backbone.cls_token"].shape[-1]
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
        swiglu: whether the encoder is ViT-g, whose feed-forward layers have names of their own.

    >>> official_key("encoder.body.blocks.3.attn.qkv.weight")
    'backbone.blocks.3.attn.qkv.weight'
    >>> official_key("decoder.fuse.0.refine_skip.layers.3.bias")
    'head.scratch.refinenet1.resConfUnit1.conv2.bias'
    """
    name = next(theirs + ours.removeprefix(mine) for mine, theirs in NAMES.items() if ours.startswith(mine))
    return name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.") if swiglu else name


class Ignored:
    """Stands in for what a file may hold beside tensors and plain values: takes its content and does nothing."""

    def __init__(self, *content: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


NUMPY_SCALAR: list[Any] = [
    type(name, (Ignored,), {"__module__": module})
    for module, name in (
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
    )
]
"""The published files hold their best mIoU as a NumPy scalar. torch's reader finds these classes by the names that
NumPy 1 and 2 give its parts, and makes them instead of calling NumPy."""


def read_published(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of tensors, plain values and NumPy scalars (whose values are dropped), and nothing else."""
    with safe_globals(NUMPY_SCALAR):
        checkpoint = read_plain(path)
    if not isinstance(checkpoint, dict):
        raise WeightsError(f"{path}: not a checkpoint: expected a dict, found {type(checkpoint).__name__}")
    return checkpoint
