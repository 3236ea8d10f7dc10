"""The facts about a trained model that are needed beside its weights, as plain values."""

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, WeightsError
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.colors import Color, told_apart
from unimatch.untrusted import bound, parse_json


@dataclass(frozen=True)
class ModelFacts:
    """Holds classes, colours, and how an image becomes the model's input."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """The data set's RGB colour (0-255) of each class, with which masks are written."""
    mean: tuple[float, ...]
    """The mean of each band, which is subtracted from its values in 0-1."""
    std: tuple[float, ...]
    """The standard deviation of each band, by which the difference is divided."""
    size_multiple: int
    """The sides of the model's input are multiples of this."""
    inference: Inference
    """How images are predicted, as in the evaluation during training."""
    dates: int = 1
    """How many images make one sample: 2 for change detection."""
    bands: Bands = PHOTOS
    """What the images' bands mean, and how their values become those in 0-1 that ``mean`` and ``std`` apply to."""

    @functools.cached_property
    def colors(self) -> list[Color]:
        """One colour per class for pictures to look at: the palette, changed where two colours look alike."""
        return told_apart(self.palette)

    def to_json(self) -> str:
        """Returns the facts as text, for a file beside the weights or inside them."""
        return json.dumps({**asdict(self), "bands": self.bands.plain()})

    @staticmethod
    def from_json(text: str, where: str) -> "ModelFacts":
        """Reads the facts from the text of :meth:`to_json`.

        Raises:
            WeightsError: the text does not hold them; the message begins with the file, ``where``.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise WeightsError(f"{where}: does not hold unimatch's facts of a model ({error})") from error
        return facts_from(values, where)


BOUNDS = {"palette": (0, 255), "mean": (-1e9, 1e9), "std": (1e-9, 1e9), "size_multiple": (1, 1024), "dates": (1, 2)}
"""The least and the largest numbers that a file may state."""
INFERENCE_BOUNDS = {"window": (16, 2**13), "stride": (1, 2**13), "scales": (1 / 16, 4), "large": (1, 10**8)}
"""The same for the settings of :class:`Inference`."""
MOST_SCALES = 16
"""How many scales a file may state."""
MOST_OVERLAP = 32
"""How many times smaller than the window its stride may be."""
LARGEST_SEEN = 10**8
"""How many pixels a file may make a model see at once."""


def facts_from(values: Any, where: str) -> ModelFacts:
    """Makes the facts from values that a file states.

    Args:
        values: unchecked values of the attributes, by name.
        where: the file, for messages.

    Raises:
        WeightsError: a value is missing, of the wrong kind, or out of bounds.
    """
    try:
        return checked_facts(values)
    except KeyError as error:
        raise WeightsError(f"{where}: does not hold unimatch's facts of a model (no {error})") from error
    except (TypeError, ValueError, OverflowError, ConfigError) as error:
        raise WeightsError(f"{where}: does not hold unimatch's facts of a model ({error})") from error


def checked_facts(values: Any) -> ModelFacts:
    """Implements :func:`facts_from`, but raises Python's KeyError, TypeError, ValueError and OverflowError."""
    if not isinstance(values, dict) or not isinstance(values["classes"], (list, tuple)):
        raise TypeError("classes must be a list")
    facts = ModelFacts(
        classes=tuple(map(str, values["classes"])),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in values["palette"]),
        mean=tuple(map(float, values["mean"])),
        std=tuple(map(float, values["std"])),
        size_multiple=int(values["size_multiple"]),
        inference=inference_from(values["inference"]),
        dates=int(values.get("dates", 1)),
        bands=Bands.of(values.get("bands")),
    )
    for name, (least, largest) in BOUNDS.items():
        bound(getattr(facts, name), name, largest, least)
    if not len(facts.classes) == len(facts.palette) >= 2:
        raise ValueError(f"{len(facts.classes)} classes with {len(facts.palette)} colours")
    if not len(facts.mean) == len(facts.std) == facts.bands.count:
        raise ValueError(f"{len(facts.mean)} means with {len(facts.std)} deviations, and {facts.bands.count} bands")
    return facts


def inference_from(settings: Any) -> Inference:
    """Makes an :class:`Inference` from settings that a file states.

    Raises:
        ConfigError: a setting is invalid.
        TypeError: a setting is of the wrong kind.
        ValueError: a setting is out of bounds.
    """
    settings = {key: value for key, value in dict(settings).items() if key != "_target_"}
    for name, (least, largest) in INFERENCE_BOUNDS.items():
        bound(settings.get(name), f"inference.{name}", largest, least)
    for name in ("window", "stride", "large"):
        if type(settings.get(name, 1)) not in (int, type(None)):
            raise TypeError(f"inference.{name} is {settings[name]!r:.80}, and must be a whole number")
    rule = Inference(**settings)
    if len(rule.scales) > MOST_SCALES:
        raise ValueError(f"inference.scales are {len(rule.scales)}, and at most {MOST_SCALES} may be stored")
    if (rule.stride or rule.window) * MOST_OVERLAP < rule.window:
        raise ValueError(f"inference.stride is {rule.stride}, and must be at least a {MOST_OVERLAP}th of the window")
    seen = int(max(rule.window**2, rule.large or 0) * max(rule.scales) ** 2)
    if seen > LARGEST_SEEN:
        raise ValueError(
            f"inference: {seen:,} pixels would be seen at once, and at most {LARGEST_SEEN:,} may be stored"
        )
    return rule


def facts_path(path: Path) -> Path:
    """Returns the path of the facts of an exported file: ``model.onnx.json`` for ``model.onnx``."""
    return path.with_name(f"{path.name}.json")


def inference_with(inference: Inference, settings: Mapping[str, Any]) -> Inference:
    """Returns ``inference`` with the ``settings`` that are not None in place of its own."""
    changed = {key: value for key, value in settings.items() if value is not None}
    if unknown := [key for key in changed if key not in {field.name for field in fields(Inference)}]:
        raise ConfigError(f"inference.{unknown[0]}: no such setting")
    return replace(inference, **changed)
