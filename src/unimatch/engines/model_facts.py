"""What must be known of a trained model beside its weights, as plain values."""

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, WeightsError
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.colors import Color, told_apart
from unimatch.plain import bound, parse_json


@dataclass(frozen=True)
class ModelFacts:
    """Holds classes, colours, and how an image becomes the model's input."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """One RGB colour (0-255) per class, the data set's: masks are written with it."""
    mean: tuple[float, ...]
    """Subtracted from RGB, or the levels of other bands, in 0-1."""
    std: tuple[float, ...]
    """What the difference is divided by."""
    size_multiple: int
    """The sides of the model's input are multiples of this."""
    inference: Inference
    """The rule by which the model was evaluated."""
    dates: int = 1
    """Images that are one sample: 2 for change detection."""
    bands: Bands = PHOTOS
    """What the images' bands mean, and how their values become the 0-1 that ``mean`` and ``std`` are of."""

    @functools.cached_property
    def colors(self) -> list[Color]:
        """One colour per class for pictures to look at: the palette, with other colours where two look alike."""
        return told_apart(self.palette)

    def to_json(self) -> str:
        """Returns the facts as text, for a file beside the weights or inside them."""
        return json.dumps({**asdict(self), "bands": self.bands.plain()})

    @staticmethod
    def from_json(text: str, where: str) -> "ModelFacts":
        """Reads the facts from what :meth:`to_json` made; errors name the file, ``where``."""
        try:
            values = parse_json(text)
        except ValueError as error:
            raise WeightsError(f"{where}: does not hold unimatch's facts of a model ({error})") from error
        return facts_from(values, where)


BOUNDS = {"palette": (0, 255), "mean": (-1e9, 1e9), "std": (1e-9, 1e9), "size_multiple": (1, 1024), "dates": (1, 2)}
"""Between which numbers those of a file must be."""
INFERENCE_BOUNDS = {"window": (16, 2**13), "stride": (1, 2**13), "scales": (1 / 16, 4), "large": (1, 10**8)}
MOST_SCALES, MOST_OVERLAP = 16, 32
LARGEST_SEEN = 10**8
"""How many pixels a model may be made to see at once by a file."""


def facts_from(values: Any, where: str) -> ModelFacts:
    """Makes the facts of what a file says.

    Args:
        values: the attributes by their names, of any kinds.
        where: the file, for messages.

    Raises:
        WeightsError: one is missing, or is not what or not within what it must be.
    """
    try:
        return checked_facts(values)
    except KeyError as error:
        raise WeightsError(f"{where}: does not hold unimatch's facts of a model (no {error})") from error
    except (TypeError, ValueError, OverflowError, ConfigError) as error:
        raise WeightsError(f"{where}: does not hold unimatch's facts of a model ({error})") from error


def checked_facts(values: Any) -> ModelFacts:
    """Does as :func:`facts_from` says, but raises errors of Python's."""
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
    """Makes a rule of what a file says of it; raises errors of Python's, and ConfigErrors."""
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


def beside(path: Path) -> Path:
    """Returns where the facts of an exported file lie: ``model.onnx.json`` for ``model.onnx``."""
    return path.with_name(f"{path.name}.json")


def inference_with(inference: Inference, settings: Mapping[str, Any]) -> Inference:
    """Returns ``inference`` with some settings changed; those that are None stay."""
    return Inference(**{**asdict(inference), **{key: value for key, value in settings.items() if value is not None}})
