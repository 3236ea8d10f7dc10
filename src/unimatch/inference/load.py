"""Reads trained models, with the facts about them, from checkpoints and exported safetensors files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unimatch.checkpoints.content import checked, run_of
from unimatch.checkpoints.files import PREFIXES, build_model, read_checkpoint
from unimatch.engines.model_facts import ModelFacts, beside
from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, WeightsError
from unimatch.models.networks import Model, build_described
from unimatch.models.weights import load_weights_file


class Trained(NamedTuple):
    """A trained model in eval mode on the CPU, and the facts about it."""

    model: Model
    facts: ModelFacts


def load_with_facts(path: Path, which: str = "teacher") -> Trained:
    """Reads a trained model and the facts about it from a file.

    Args:
        path: a checkpoint, or what ``unimatch.export`` wrote as ``.safetensors``, with its JSON file beside it.
        which: ``teacher`` or ``student`` of a checkpoint.

    Raises:
        ConfigError: the checkpoint has no such model.
        WeightsError: the file cannot be read, or is not one of ours.
    """
    if path.suffix == ".safetensors":
        return load_safetensors(path)
    checkpoint = read_checkpoint(path)
    if which not in models_in(checkpoint):
        raise ConfigError(f"model={which}: {path} holds {' and '.join(models_in(checkpoint)) or 'no model'}")
    model = build_model(checkpoint, which)
    return Trained(model, checkpoint_facts(checkpoint, model))


def trained_model(source: str | Path | Trained, which: str) -> Trained:
    """Returns what has been read already, or else reads it; see :func:`load_with_facts`."""
    return source if isinstance(source, Trained) else load_with_facts(Path(source).expanduser(), which)


def models_in(checkpoint: Mapping[str, Any]) -> list[str]:
    """Returns which of student and teacher a checkpoint holds."""
    keys = checkpoint["state_dict"]
    return [which for which, prefix in PREFIXES.items() if any(key.startswith(prefix) for key in keys)]


def checkpoint_facts(checkpoint: Mapping[str, Any], model: Model) -> ModelFacts:
    """Returns what a checkpoint says of its model; classes that it does not name are called by their numbers."""
    run = run_of(checkpoint)
    classes = tuple(run.classes or map(str, range(model.num_classes)))
    palette: Sequence[Sequence[int]] = run.palette
    if not palette:
        from unimatch.data.catalog import distinct_colors  # here, since predicting needs nothing else of unimatch.data

        palette = distinct_colors(len(classes))
    settings = {key: value for key, value in (run.config.get("inference") or {}).items() if key != "_target_"}
    return ModelFacts(
        classes=classes,
        palette=tuple((int(r), int(g), int(b)) for r, g, b in palette),
        mean=tuple(model.bands.mean),
        std=tuple(model.bands.std),
        size_multiple=model.size_multiple,
        inference=Inference(**settings),
        dates=model.dates,
        bands=model.bands,
    )


def load_safetensors(path: Path) -> Trained:
    """Reads a model that was exported as safetensors; half precision becomes float32."""
    description_file = beside(path)
    try:
        text = description_file.read_text(encoding="utf-8")
        model = build_described(checked(json.loads(text)["model"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{description_file}: must describe the model in {path.name} ({error})") from error
    load_weights_file(model, path)
    return Trained(model.eval(), ModelFacts.from_json(text, str(description_file)))


def choose_device(device: str) -> torch.device:
    """Returns the device of this name, or refuses it; ``auto`` is the GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device={device}: cannot be used ({str(error).splitlines()[0]})") from error
