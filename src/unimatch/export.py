"""``python -m unimatch.export``: write a trained model for use elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from unimatch.command import command
from unimatch.engines.model_facts import ModelFacts, beside
from unimatch.engines.torch import TorchEngine
from unimatch.errors import ConfigError
from unimatch.images import ImageArray
from unimatch.inference.export import EXPORTERS, PRECISIONS, SUFFIXES, Agreement, compare, describe
from unimatch.inference.inputs import find_photos
from unimatch.inference.load import load_with_facts
from unimatch.inference.predictor import Predictor
from unimatch.models.networks import Model
from unimatch.options import one_of

NOISE_SIZES = ((64, 96), (101, 77), (150, 200))


def export(config: DictConfig) -> Agreement | None:
    """Exports as ``conf/export.yaml``, composed, says.

    Returns how far the result agrees with the original, if ``verify`` asks for it.
    """
    path = Path(config.output).expanduser()
    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()}
    format_name = config.format or by_suffix.get(path.suffix)
    if format_name not in EXPORTERS or SUFFIXES[format_name] != path.suffix:
        expected = ", ".join(f"format={name} with a file *{suffix}" for name, suffix in SUFFIXES.items())
        raise ConfigError(f"format={config.format} output={path}: choose {expected}")
    one_of("precision", config.precision, PRECISIONS)
    model, facts = load_with_facts(Path(config.checkpoint).expanduser(), config.model)
    if model.task == "classification":
        raise ConfigError(f"checkpoint={config.checkpoint}: only models that give masks can be exported")
    images = sample_images(config.images, facts) if config.verify else []
    path.parent.mkdir(parents=True, exist_ok=True)
    EXPORTERS[format_name](path, model, facts, config.precision)
    print(f"{path}: {format_name}, {config.precision}, {path.stat().st_size / 1e6:.1f} MB; {beside(path)}")
    if not config.verify:
        return None
    agreement = compare(TorchEngine(model), open_exported(path, facts), images)
    print(describe(agreement))
    return agreement


def sample_images(source: str | None, facts: ModelFacts) -> list[ImageArray]:
    """Reads or makes the images, or pairs of dates, to compare on."""
    if source is not None:
        return [photo.load() for photo in find_photos(source, facts.dates, facts.bands)[1]]
    rng = np.random.default_rng(0)
    before = (facts.dates,) if facts.dates > 1 else ()
    return [rng.integers(0, 256, (*before, *size, facts.bands.count), dtype=np.uint8) for size in NOISE_SIZES]


def open_exported(path: Path, facts: ModelFacts) -> Any:
    """Returns an engine that runs what has just been written."""
    if path.suffix != ".pt2":
        return Predictor(path, device="cpu").engine
    program: Any = torch.export.load(path).module()  # our own file: such programs are not to be taken from strangers
    program.num_classes, program.size_multiple = len(facts.classes), facts.size_multiple
    program.bands = facts.bands
    model: Model = program
    return TorchEngine(model)


main = command("export")(export)

if __name__ == "__main__":
    main()
