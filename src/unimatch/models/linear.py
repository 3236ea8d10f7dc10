"""A transformer's linear layers on a CPU in float32: as convolutions of one pixel, which oneDNN carries out.

PyTorch hands matrix products in float32 to MKL, which on AMD's processors uses vectors of 256 bits where the processor
has 512, and convolutions to oneDNN, which uses what there is: twice as fast on such a processor, no slower on others
(``docs/performance.md``). In bfloat16 both go to oneDNN, and on a GPU neither does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OneDNNLinear(nn.Linear):
    """``nn.Linear`` with the same parameters; values and gradients are equal up to the order of sums."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if not runs_in_onednn(x):
            return super().forward(x)
        rows = x.reshape(1, 1, -1, self.in_features).movedim(-1, 1)  # (1, in_features, 1, M), channels last in memory
        y = F.conv2d(rows, self.weight[:, :, None, None], self.bias)  # (1, out_features, 1, M)
        return y.movedim(1, -1).reshape(*x.shape[:-1], self.out_features)


def runs_in_onednn(x: Tensor) -> bool:
    """Whether a convolution of ``x`` is oneDNN's and a matrix product is not, and ``x`` is a real tensor.

    Graphs that are traced or exported keep the linear layer: it is what compilers and runtimes know.
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


def use_onednn(body: nn.Module) -> None:
    """Turn each linear layer of a model into an :class:`OneDNNLinear`, in place.

    >>> import timm
    >>> body = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    >>> use_onednn(body)
    >>> type(body.blocks[0].mlp.fc1).__name__
    'OneDNNLinear'
    """
    for module in body.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDNNLinear
