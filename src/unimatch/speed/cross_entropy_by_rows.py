"""Computes cross-entropy and pseudo labels at full size from coarse logits, a few rows at a time.

Decoders give logits at a fraction of the image's size, which are upsampled. With many classes, the upsampled logits
would take most of the memory of a step. Here they are computed, used and dropped piece by piece, and computed again in
the backward pass. Values and gradients are the same as with the whole upsampled logits.
:mod:`unimatch.speed.compiled_losses` does the same by compiled code.

``B`` images, ``C`` classes, ``h w`` the decoder's size, ``H W`` the target's.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unimatch.speed import compiled_losses
from unimatch.speed.compile import LOSSES_ON
from unimatch.speed.upsampling import size_of

PIECE = {"cpu": 2**21, "cuda": 2**24}
"""How many upsampled logits a piece has: few enough for a CPU's cache, or enough to keep a GPU busy."""

VECTOR = 16
"""How many floats the widest vectors of a CPU hold."""

NOTHING = -100
"""An ``ignore_index`` for targets in which no pixel is ignored."""


def cross_entropy_per_pixel(logits: Tensor, target: Tensor, ignore_index: int = NOTHING) -> Tensor:
    """Computes the cross-entropy of every pixel, as ``F.cross_entropy(upsample(logits), target, reduction="none")``.

    Args:
        logits: (B, C, *) of any float type; computed in float32. Maps (B, C, h, w) may be of any size: they are
            upsampled to the target's, bilinearly with the corners aligned.
        target: (B, *) int64 class ids.
        ignore_index: the value in ``target`` that counts 0 and gives no gradient.

    Returns:
        (B, *) float32.

    >>> cross_entropy_per_pixel(torch.zeros(1, 8, 2, 2), torch.zeros(1, 3, 4, dtype=torch.int64)).exp().round()
    tensor([[[8., 8., 8., 8.],
             [8., 8., 8., 8.],
             [8., 8., 8., 8.]]])
    """
    if logits.dim() != 4:
        return F.cross_entropy(logits.float(), target, ignore_index=ignore_index, reduction="none")
    return CrossEntropyPerPixel.apply(logits, target, ignore_index)  # type: ignore[no-untyped-call]


