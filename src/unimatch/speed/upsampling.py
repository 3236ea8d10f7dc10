"""Bilinear upsampling with a gradient that compiles to what a GPU is good at.

``torch.compile`` takes an interpolation apart into gathers, whose gradient is a scatter with atomic additions: of all
that a compiled step of ViT-B did on a GPU, the largest piece (docs/performance.md). Turned round it is a gather too:
a coarse cell sums the few full-size cells that lie less than one coarse cell away, by their distance. So there are no
atomic additions, and the same sum every time. Compiled for a CPU, where additions need not be atomic, it is no gain.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners aligned, as the published models do everywhere: (B, C, h, w) -> (B, C, *size)."""
    if x.is_cuda and x.requires_grad and torch.compiler.is_compiling():
        return Upsample.apply(x, size)  # type: ignore[no-untyped-call]
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


class Upsample(torch.autograd.Function):
    """See :func:`upsample`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, h, w) -> (B, C, *size)."""
        ctx.coarse = x.shape[2], x.shape[3]
        return F.interpolate(x, size, mode="bilinear", align_corners=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """(B, C, *size) -> (B, C, h, w), in sums of float32 at least."""
        gradient = gradients[0].to(torch.promote_types(gradients[0].dtype, torch.float32))
        for dim, coarse in zip((3, 2), reversed(ctx.coarse), strict=True):
            gradient = gathered(gradient, dim, coarse)
        return gradient.to(gradients[0].dtype), None


def gathered(gradient: Tensor, dim: int, coarse: int) -> Tensor:
    """The gradient of a linear interpolation along one dimension.

    Full-size cell ``r`` of ``n`` lies at ``p(r) = r (coarse - 1) / (n - 1)`` and takes ``1 - |p(r) - j|`` of coarse
    cell ``j``, where that is above 0; what it takes of each is what it gives back.

    Args:
        gradient: of the interpolated tensor.
        dim: the dimension, of ``n`` cells there.
        coarse: cells of that dimension before.

    >>> gathered(torch.ones(5), 0, 3)  # the middle cell is all of one full-size cell and half of two
    tensor([1.5000, 2.0000, 1.5000])
    """
    full = gradient.shape[dim]
    if coarse == full:
        return gradient
    if coarse == 1:
        return gradient.sum(dim, keepdim=True)
    step = (coarse - 1) / (full - 1) if full > 1 else 0.0
    shape = [-1 if axis == dim % gradient.dim() else 1 for axis in range(gradient.dim())]
    cell = torch.arange(coarse, device=gradient.device)
    # The first full-size cell that may be near enough, and how many; at step 0, the only one.
    first = torch.floor((cell - 1) / step).long() if step else torch.zeros_like(cell)
    total = gradient.new_zeros(())
    for tap in range(math.ceil(2 / step) + 1 if step else 1):
        row = first + tap
        near = (1 - (row.to(gradient.dtype) * step - cell).abs()).clamp(min=0)
        weight = near * ((row >= 0) & (row < full))
        total = total + gradient.index_select(dim, row.clamp(0, full - 1)) * weight.view(shape)
    return total
