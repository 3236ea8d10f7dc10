"""``python -m unimatch.export``: writes a trained model for use elsewhere."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from unimatch.cli.command import command
from unimatch.engines.model_facts import ModelFacts, facts_path
from unimatch.engines.torch import TorchEngine
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import ImageArray
from unimatch.inference.export import EXPORTERS, PRECISIONS, SUFFIXES, Agreement, compare, describe
from unimatch.inference.inputs import find_photos
from unimatch.inference.load import load_with_facts
from unimatch.inference.onnx_graph import OnnxOptions
from unimatch.inference.predictor import Predictor
from unimatch.options import one_of

log = logging.getLogger("unimatch")

NOISE_SIZES = ((64, 96), (101, 77), (150, 200))
"""Heights and widths, in pixels, of the noise on which models are compared if there are no images."""


def export(config: DictConfig) -> Agreement | None:
    """Exports as the composed ``conf/export.yaml`` says.

    Returns:
        How well the result agrees with the original, if ``verify`` asks for a comparison.
    """
    path = Path(config.output).expanduser()
    format_name = choose_format(config.format, path)
    one_of("precision", config.precision, PRECISIONS)
    model, facts = load_with_facts(Path(config.checkpoint).expanduser(), config.model)
    if model.task == "classification":
        raise ConfigError(f"checkpoint={config.checkpoint}: only models that give masks can be exported")
    options = OnnxOptions(**{key: config[key] for key in ("opset", "size", "batch", "normalize", "labels")})
    if format_name != "onnx" and options != OnnxOptions():
        raise ConfigError(
            f"format={format_name}: opset, size, batch, normalize and labels are options of ONNX files only"
        )
    if config.verify and options.labels:
        raise ConfigError("labels=true: verify compares logits, which such a file does not give; leave out one of them")
    images = sample_images(config.images, facts, options.size) if config.verify else []
    more = [options] if format_name == "onnx" else []
    EXPORTERS[format_name](path, model, facts, config.precision, *more)
    print(f"{path}: {format_name}, {config.precision}, {path.stat().st_size / 1e6:.1f} MB; {facts_path(path)}")
    if not config.verify:
        return None
    agreement = compare(TorchEngine(model), open_exported(path), images)
    print(describe(agreement))
    return agreement


def choose_format(name: str | None, path: Path) -> str:
    """Returns the name of the export's format: the one given, or else that of the file's suffix.

    Raises:
        ConfigError: there is no such format, or the file has another suffix.
    """
    by_suffix = {suffix: known for known, suffix in SUFFIXES.items()}
    chosen = name or by_suffix.get(path.suffix)
    if chosen not in EXPORTERS or SUFFIXES[chosen] != path.suffix:
        expected = ", ".join(f"format={known} with a file *{suffix}" for known, suffix in SUFFIXES.items())
        raise ConfigError(f"{'' if name is None else f'format={name} '}output={path}: choose {expected}")
    return chosen


def sample_images(source: str | None, facts: ModelFacts, size: Sequence[int] | None = None) -> list[ImageArray]:
    """Returns images, or pairs of dates, to compare models on: those of a source, or noise if there is none.

    Images that cannot be read are left out with a warning. Noise has the ``size`` (H, W) of a model that takes no
    other, to which all else would be resized.

    Raises:
        DataError: there are no images, or none can be read.
    """
    if source is None:
        rng = np.random.default_rng(0)
        dates = (facts.dates,) if facts.dates > 1 else ()
        sizes = NOISE_SIZES if size is None else (size,) * len(NOISE_SIZES)
        return [rng.integers(0, 256, (*dates, *size, facts.bands.count), dtype=np.uint8) for size in sizes]
    images: list[ImageArray] = []
    faults: list[DataError] = []
    for photo in find_photos(source, facts.dates, bands=facts.bands)[1]:
        try:
            images.append(photo.load())
        except DataError as error:
            faults.append(error)
    if not images:
        raise faults[0]
    if faults:
        log.warning("%d of %d images could not be read and are left out", len(faults), len(faults) + len(images))
        log.warning("the first: %s", faults[0])
    return images


def open_exported(path: Path) -> Any:
    """Returns an engine that runs an exported file, which must be the user's own."""
    return Predictor(path, device="cpu", trusted=True).engine


main = command("export")(export)

if __name__ == "__main__":
    main()
