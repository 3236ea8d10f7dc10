"""Wide ResNets, the encoders of published semi-supervised classification.

Source: Zagoruyko and Komodakis: Wide Residual Networks, arXiv 1605.07146; their semi-supervised settings (leaky ReLU of
slope 0.1, BatchNorm with momentum 0.001 and eps 0.001, weights drawn for the fan-out): Oliver et al., arXiv 1804.09170,
and the public repositories google-research/fixmatch and TorchSSL/TorchSSL on github.com.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.encoder_base import Encoder


class WideBlock(nn.Module):
    """BatchNorm, leaky ReLU and 3 x 3 convolution, twice, plus a shortcut: the input, or a 1 x 1 convolution of it.

    With ``activate_input``, the shortcut takes the input after the first BatchNorm and ReLU.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, momentum: float, activate_input: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = batch_norm(inputs, momentum), batch_norm(outputs, momentum)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.activate = nn.LeakyReLU(0.1)
        self.activate_input = activate_input

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Turns (B, inputs, H, W) into (B, outputs, ceil(H / stride), ceil(W / stride))."""
        active = self.activate(self.norm1(x))
        residual = self.conv2(self.activate(self.norm2(self.conv1(active))))
        return residual + self.shortcut(active if self.activate_input else x)


class WideResNet(Encoder):
    """Returns one feature level, the last group's, averaged over the image: (B, 3, H, W) -> [(B, D, 1, 1)].

    ``wrn_28_2`` (1.5M parameters) has three groups of four blocks. ``wrn_37_2`` (5.9M), STL-10's, has a fourth group,
    twice as wide, and halves the image in the first group. The shortcut of a group's first block takes the activated
    input: in ``wrn_37_2`` in every group, in ``wrn_28_2`` only in the first.

    Args:
        groups: number of groups of blocks; each has twice the channels of the one before and half its size.
        width: ``k``: the first group has ``16 k`` channels.
        blocks: number of blocks in each group.
        first_stride: stride of the first group.
        bn_momentum: momentum of BatchNorm's running statistics. The published 0.001 is for hundreds of thousands of
            steps; short runs want 0.1.
        channels: of the images.
    """

    size_multiple = 1

    def __init__(
        self,
        *,
        groups: int = 3,
        width: int = 2,
        blocks: int = 4,
        first_stride: int = 1,
        bn_momentum: float = 0.001,
        channels: int = 3,
    ) -> None:
        super().__init__()
        widths = [16, *(16 * width * 2**group for group in range(groups))]
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.groups = nn.ModuleList()
        for group, (inputs, outputs) in enumerate(pairwise(widths)):
            first = WideBlock(
                inputs,
                outputs,
                stride=first_stride if group == 0 else 2,
                momentum=bn_momentum,
                activate_input=group == 0 or groups > 3,
            )
            others = [
                WideBlock(outputs, outputs, stride=1, momentum=bn_momentum, activate_input=False)
                for _ in range(blocks - 1)
            ]
            self.groups.append(nn.Sequential(first, *others))
        self.norm = batch_norm(widths[-1], bn_momentum)
        self.activate = nn.LeakyReLU(0.1)
        self.widths = (widths[-1],)
        self.strides = (first_stride * 2 ** (groups - 1),)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.01, mode="fan_out", nonlinearity="leaky_relu")

    @property
    @override
    def body(self) -> nn.Module:
        return self

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        """Turns (B, 3, H, W) into [(B, D, 1, 1)]."""
        x = self.stem(images)
        for group in self.groups:
            x = group(x)
        return [self.activate(self.norm(x)).mean(dim=(2, 3), keepdim=True)]

    @override
    def layer_numbers(self) -> dict[str, int]:
        depths = {"stem": 0, "norm": len(self.groups)}  # the last norm belongs to the last group
        numbers = {}
        for name, _ in self.named_parameters():
            part, index, *_ = name.split(".")
            numbers[name] = int(index) + 1 if part == "groups" else depths[part]
        return numbers


WIDE_RESNETS: dict[str, dict[str, int]] = {
    "wrn_10_1": {"width": 1, "blocks": 1},
    "wrn_28_2": {},
    "wrn_28_8": {"width": 8},
    "wrn_37_2": {"groups": 4, "first_stride": 2},
}
"""The published networks and a small one, by name, with the arguments of :class:`WideResNet` that are not defaults."""


def wide_resnet(name: str, options: Mapping[str, Any] | None = None, channels: int = 3) -> WideResNet:
    """Builds a Wide ResNet by its name.

    Raises:
        ConfigError: :class:`WideResNet` does not take the ``options``.
    """
    try:
        return WideResNet(**{**WIDE_RESNETS[name], **(options or {}), "channels": channels})
    except TypeError as error:
        raise ConfigError(f"options: {name} does not take them ({error})") from error


def batch_norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    """Returns a BatchNorm with the eps of the published settings."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=momentum)
