"""Reads trained models and the facts about them from checkpoints and exported safetensors files."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unimatch.checkpoints.content import run_of
from unimatch.checkpoints.files import PREFIXES, build_model, build_with, read_checkpoint
from unimatch.engines.model_facts import ModelFacts, facts_from, facts_path
from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, WeightsError
from unimatch.models.base import Model
from unimatch.models.weights import read_state_dict
from unimatch.untrusted import parse_json


class Trained(NamedTuple):
    """A trained model in eval mode on the CPU, and the facts about it."""

    model: Model
    facts: ModelFacts


def load_with_facts(path: Path, which: str = "teacher") -> Trained:
    """Reads a trained model and the facts about it from a file.

    Args:
        path: a checkpoint, or a ``.safetensors`` file of ``unimatch.export`` with its JSON file beside it.
        which: ``teacher`` or ``student``, for a checkpoint.

    Raises:
        ConfigError: the checkpoint has no such model.
        WeightsError: the file cannot be read, or is not one of ours.
    """
    if path.suffix == ".safetensors":
        return load_safetensors(path)
    return from_checkpoint(read_checkpoint(path), path, which)


def from_checkpoint(checkpoint: dict[str, Any], path: Path, which: str) -> Trained:
    """Returns a trained model of a checkpoint that has been read from ``path``.

    Raises:
        ConfigError: the checkpoint has no such model.
    """
    if which not in models_in(checkpoint):
        raise ConfigError(f"model={which}: {path} holds {' and '.join(models_in(checkpoint)) or 'no model'}")
    model = build_model(checkpoint, which)
    return Trained(model, checkpoint_facts(checkpoint, model))


def trained_model(source: Any, which: str, classes: Sequence[str] | None = None) -> Trained:
    """Returns a trained model and its facts from any source: reads a file, and copies a model that is given itself.

    Args:
        source: a path as for :func:`load_with_facts`, its result, a model, or a method.
        which: ``teacher`` or ``student``, for a file or a method.
        classes: names in the order of the ids, for a model or a method; None for the ids.

    Raises:
        ConfigError: the source is something else, or ``classes`` do not fit it.
        WeightsError: the file cannot be read, or is not one of ours.
    """
    if isinstance(source, (str, Path)):
        source = load_with_facts(Path(source).expanduser(), which)
    if isinstance(source, Trained):
        if classes is not None:
            raise ConfigError("classes: a file names its own; they are for a model or a method")
        return source
    if isinstance(source, Model):
        model, inference = source, Inference()
    else:
        from unimatch.methods import Method  # only here: it imports Lightning

        if not isinstance(source, Method):
            raise ConfigError(f"path: must be a file, a model or a method, not a {type(source).__name__}")
        model = source.teacher.model if which == "teacher" else source.student
        inference = source.task.inference
    names = tuple(map(str, range(model.num_classes) if classes is None else classes))
    if len(names) != model.num_classes:
        raise ConfigError(f"classes: {len(names)} names, but the model has {model.num_classes} classes")
    facts = facts_from(facts_values(model, names, ()) | {"inference": {}}, "the model")
    return Trained(copy.deepcopy(model).merge_lora().eval(), replace(facts, inference=inference))


def models_in(checkpoint: Mapping[str, Any]) -> list[str]:
    """Returns which of ``student`` and ``teacher`` a checkpoint holds."""
    keys = checkpoint["state_dict"]
    return [which for which, prefix in PREFIXES.items() if any(key.startswith(prefix) for key in keys)]


def checkpoint_facts(checkpoint: Mapping[str, Any], model: Model) -> ModelFacts:
    """Returns the facts about a checkpoint's model; without names in the checkpoint, classes are named by their ids.

    Raises:
        WeightsError: the facts are invalid, or name other classes than the model has.
    """
    run = run_of(checkpoint)
    classes = run.classes or list(map(str, range(model.num_classes)))
    values = facts_values(model, classes, run.palette) | {"inference": run.config.get("inference") or {}}
    return with_facts_of_model(facts_from(values, "the checkpoint"), model, "the checkpoint")


def facts_values(model: Model, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Returns the facts about a model as values; colours that are easy to tell apart replace an empty palette."""
    if not palette:
        from unimatch.data.catalog import distinct_colors  # only here: predicting needs nothing else of unimatch.data

        palette = distinct_colors(model.num_classes)
    return {
        "classes": classes,
        "palette": palette,
        "mean": model.bands.mean,
        "std": model.bands.std,
        "size_multiple": model.size_multiple,
        "dates": model.dates,
        "bands": model.bands,
    }


def with_facts_of_model(facts: ModelFacts, model: Model, where: str) -> ModelFacts:
    """Returns the facts with those that the model itself knows in place of a file's.

    Raises:
        WeightsError: they name more or fewer classes than the model has; the message begins with ``where``.
    """
    if len(facts.classes) != model.num_classes:
        raise WeightsError(f"{where}: names {len(facts.classes)} classes, and the model has {model.num_classes}")
    bands = model.bands
    return replace(
        facts,
        size_multiple=model.size_multiple,
        dates=model.dates,
        bands=bands,
        mean=tuple(bands.mean),
        std=tuple(bands.std),
    )


def load_safetensors(path: Path) -> Trained:
    """Reads a model that was exported as safetensors; half precision becomes float32.

    Raises:
        WeightsError: the file, or the JSON file beside it, cannot be read, or they do not fit each other.
    """
    description_file = facts_path(path)
    try:
        text = description_file.read_text(encoding="utf-8")
        description = parse_json(text)["model"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{description_file}: must describe the model in {path.name} ({error})") from error
    model = build_with(
        read_state_dict(path), description, f"{path}: does not hold the model of {description_file.name}"
    )
    where = str(description_file)
    return Trained(model, with_facts_of_model(ModelFacts.from_json(text, where), model, where))


def choose_device(device: str) -> torch.device:
    """Returns the device of this name; ``auto`` is the GPU if there is one.

    Raises:
        ConfigError: the device cannot be used.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device={device}: cannot be used ({str(error).splitlines()[0]})") from error
