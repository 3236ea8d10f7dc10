"""A model that ``unimatch.export`` wrote as a ``torch.export`` program (``.pt2``)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.engines.model_facts import ModelFacts, beside
from unimatch.errors import DataError, WeightsError

SMALLEST = 48
"""The least height and width of an image, in pixels, that a program takes."""


class Program(nn.Module):
    """Runs a program; it has what :class:`unimatch.engines.torch.TorchEngine` asks of a model.

    Reading it may run code, so it must be your own file.

    Args:
        path: of the program, with its JSON file beside it.
        device: to run on.

    Raises:
        WeightsError: the file or its JSON file cannot be read.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        try:
            self.facts = ModelFacts.from_json(beside(path).read_text(encoding="utf-8"), str(beside(path)))
            program = torch.export.load(path)
        except WeightsError:
            raise
        except Exception as error:  # torch raises many kinds
            raise WeightsError(f"{path}: cannot be read as a torch.export program ({error})") from error
        if device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, str(device))
        self.program = program.module()
        self.num_classes, self.size_multiple = len(self.facts.classes), self.facts.size_multiple
        self.dates, self.task, self.bands = self.facts.dates, "segmentation", self.facts.bands

    @override
    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < SMALLEST:
            height, width = images.shape[-2:]
            raise DataError(f"an image of {height} x {width} pixels: a .pt2 file takes {SMALLEST} pixels and more")
        return self.program(images)
