"""Lets oneDNN compute linear layers and 1 x 1 convolutions, in float32 on a CPU.

PyTorch gives matrix products in float32 to MKL, and on one thread 1 x 1 convolutions too. On AMD's processors MKL uses
vectors of 256 bits even if the processor has 512; oneDNN, which computes all other convolutions, uses all of them: this
is twice as fast on such a processor, and a little faster on others (``docs/performance.md``). In bfloat16 oneDNN
computes both anyway, and on a GPU neither.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

TO_ONEDNN = 2
"""A dilation. It does not change a 1 x 1 convolution, but PyTorch never gives dilated convolutions to MKL."""


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
    """A 1 x 1 ``nn.Conv2d`` with the same parameters; values and gradients are equal up to the order of sums."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        if not runs_in_onednn(x):
            return super().forward(x)
        return F.conv2d(x, self.weight, self.bias, dilation=TO_ONEDNN)


def runs_in_onednn(x: Tensor) -> bool:
    """Tells whether PyTorch gives convolutions of ``x``, but not matrix products, to oneDNN.

    False while a graph is traced or exported: compilers and runtimes should see plain layers.
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
    """Turns each linear layer and each 1 x 1 convolution into the classes above, in place.

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
