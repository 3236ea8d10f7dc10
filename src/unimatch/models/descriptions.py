"""A model as plain values, from which a checkpoint builds it again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from unimatch.errors import ConfigError, first_line
from unimatch.images.arrays import nearest_multiple
from unimatch.models.base import Model
from unimatch.models.networks import ChangeModel, ClassificationModel, SegmentationModel
from unimatch.models.own import build_own, layers, maker, own_name

MODELS: dict[str, type[Model]] = {model.task: model for model in (SegmentationModel, ChangeModel, ClassificationModel)}
"""The model of each task, by the task's name: how a checkpoint's description becomes a model again."""


def describe_model(model: Model) -> dict[str, object]:
    """Returns what a checkpoint says of its model: its task, and the arguments that build it.

    ``own`` is there where the model is none of ours, or where its parts are not those that these arguments build.
    """
    described = {"task": model.task, **model.description()}
    if model.made_by is not None:
        return {**described, "own": model.made_by}
    if type(model) not in MODELS.values():
        return {**described, "own": maker(own_name(type(model)), model.given)}
    return described if builds(described, model) else {**described, "own": {"name": None, "arguments": None}}


def builds(description: Mapping[str, Any], model: Model) -> bool:
    """Tells whether a description builds a model like this one: the same layers, by the same names."""
    try:
        with torch.device("meta"):  # without memory
            return layers(build_described(description)) == layers(model)
    except Exception:  # an encoder of your own has no name that can be built
        return False


def build_described(description: Mapping[str, Any]) -> Model:
    """Builds a described model with random weights; a description that names no task is of segmentation.

    Raises:
        WeightsError: it is a model of your own that cannot be built (:func:`unimatch.models.own.build_own`).
    """
    arguments = {"weights": None, **description}
    with of_float32():
        if own := arguments.pop("own", None):
            return build_own(own["name"], own["arguments"])
        return MODELS[arguments.pop("task", SegmentationModel.task)](**arguments)


@contextmanager
def of_float32() -> Iterator[None]:
    """Makes new weights float32, as those of files and the images are, whatever else is the default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@torch.no_grad()
def check_logits(model: Model) -> None:
    """Refuses a model of your own that does not run, or whose logits are not what losses need; its mode becomes eval.

    Raises:
        ConfigError: saying why, or what its logits are for an image of zeros.
    """
    side = nearest_multiple(64, model.size_multiple)
    device = next(model.parameters()).device
    images = torch.zeros(2, *model.sample_shape, side, side, device=device)
    try:
        logits: Any = model.eval().coarse(images)
    except ConfigError:
        raise
    except Exception as error:  # of the user's code
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
