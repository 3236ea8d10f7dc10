"""Describes a model by plain values, and builds it again from them: this is how checkpoints hold models."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unimatch.errors import ConfigError, first_line
from unimatch.images.arrays import nearest_multiple
from unimatch.models.base import Model
from unimatch.models.networks import ChangeModel, ClassificationModel, SegmentationModel
from unimatch.models.own import build_own, describe_maker, own_name

MODELS: dict[str, type[Model]] = {model.task: model for model in (SegmentationModel, ChangeModel, ClassificationModel)}
"""The model class of each task, by the task's name."""


def describe_model(model: Model) -> dict[str, object]:
    """Returns a model's description for a checkpoint: its task, and the arguments that build it.

    There is an entry ``own`` if the class is not one of ours, or if the arguments would build other layers.
    """
    description = {"task": model.task, **model.description()}
    if model.made_by is not None:
        return {**description, "own": model.made_by}
    if type(model) not in MODELS.values():
        return {**description, "own": describe_maker(own_name(type(model)), model.given)}
    if builds(description, model):
        return description
    return {**description, "own": {"name": None, "arguments": None}}


def builds(description: Mapping[str, Any], model: Model) -> bool:
    """Tells whether a description builds a model like this one: the same layers, by the same names."""
    try:
        with torch.device("meta"):  # takes no memory
            return layers_of(build_described(description)) == layers_of(model)
    except Exception:  # such as for an encoder of your own, which cannot be built by name
        return False


def layers_of(model: nn.Module) -> list[tuple[object, ...]]:
    """Returns what must agree in equal models: each layer's name, class and settings, and each tensor's shape."""
    kinds = [(name, kind_of(module), module.extra_repr()) for name, module in model.named_modules()]
    return [*kinds, *((name, tuple(tensor.shape)) for name, tensor in model.state_dict().items())]


REPLACED_IN = ("unimatch.speed", "torch.distributed")
"""Modules that define the classes by which layers are replaced during training."""


def kind_of(module: nn.Module) -> type:
    """Returns a layer's original class, even if it was replaced for speed or for several processes."""
    if isinstance(module, _BatchNorm):
        return _BatchNorm
    return next(kind for kind in type(module).__mro__ if not kind.__module__.startswith(REPLACED_IN))


def build_described(description: Mapping[str, Any]) -> Model:
    """Builds a described model with random weights; without a task in the description, it is a segmentation model.

    Raises:
        WeightsError: it is a model of your own that cannot be built (:func:`unimatch.models.own.build_own`).
    """
    arguments = {"weights": None, **description}
    with float32_by_default():
        if own := arguments.pop("own", None):
            return build_own(own["name"], own["arguments"])
        return MODELS[arguments.pop("task", SegmentationModel.task)](**arguments)


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Makes new weights float32, as weights files and images are, whatever PyTorch's default type is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@torch.no_grad()
def check_logits(model: Model) -> None:
    """Refuses a model of your own that does not run, or whose logits have the wrong shape; sets it to eval mode.

    Raises:
        ConfigError: with the error, or the shape of the logits.
    """
    side = nearest_multiple(64, model.size_multiple)
    device = next(model.parameters()).device
    images = torch.zeros(2, *model.sample_shape, side, side, device=device)
    try:
        logits: Any = model.eval().coarse(images)
    except ConfigError:
        raise
    except Exception as error:  # the user's code may raise anything
        parts = "encoder and decoder" if isinstance(model, SegmentationModel) else "parts"
        raise ConfigError(
            f"the model cannot be run on images of {tuple(images.shape)} ({type(error).__name__}: "
            f"{first_line(error)}): do its {parts} fit one another? A decoder is called with the list of the "
            "encoder's levels alone"
        ) from error
    if not isinstance(logits, Tensor):
        raise ConfigError(f"the model must give logits as one tensor, this one gives a {type(logits).__name__}")
    shape, maps = tuple(logits.shape), not isinstance(model, ClassificationModel)
    if shape[:2] != (2, model.num_classes) or len(shape) != (4 if maps else 2):
        expected = f"(2, {model.num_classes}{', h, w' if maps else ''})"
        raise ConfigError(f"the model turns images of {tuple(images.shape)} into logits of {shape}, not of {expected}")
