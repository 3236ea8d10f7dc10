"""Opens a trained model of any kind as an engine; PyTorch is imported only if it is needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from unimatch.engines.base import Engine
from unimatch.engines.model_facts import ModelFacts
from unimatch.errors import ConfigError


def open_engine(
    source: Any,
    *,
    model: Literal["teacher", "student"],
    classes: Sequence[str] | None,
    device: str,
    precision: str,
    trusted: bool,
) -> tuple[Engine[Any], ModelFacts]:
    """Returns an engine that runs a model, and the facts about it.

    Arguments and errors are those of :class:`unimatch.Predictor`.
    """
    if isinstance(source, (str, Path)) and Path(source).suffix == ".onnx":
        from unimatch.engines.onnx import OnnxEngine

        exported = OnnxEngine(Path(source).expanduser(), "cpu" if device == "auto" else device)
        return exported, exported.facts
    # PyTorch is imported here and not above, so that exported models run without it.
    from unimatch.engines.torch import TorchEngine
    from unimatch.inference.load import choose_device, trained_model

    if isinstance(source, (str, Path)) and Path(source).suffix == ".pt2":
        if not trusted:
            raise ConfigError(
                f"{source}: reading a .pt2 file may run code. Give trusted=True if it is your own; or export as "
                ".onnx or .safetensors, which run none"
            )
        from unimatch.inference.program import Program

        program = Program(Path(source).expanduser(), choose_device(device))
        return TorchEngine(program), program.facts  # type: ignore[arg-type]
    from unimatch.speed.fold_batch_norms import fold_batch_norms

    network, facts = trained_model(source, model, classes)
    if network.task == "classification":
        raise ConfigError(
            f"{named(source, 0)}: gives classes of images and no masks; predict with it alone, or in Python use "
            "unimatch.Classifier"
        )
    return TorchEngine(fold_batch_norms(network).to(choose_device(device)), precision), facts


def check_alike(sources: Sequence[Any], facts: Sequence[ModelFacts]) -> None:
    """Refuses models that cannot vote because they have different classes, or see different bands or dates.

    Raises:
        ConfigError: naming two models and the difference.
    """
    first = in_common(facts[0])
    for number, other in enumerate(facts[1:], 1):
        for what, theirs in in_common(other).items():
            if (ours := first[what]) != theirs:
                raise ConfigError(
                    f"{named(sources[number], number)}: has other {what} than {named(sources[0], 0)} ({theirs}; "
                    f"{ours}); models that vote must have the same"
                )


def in_common(facts: ModelFacts) -> dict[str, str]:
    """Returns what models that vote must have in common, as text.

    The mean and standard deviation of bands may differ: each model normalises images by its own.
    """
    bands = facts.bands
    return {
        "classes": ", ".join(facts.classes),
        "dates": str(facts.dates),
        "bands": f"{bands.bands or 'RGB'}, values {bands.value_range or '0 to 255'}, no data {bands.no_data}",
    }


def named(source: Any, number: int) -> str:
    """Returns a name for one of several models: its file, or else its number."""
    return str(source) if isinstance(source, (str, Path)) else f"model {number + 1}"