@torch.no_grad()
def label_and_confidence(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Computes the most probable class and its probability, in float32.

    Args:
        logits: (B, C, h, w), upsampled to ``size`` as for :func:`cross_entropy_per_pixel`; or (B, C) of whole images.
        size: height and width of the result; not used for whole images.

    Returns:
        (B, *size) int64 and (B, *size) float32 in 0-1; (B,) twice for whole images.
    """
    if logits.dim() != 4:
        confidence, label = logits.float().softmax(dim=1).max(dim=1)
        return label, confidence
    if logits.device.type in LOSSES_ON:
        return compiled_losses.piecewise(compiled_losses.labels, size, (logits,), size)
    label = logits.new_empty((len(logits), *size), dtype=torch.int64)
    confidence = logits.new_empty((len(logits), *size), dtype=torch.float32)
    for here, rows in pieces(logits, size):
        upsampled = upsample_rows(coarse_rows(logits, here[0], rows, size), rows, logits.shape[2], size)
        torch.max(over_classes(torch.softmax, upsampled), -1, out=(confidence[here], label[here]))
    return label, confidence


class CrossEntropyPerPixel(torch.autograd.Function):
    """The cross-entropy of :func:`cross_entropy_per_pixel` for maps, with a gradient of its own."""

    @staticmethod
    @override
    def forward(ctx: Any, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Turns logits (B, C, h, w) and targets (B, H, W) into losses (B, H, W)."""
        ctx.save_for_backward(logits, target)
        ctx.ignore_index = ignore_index
        ctx.compiled = logits.device.type in LOSSES_ON
        size = size_of(target)
        if ctx.compiled:
            return compiled_losses.piecewise(compiled_losses.losses, size, (logits, target), ignore_index)
        loss = logits.new_empty(target.shape, dtype=torch.float32)
        for here, rows in pieces(logits, size):
            upsampled = upsample_rows(coarse_rows(logits, here[0], rows, size), rows, logits.shape[2], size)
            counted = target[here] != ignore_index
            log_p = over_classes(torch.log_softmax, upsampled).gather(-1, (target[here] * counted).unsqueeze(-1))
            loss[here] = -log_p.squeeze(-1).masked_fill(~counted, 0)
        return loss

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # (softmax - one hot) * gradient, through the upsampling.
        logits, target = ctx.saved_tensors
        size = size_of(target)
        if ctx.compiled:
            images = (logits, target, gradients[0])
            found = compiled_losses.piecewise(compiled_losses.logits_gradient, size, images, ctx.ignore_index)
            return found.to(logits.dtype), None, None
        total = torch.zeros_like(logits, dtype=torch.float32)
        for here, rows in pieces(logits, size):
            counted = target[here] != ctx.ignore_index
            gradient = (gradients[0][here] * counted).unsqueeze(-1)  # (b, n, W, 1)
            coarse = coarse_rows(logits, here[0], rows, size)
            with torch.enable_grad():
                coarse.requires_grad_()
                upsampled = upsample_rows(coarse, rows, logits.shape[2], size)  # (b, n, W, C)
            slope = over_classes(torch.softmax, upsampled.detach()).mul_(gradient)
            slope.scatter_add_(-1, (target[here] * counted).unsqueeze(-1), -gradient)
            needed = source_rows(rows, logits.shape[2], size[0])
            total[here[0], :, needed.start : needed.stop] += torch.autograd.grad(upsampled, coarse, slope)[0]
        return total.to(logits.dtype), None, None


def pieces(logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[tuple[slice, slice], range]]:
    """Yields for each piece its index into images and full-size rows, and the rows again as a range."""
    height, width = size
    limit = PIECE.get(logits.device.type, PIECE["cuda"]) // (logits.shape[1] * width)  # rows of an image
    images, rows = max(1, limit // height), min(height, max(1, limit))
    for first in range(0, len(logits), images):
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            yield (slice(first, first + images), slice(top, bottom)), range(top, bottom)


def source_rows(rows: range, coarse: int, full: int) -> range:
    """Returns the coarse map's rows that these full-size rows are interpolated from, and one more on either side.

    Args:
        rows: of the full-size map.
        coarse: number of rows of the coarse map.
        full: number of rows of the full-size map.
    """
    steps = max(full - 1, 1)
    return range(max(rows[0] * (coarse - 1) // steps - 1, 0), min(rows[-1] * (coarse - 1) // steps + 3, coarse))


def coarse_rows(logits: Tensor, images: slice, rows: range, size: tuple[int, int]) -> Tensor:
    """Returns the coarse logits that these rows are computed from: (b, C, m, w), float32, detached."""
    needed = source_rows(rows, logits.shape[2], size[0])
    part = logits.detach()[images, :, needed.start : needed.stop]
    return part.to(torch.float32, memory_format=torch.channels_last)  # in which upsampling is fastest


def upsample_rows(part: Tensor, rows: range, coarse: int, size: tuple[int, int]) -> Tensor:
    """Computes rows of the upsampled map, with the classes last, as they are in memory.

    Args:
        part: (b, C, m, w), from :func:`coarse_rows`.
        rows: which rows of the full-size map.
        coarse: ``h``, the height of the whole coarse map.
        size: ``(H, W)`` of the whole full-size map.

    Returns:
        (b, len(rows), W, C).
    """
    height, width = size
    if len(rows) < height:
        # As F.interpolate does, in float32 too: row r lies at r (h - 1) / (H - 1) of the coarse map.
        position = torch.arange(rows.start, rows.stop, device=part.device) * ((coarse - 1) / (height - 1))
        above = position.long()
        weight = (position - above)[:, None, None]
        above = above - source_rows(rows, coarse, height).start
        below = (above + 1).clamp(max=part.shape[2] - 1)
        part = part.movedim(1, -1)  # index_select would leave the channels-last layout
        part = torch.lerp(part.index_select(1, above), part.index_select(1, below), weight)  # (b, n, w, C)
        part = part.movedim(-1, 1)
    return F.interpolate(part, (len(rows), width), mode="bilinear", align_corners=True).movedim(1, -1)


def over_classes(function: Callable[[Tensor, int], Tensor], logits: Tensor) -> Tensor:
    """Computes ``function(logits, -1)`` for a softmax and contiguous (..., C), as fast for few classes as for many.

    Along the last axis a CPU computes a vector of classes at a time, along the first axis a vector of pixels. Too few
    classes for a vector are computed one by one: for 11 classes, moving them to the front is 12 times as fast, with the
    copy included.
    """
    if logits.shape[-1] >= VECTOR:
        return function(logits, -1)
    return function(logits.movedim(-1, 0).contiguous(), 0).movedim(0, -1)
