"""Upsamples bilinearly. In code compiled for a GPU, the gradient needs no atomic additions.

``torch.compile`` turns an interpolation into gathers, whose gradient is a scatter with atomic additions: the largest
part of a compiled step of ViT-B on a GPU (docs/performance.md). The gradient can be written as a gather too: a coarse
cell sums the few full-size cells that lie less than one coarse cell away, weighted by their distance. This needs no
atomic additions and gives the same sum every time. A CPU, whose additions need not be atomic, would gain nothing.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override


def size_of(x: Tensor) -> tuple[int, int]:
    """Returns the height and width of a batch of images, maps or labels."""
    return x.shape[-2], x.shape[-1]


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsamples (B, C, h, w) to (B, C, *size), bilinearly with corners aligned, as the published models always do."""
    if x.is_cuda and x.requires_grad and torch.compiler.is_compiling():
        return Upsample.apply(x, size)  # type: ignore[no-untyped-call]
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


class Upsample(torch.autograd.Function):
    """The upsampling of :func:`upsample` with a gradient of its own."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.coarse = size_of(x)
        return F.interpolate(x, size, mode="bilinear", align_corners=True)

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Sums are in float32 at least.
        gradient = gradients[0].to(torch.promote_types(gradients[0].dtype, torch.float32))
        return upsampling_gradient(gradient, ctx.coarse).to(gradients[0].dtype), None


def upsampling_gradient(gradient: Tensor, coarse: tuple[int, int]) -> Tensor:
    """Computes the gradient (B, C, *coarse) of an upsampled map from that of the result (B, C, H, W)."""
    return interpolation_gradient(interpolation_gradient(gradient, 3, coarse[1]), 2, coarse[0])


def interpolation_gradient(gradient: Tensor, dim: int, coarse: int) -> Tensor:
    """Computes the gradient of a linear interpolation along one dimension.

    Full-size cell ``r`` of ``n`` lies at ``p(r) = r (coarse - 1) / (n - 1)`` and takes ``1 - |p(r) - j|`` of coarse
    cell ``j``, where that is above 0. Its gradient goes back to the coarse cells in the same shares.

    Args:
        gradient: of the interpolated tensor.
        dim: the dimension that was interpolated, with ``n`` cells.
        coarse: how many cells that dimension had before.

    >>> interpolation_gradient(torch.ones(5), 0, 3)  # the middle cell gave all of one full-size cell and half of two
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
    # The full-size cells that may be near enough to a coarse one begin at `first`. At step 0 there is only one.
    first = torch.floor((cell - 1) / step).long() if step else torch.zeros_like(cell)
    candidates = math.ceil(2 / step) + 1 if step else 1
    total = gradient.new_zeros(())
    for candidate in range(candidates):
        row = first + candidate
        near = (1 - (row.to(gradient.dtype) * step - cell).abs()).clamp(min=0)
        weight = near * ((row >= 0) & (row < full))
        total = total + gradient.index_select(dim, row.clamp(0, full - 1)) * weight.view(shape)
    return total
