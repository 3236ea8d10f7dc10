"""A small convolutional encoder without published weights."""

from itertools import pairwise

from torch import Tensor, nn
from typing_extensions import override

from unimatch.models.encoder_base import Encoder


class TinyEncoder(Encoder):
    """Four stages of convolutions with BatchNorm (0.7M parameters), trained from scratch: for demo and tests."""

    widths = (48, 96, 128, 128)
    strides = (4, 8, 16, 32)
    size_multiple = 1

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        stem = self.widths[0] // 2
        self.stem = nn.Sequential(*conv_bn_relu(channels, stem, stride=2))
        self.stages = nn.ModuleList(
            nn.Sequential(*conv_bn_relu(before, width, stride=2), *conv_bn_relu(width, width, stride=1))
            for before, width in pairwise((stem, *self.widths))
        )

    @property
    @override
    def body(self) -> nn.Module:
        return self

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        return [x := stage(x) for stage in self.stages]

    @override
    def layer_numbers(self) -> dict[str, int]:
        names = [name for name, _ in self.named_parameters()]
        return {name: int(name.split(".")[1]) + 1 if name.startswith("stages.") else 0 for name in names}


def conv_bn_relu(inputs: int, outputs: int, *, stride: int) -> tuple[nn.Module, ...]:
    """Returns a 3 x 3 convolution, BatchNorm and ReLU."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
