"""What must be known of a trained model beside its weights, as plain values."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unimatch.bands import PHOTOS, Bands
from unimatch.engines.test_time import Inference
from unimatch.errors import WeightsError


@dataclass(frozen=True)
class ModelFacts:
    """Holds classes, colours, and how an image becomes the model's input."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """One RGB colour (0-255) per class."""
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

    def to_json(self) -> str:
        """Returns the facts as text, for a file beside the weights or inside them."""
        return json.dumps({**asdict(self), "bands": self.bands.plain()})

    @staticmethod
    def from_json(text: str, where: str) -> "ModelFacts":
        """Reads the facts from what :meth:`to_json` made; errors name the file, ``where``."""
        try:
            values = json.loads(text)
            return ModelFacts(
                classes=tuple(map(str, values["classes"])),
                palette=tuple((int(r), int(g), int(b)) for r, g, b in values["palette"]),
                mean=tuple(map(float, values["mean"])),
                std=tuple(map(float, values["std"])),
                size_multiple=int(values["size_multiple"]),
                inference=Inference(**values["inference"]),
                dates=int(values.get("dates", 1)),
                bands=Bands.of(values.get("bands")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{where}: does not hold unimatch's facts of a model ({error!r})") from error


def beside(path: Path) -> Path:
    """Returns where the facts of an exported file lie: ``model.onnx.json`` for ``model.onnx``."""
    return path.with_name(f"{path.name}.json")


def inference_with(inference: Inference, settings: Mapping[str, Any]) -> Inference:
    """Returns ``inference`` with some settings changed; those that are None stay."""
    return Inference(**{**asdict(inference), **{key: value for key, value in settings.items() if value is not None}})
