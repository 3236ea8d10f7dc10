"""Opens a model for the page, with what the page says about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unimatch.checkpoints.content import run_of
from unimatch.checkpoints.files import read_checkpoint
from unimatch.inference.classifier import Classifier
from unimatch.inference.load import Trained, from_checkpoint, load_with_facts
from unimatch.inference.predictor import Predictor
from unimatch.safe_text import one_line


@dataclass(frozen=True)
class Opened:
    """A model that is ready to predict."""

    model: Predictor | Classifier
    about: Mapping[str, str] = field(default_factory=dict)
    """What the page says about the model: texts by title."""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the data set that the model was trained on, from its checkpoint; they have not been checked."""


def open_model(
    path: str, which: Literal["teacher", "student"] = "teacher", device: str = "auto", precision: str = "float32"
) -> Opened:
    """Opens a checkpoint or an exported model.

    Args:
        path: of the file.
        which: the ``teacher`` or the ``student`` of a checkpoint.
        device: see :class:`Predictor`.
        precision: see :class:`Predictor`; classifiers ignore it.

    Raises:
        ConfigError: a setting is not valid.
        WeightsError: the file cannot be read, or unimatch has not written it.
    """
    file = Path(path).expanduser()
    if file.suffix in (".onnx", ".pt2"):
        predictor = Predictor(path, model=which, device=device, precision=precision)
        return Opened(predictor, {"Model": file.name})
    if file.suffix == ".safetensors":
        trained = load_with_facts(file)
        return Opened(ready(trained, device, precision), {"Model": f"{trained.model.name} ({file.name})"})
    checkpoint = read_checkpoint(file)
    trained, config = from_checkpoint(checkpoint, file, which), run_of(checkpoint).config
    method, dataset = config.get("method"), config.get("dataset")
    dataset = dataset if isinstance(dataset, dict) else {}
    about = {
        "Model": f"{last_part(method, '_target_') or 'a model'}, {which}, encoder {trained.model.name}",
        "Run": run_name(file),
        "Data set": dataset_name(dataset),
    }
    return Opened(
        ready(trained, device, precision), {title: one_line(text) for title, text in about.items() if text}, dataset
    )


def ready(trained: Trained, device: str, precision: str) -> Predictor | Classifier:
    """Returns the predictor or the classifier that a model needs."""
    if trained.model.task == "classification":
        return Classifier(trained, device=device)
    return Predictor(trained, device=device, precision=precision)


def run_name(file: Path) -> str:
    """Returns the names of run directory and checkpoint: ``RUN, best.ckpt`` for ``RUN/checkpoints/best.ckpt``."""
    folder = file.absolute().parent
    return f"{folder.parent.name}, {file.name}" if folder.name == "checkpoints" else file.name


def dataset_name(dataset: Mapping[str, Any]) -> str:
    """Returns the names of a data set and of the folder that it lies in."""
    name, root = last_part(dataset, "_target_"), last_part(dataset, "root", "/")
    return f"{name}, {root}" if name and root and name != root else name


def last_part(settings: Any, key: str, separator: str = ".") -> str:
    """Returns the last part of a setting, such as the class of ``module.Class``; an empty text if it is no text."""
    value = settings.get(key) if isinstance(settings, dict) else None
    return value.rstrip(separator).rpartition(separator)[2] if isinstance(value, str) else ""
