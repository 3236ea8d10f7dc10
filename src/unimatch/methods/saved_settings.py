"""Stores a method's settings in a checkpoint, and restores the method from one."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import Tensor

from unimatch.checkpoints.content import MethodSettings, method_settings_of, model_of, run_of
from unimatch.checkpoints.files import MISFIT, build_fitting, misfit_of, read_checkpoint, state_of
from unimatch.errors import ConfigError, WeightsError
from unimatch.models.base import Model
from unimatch.options import as_plain
from unimatch.tasks import Task, build_task, describe_task, describes_task

if TYPE_CHECKING:
    from unimatch.methods.base import Method

M = TypeVar("M", bound="Method")

STATE_PREFIXES = {
    "criterion": "criterion.",
    "class_weights": "criterion.",
    "dice": "criterion.",
    "thresholds": "thresholds",
    "distribution_alignment": "alignment.",
}
"""Settings that have entries in a method's ``state_dict``, with the prefix of the entries' names."""


def settings_of(method: "Method") -> MethodSettings:
    """Returns the arguments that build a method again, except its model."""
    plain, objects = dict[str, Any](), list[str]()
    for name, value in method.given.items():
        if isinstance(value, Model):
            continue
        if isinstance(value, (np.ndarray, Tensor)):  # such as class weights
            value = value.tolist()
        try:
            plain[name] = describe_task(value) if isinstance(value, Task) else as_plain(value)
        except TypeError:
            objects.append(name)
    student = method.student
    training = {name: getattr(student, name) for name in ("freeze", "unlock_after", "gradient_checkpointing")}
    return MethodSettings(type(method).__name__, plain, objects, training)


def restore(kind: type[M], path: str | Path, given: Mapping[str, Any], *, strict: bool = True) -> M:
    """Implements :meth:`unimatch.Method.load_from_checkpoint`; the settings ``given`` replace the checkpoint's."""
    checkpoint = read_checkpoint(path)
    saved = method_settings_of(checkpoint) or settings_of_run(checkpoint, kind)
    if saved.name not in [base.__name__ for base in kind.__mro__]:
        raise ConfigError(f"{path}: was written by {saved.name}; call {saved.name}.load_from_checkpoint")
    missing = [name for name in saved.objects if name not in given]
    if missing:
        raise ConfigError(
            f"{path}: {', '.join(missing)} of {saved.name} is no plain value, and so not in the file: give it again, "
            f"as in load_from_checkpoint(path, {missing[0]}=...)"
        )
    arguments: dict[str, Any] = {
        name: build_task(value) if describes_task(value) else value for name, value in saved.settings.items()
    } | dict(given)
    if "model" in inspect.signature(kind).parameters and "model" not in given:
        description = {**model_of(checkpoint), **saved.training}
        arguments["model"] = build_fitting(state_of(checkpoint, "student"), description, MISFIT)
    method = kind(**arguments)
    try:
        load_state(method, checkpoint["state_dict"], given, strict=strict)
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not hold the weights of this model ({misfit_of(error)})") from error
    method.on_load_checkpoint(checkpoint)  # for what a subclass stores in checkpoints
    return method


def load_state(method: "Method", state: Mapping[str, Tensor], given: Mapping[str, Any], *, strict: bool) -> None:
    """Loads a checkpoint's state into a method; buffers of settings that are ``given``, such as class weights, stay.

    Raises:
        RuntimeError: PyTorch's, naming what does not fit.
    """
    prefixes = tuple(prefix for setting, prefix in STATE_PREFIXES.items() if setting in given)
    parameters = {name for name, _ in method.named_parameters()}

    def follows_from_given(name: str) -> bool:
        return name.startswith(prefixes) and name not in parameters

    kept = {name: value for name, value in method.state_dict().items() if follows_from_given(name)}
    loaded = {name: value for name, value in state.items() if not follows_from_given(name)}
    method.load_state_dict({**loaded, **kept}, strict=strict)


def settings_of_run(checkpoint: Mapping[str, Any], kind: type["Method"]) -> MethodSettings:
    """Reads a method's settings from its run's configuration, for older checkpoints that do not hold them."""
    run = run_of(checkpoint).config
    config = run.get("method") or {}
    known = inspect.signature(kind).parameters
    settings = {key: config[key] for key in config if key in known and not isinstance(config[key], dict)}
    if inference := run.get("inference"):
        settings["task"] = {
            "name": model_of(checkpoint).get("task", "segmentation"),
            "inference": {key: value for key, value in inference.items() if key != "_target_"},
            "absent": (run.get("task") or {}).get("absent", "exclude"),
        }
    return MethodSettings(str(config.get("_target_", kind.__name__)).rpartition(".")[2], settings, [], {})


def drop_objects(checkpoint: dict[str, Any]) -> None:
    """Removes objects that a subclass's ``save_hyperparameters`` has added: checkpoints hold plain values only."""
    for key in [key for key in checkpoint if "hyper_parameters" in key or key.endswith("hparams_type")]:
        try:
            checkpoint[key] = as_plain(checkpoint[key])
        except TypeError:
            del checkpoint[key]
