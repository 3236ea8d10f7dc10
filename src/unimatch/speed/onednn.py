"""Lets oneDNN compute linear layers and convolutions of one pixel, in float32 on a CPU.

PyTorch hands matrix products in float32 to MKL, and so, on one thread, convolutions of one pixel. On AMD's processors
MKL uses vectors of 256 bits where the processor has 512; oneDNN, which carries out all other convolutions, uses what
there is: twice as fast on such a processor, a little faster on others (``docs/performance.md``). In bfloat16 both go to
oneDNN anyway, and on a GPU neither does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

TO_ONEDNN = 2
"""A dilation. It changes nothing about a kernel of one pixel, but PyTorch never gives dilated convolutions to MKL."""


class OneDNNLinear(nn.Linear):
    """``nn.Linear`` with the same parameters; values and gradients are equal up to the order of sums."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        if not runs_in_onednn(x):
            return super().forward(x)
        rows = x.reshape(1, 1, -1, self.in_features).movedim(-1, 1)  # (1, in_features, 1, M), channels last in memory
        y = F.conv2d(rows, self.weight[:, :, None, None], self.bias, dilation=TO_ONEDNN)  # (1, out_features, 1, M)
        return y.movedim(1, -1).reshape(*x.shape[:-1], self.out_features)


class OneDNNPointwise(nn.Conv2d):
    """``nn.Conv2d`` of one pixel with the same parameters; values and gradients are equal up to the order of sums."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        own = runs_in_onednn(x)
        return F.conv2d(x, self.weight, self.bias, dilation=TO_ONEDNN) if own else super().forward(x)


def runs_in_onednn(x: Tensor) -> bool:
    """Tells whether PyTorch gives convolutions of ``x``, but not matrix products, to oneDNN.

    False while a graph is traced or exported, so that it has plain layers: these are what compilers and runtimes know.
    """
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )


def use_onednn(model: nn.Module) -> None:
    """Turns each linear layer and each convolution of one pixel into the classes above, in place.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 2))
    >>> use_onednn(model)
    >>> [type(layer).__name__ for layer in model]
    ['OneDNNPointwise', 'Conv2d', 'Flatten', 'OneDNNLinear']
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDNNLinear
        elif (
            type(module) is nn.Conv2d
            and (module.kernel_size, module.stride, module.groups) == ((1, 1), (1, 1), 1)
            and module.padding in ((0, 0), "valid", "same")
        ):
            module.__class__ = OneDNNPointwise
