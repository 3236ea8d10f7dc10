"""Applies the paper's strong view to a whole batch on its device, with each image's own random draws.

What :class:`unimatch.augment.strong.StrongAugmentation` draws is computed here in floats, without rounding between the
changes and without the steps of two degrees of eight-bit hues. No value leaves the device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def with_strong_views(part: dict[str, Tensor], largest_sigma: float) -> dict[str, Tensor]:
    """Returns a part of a batch with the strong views whose changes :class:`unimatch.augment.views.Views` drew.

    Args:
        part: labelled or unlabelled images, and fields ``change``, ``change1`` or ``change2``, which are left out.
        largest_sigma: see :func:`augment`.
    """
    result = {name: value for name, value in part.items() if not name.startswith("change")}
    if "change" in part:
        result["image"] = augment(part["image"], part["change"], largest_sigma)
    changes = [part[name] for name in ("change1", "change2") if name in part]
    if changes:
        weak = torch.cat([part["weak"]] * len(changes))
        views = augment(weak, torch.cat(changes), largest_sigma).chunk(len(changes))
        result |= {f"strong{number}": view for number, view in enumerate(views, 1)}
    return result


def augment(images: Tensor, changes: Tensor, largest_sigma: float) -> Tensor:
    """Returns images after colour jitter, grayscale and blur, as float32 in 0-255, not rounded.

    Args:
        images: (B, 3, H, W) uint8, or (B, 2, 3, H, W), pairs.
        changes: (B, 10) or (B, 2, 10) float32, :meth:`unimatch.augment.strong.Change.packed` of each image.
        largest_sigma: the largest standard deviation of a blur that may be drawn, in pixels; sets the filter's size.
    """
    shape = images.shape
    images, changes = images.flatten(0, -4).float(), changes.flatten(0, -2)
    amounts, order, grayscale, sigma = changes[:, :4], changes[:, 4:8], changes[:, 8], changes[:, 9]
    for which in order.unbind(1):
        images = change(images, which.long(), amounts)
    images = torch.where(column(grayscale) > 0, luma(images), images)
    return blur(images, sigma, largest_sigma).view(shape)


def change(images: Tensor, which: Tensor, amounts: Tensor) -> Tensor:
    """Returns images after one change of colour, which may differ from image to image.

    Args:
        images: (B, 3, H, W) float32 in 0-255; not changed.
        which: (B,) int64, which of brightness, contrast, saturation and hue to change; -1 for none.
        amounts: (B, 4), the amounts of all four.
    """
    gray = luma(images)  # (B, 1, H, W)
    mean = gray.mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
    base = torch.where(column(which) == CONTRAST, mean, gray) * (column(which) != BRIGHTNESS)
    factor = column(amounts.gather(1, which.clamp(0, SATURATION)[:, None])[:, 0])
    blended = torch.lerp(base.expand_as(images), images, factor.expand_as(images)).clamp(0, 255)
    changed = torch.where(column(which) == HUE, turn_hue(images, amounts[:, HUE]), blended)
    return torch.where(column(which) < 0, images, changed)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shifts each image's hues by ``turns`` (B,) of HSV's colour circle; value and saturation stay."""
    value, which = images.max(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    red, green, blue = images.chunk(3, 1)
    sides = torch.cat([green - blue, blue - red, red - green], 1).gather(1, which)  # (B, 1, H, W)
    hue = 2 * which + sides / chroma.clamp(min=1e-6)  # in sixths of a turn
    offsets = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    distance = (offsets + hue + 6 * column(turns)) % 6  # (B, 3, H, W)
    return value - chroma * torch.minimum(distance, 4 - distance).clamp(0, 1)


def blur(images: Tensor, sigma: Tensor, largest_sigma: float) -> Tensor:
    """Blurs each image by its sigma, (B,) in pixels, 0 for none, as :func:`unimatch.augment.blur.blurred` does."""
    box_reach = 1 + int(((4 * largest_sigma**2 + 1) ** 0.5 - 1) / 2)
    kernels = blur_kernels(sigma, box_reach).repeat_interleave(3, 0)  # (3B, K)
    reach = 3 * box_reach
    planes = images.flatten(0, 1)[None]  # (1, 3B, H, W)
    for shape in ((-1, 1, 1, 2 * reach + 1), (-1, 1, 2 * reach + 1, 1)):
        axis = 3 if shape[2] == 1 else 2
        padded = planes.index_select(axis, mirrored(planes.shape[axis], reach, images.device))
        planes = F.conv2d(padded, kernels.view(shape), groups=len(kernels))
    return planes[0].view_as(images)


def blur_kernels(sigma: Tensor, box_reach: int) -> Tensor:
    """Returns :func:`unimatch.augment.blur.blur_kernel` of each sigma, (B,) -> (B, 6 ``box_reach`` + 1)."""
    variance = sigma[:, None] ** 2 / 3  # (B, 1)
    inner = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    outer = (2 * inner + 1) * (inner * (inner + 1) - 3 * variance) / (6 * (variance - (inner + 1) ** 2))
    offsets = torch.arange(-box_reach, box_reach + 1, device=sigma.device).abs()
    boxes = (offsets <= inner) + outer * (offsets == inner + 1)  # (B, 2 box_reach + 1)
    boxes = boxes / boxes.sum(1, keepdim=True)
    kernels = boxes[None]  # (1, B, K)
    for _ in range(2):  # boxes are symmetric: correlation is convolution
        kernels = F.conv1d(kernels, boxes[:, None], padding=2 * box_reach, groups=len(boxes))
    return kernels[0]


def mirrored(length: int, reach: int, device: torch.device) -> Tensor:
    """Returns the positions from ``-reach`` to ``length + reach - 1``, mirrored at the ends, which are repeated."""
    positions = torch.arange(-reach, length + reach, device=device) % (2 * length)
    return torch.minimum(positions, 2 * length - 1 - positions)


def luma(images: Tensor) -> Tensor:
    """Returns the gray values (B, 1, H, W) of images (B, 3, H, W) by ITU-R 601."""
    red, green, blue = images.chunk(3, 1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def column(values: Tensor) -> Tensor:
    """Returns values (B,) as (B, 1, 1, 1), one for each image."""
    return values.view(-1, 1, 1, 1)
