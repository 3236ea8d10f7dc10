"""Runs a model that ``unimatch.export`` wrote as a ``torch.export`` program (``.pt2``)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.engines.model_facts import ModelFacts, facts_path
from unimatch.errors import DataError, WeightsError

SMALLEST = 48
"""The least height and width of an image, in pixels, that a program takes."""


def smallest(multiple: int) -> int:
    """Returns the least height and width of a program's images, for a model whose sides are multiples of this number.

    >>> smallest(1), smallest(14)
    (48, 42)
    """
    return max(1, SMALLEST // multiple) * multiple


class Program(nn.Module):
    """Runs a program; it has the attributes of a model that :class:`unimatch.engines.torch.TorchEngine` uses.

    Reading a program may run code, so the file must be your own.

    Args:
        path: of the program, with its JSON file beside it.
        device: to run on.

    Raises:
        WeightsError: the file or its JSON file cannot be read.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        try:
            self.facts = ModelFacts.from_json(facts_path(path).read_text(encoding="utf-8"), str(facts_path(path)))
            program = torch.export.load(path)
            if device.type != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, str(device))
            self.program = program.module()
        except WeightsError:
            raise
        except Exception as error:  # torch raises many kinds of errors
            raise WeightsError(f"{path}: cannot be read as a torch.export program ({error})") from error
        self.num_classes, self.size_multiple = len(self.facts.classes), self.facts.size_multiple
        self.dates, self.task, self.bands = self.facts.dates, "segmentation", self.facts.bands

    @override
    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if min(height, width) < (least := smallest(self.size_multiple)):
            raise DataError(f"an image of {height} x {width} pixels: this .pt2 file takes {least} pixels and more")
        return self.program(images)
