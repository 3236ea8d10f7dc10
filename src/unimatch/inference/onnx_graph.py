"""The inputs and outputs of an ONNX file: fixed sizes, normalisation inside the graph, class ids instead of logits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.engines.model_facts import ModelFacts
from unimatch.errors import ConfigError
from unimatch.options import at_least_one


@dataclass(frozen=True)
class OnnxOptions:
    """Says how a model becomes an ONNX graph. Axes that are not fixed are named ``batch``, ``height`` and ``width``.

    Args:
        opset: the operator set; 17 is read by onnxruntime 1.13 and newer.
        size: (H, W) of all images; None for any size.
        batch: number of images in all batches; None for any number.
        normalize: the graph takes float32 RGB in 0-255 and normalises it; else it takes normalised images.
        labels: the graph returns class ids (B, H, W) int64; else it returns logits.

    Raises:
        ConfigError: a number is invalid.
    """

    opset: int = 17
    size: Sequence[int] | None = None
    batch: int | None = None
    normalize: bool = False
    labels: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.opset <= 20:
            raise ConfigError(f"opset={self.opset}: must be 16 to 20, which PyTorch's tracing exporter writes")
        sides = self.size if isinstance(self.size, Sequence) else ()
        if self.size is not None and [type(side) is int and side >= 1 for side in sides] != [True, True]:
            raise ConfigError(f"size={self.size}: must be a height and a width in pixels, such as [512,1024]")
        at_least_one(batch=self.batch)

    def example(self, images: Tensor, multiple: int) -> Tensor:
        """Returns a batch of zeros to trace with, of the fixed size, or else of the size of ``images``.

        Raises:
            ConfigError: height or width is not a multiple of ``multiple``.
        """
        height, width = self.size or images.shape[-2:]
        if height % multiple or width % multiple:
            raise ConfigError(f"size=[{height}, {width}]: both must be multiples of {multiple} for this model")
        return torch.zeros(self.batch or len(images), *images.shape[1:-2], height, width)

    def axes(self, dimensions: int) -> dict[str, dict[int, str]]:
        """Returns the names of the axes that are not fixed, of an input with ``dimensions`` axes and of the output."""
        fixed = {"batch": self.batch, "height": self.size, "width": self.size}

        def free(positions: Sequence[int]) -> dict[int, str]:
            return {position: axis for position, axis in zip(positions, fixed, strict=True) if fixed[axis] is None}

        of_output = (0, 1, 2) if self.labels else (0, 2, 3)
        return {"image": free((0, dimensions - 2, dimensions - 1)), self.output: free(of_output)}

    def output_shape(self, classes: int) -> list[int | str]:
        """Returns the sizes of the output's axes, or the names of those that are not fixed."""
        batch = self.batch or "batch"
        height, width = self.size or ("height", "width")
        return [batch, height, width] if self.labels else [batch, classes, height, width]

    @property
    def output(self) -> str:
        """The name of the graph's output."""
        return "labels" if self.labels else "logits"

    def facts(self) -> dict[str, Any]:
        """Returns the options as plain values, which are needed to run the graph, for the file's metadata."""
        return {**asdict(self), "size": None if self.size is None else list(self.size)}


class Graph(nn.Module):
    """A model, with the normalisation before it and the choice of the class after it, as the options ask.

    Args:
        model: (B, ..., 3, H, W) normalised floats -> (B, C, H, W) logits.
        facts: with the mean and standard deviation of the normalisation.
        options: what the graph takes and returns.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, facts: ModelFacts, options: OnnxOptions) -> None:
        super().__init__()
        self.model, self.options = model, options
        for name, value in (("mean", facts.mean), ("std", facts.std)):
            self.register_buffer(name, torch.tensor(value).view(-1, 1, 1))

    @override
    def forward(self, images: Tensor) -> Tensor:
        if self.options.normalize:
            images = (images / 255 - self.mean) / self.std
        logits = self.model(images)
        return logits.argmax(1) if self.options.labels else logits
