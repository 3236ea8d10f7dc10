"""CutMix between the images of one batch or of two: boxes are drawn with the views, and pasted on the device.

Source: UniMatch V2, section 3.1 and its published settings. The partner of image ``i`` is image ``B - 1 - i`` of the
same batch, or image ``i`` of a second one (UniMatch V1, arXiv 2208.09910).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Box = tuple[int, int, int, int]
"""(top, left, bottom, right), bottom and right exclusive. Equal edges mean no box."""


def draw_box(
    rng: np.random.Generator,
    crop: int,
    *,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Box:
    """Draws a CutMix box inside a view of ``crop x crop`` pixels; with a chance of 1 - ``probability`` an empty one.

    The area, a share of the view, is drawn once; the aspect ratio (height to width) and the corner are drawn until the
    box lies inside. Both ranges are lowest and highest, drawn uniformly.
    """
    if rng.random() >= probability:
        return 0, 0, 0, 0
    pixels = rng.uniform(*area) * crop * crop
    while True:
        ratio = rng.uniform(*aspect)
        height, width = int(np.sqrt(pixels * ratio)), int(np.sqrt(pixels / ratio))
        top, left = int(rng.integers(crop)), int(rng.integers(crop))
        if top + height <= crop and left + width <= crop:
            return top, left, top + height, left + width


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """Returns (B, H, W) bool, True inside the boxes (B, 4). No value leaves the device."""
    rows = torch.arange(height, device=boxes.device)[None, :, None]
    columns = torch.arange(width, device=boxes.device)[None, None, :]
    top, left, bottom, right = boxes[:, :, None, None].unbind(1)  # each (B, 1, 1)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def cutmix(
    boxes: Tensor | None, *tensors: Tensor, partner: Sequence[Tensor] | None = None, parts: int = 1
) -> tuple[Tensor, ...]:
    """Pastes the pixels of its partner into the box of each image.

    Args:
        boxes: (B, 4) int64, one box per image; None for no CutMix, as where labels have no H and W.
        *tensors: each (B, ..., H, W): images, pseudo labels, confidences, valid masks. All get the same boxes, and
            pixels come from the tensors before any pasting. They are not changed.
        partner: tensors of the same shapes to paste from; None for the batch in reverse order.
        parts: how many batches the tensors hold, one after the other; each is reversed on its own.

    >>> a = torch.arange(2).repeat_interleave(4).view(2, 2, 2)
    >>> cutmix(torch.tensor([[0, 0, 1, 2], [0, 0, 0, 0]]), a)[0].tolist()
    [[[1, 1], [0, 0]], [[1, 1], [1, 1]]]
    """
    if boxes is None:
        return tensors
    inside = box_mask(boxes, *tensors[0].shape[-2:])  # (B, H, W)
    sources = [backwards(tensor, parts) for tensor in tensors] if partner is None else partner
    return tuple(
        torch.where(inside.view(len(inside), *(1,) * (tensor.dim() - 3), *inside.shape[1:]), source, tensor)
        for tensor, source in zip(tensors, sources, strict=True)
    )


def backwards(tensor: Tensor, parts: int) -> Tensor:
    """Returns a batch with each of its parts in reverse order."""
    return tensor.flip(0) if parts == 1 else torch.cat([part.flip(0) for part in tensor.chunk(parts)])
