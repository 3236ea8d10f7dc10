"""Channel dropout: drops whole feature channels; in the two strong views, complementary ones.

Source: UniMatch V2, section 3.3 and figures 3d and 4; UniMatch V1, section 3.2 (feature perturbation).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def channel_masks(
    pairs: int,
    widths: Sequence[int],
    *,
    views: int = 2,
    complementary: bool = True,
    keep_ratio: float = 0.5,
    generator: torch.Generator,
) -> list[Tensor]:
    """Draws the channel masks of the strong views of ``pairs`` images.

    For image ``i`` a mask ``m_i ~ Bernoulli(0.5)^D`` is drawn; the first view is multiplied by ``2 m_i``, the second
    by ``2 (1 - m_i)`` if complementary, else by another random mask. ``floor(keep_ratio * pairs)`` of the images,
    chosen at random, keep all channels. If all levels are equally wide, they share one mask; in a pyramid each level
    gets its own.

    Args:
        pairs: number of images, ``B``.
        widths: channels ``D_l`` of each feature level.
        views: strong views of each image, 1 or 2; complementary masks need 2.
        complementary: whether the second view keeps the channels that the first one loses (Complementary Dropout).
        keep_ratio: share of the images that keep all their channels.
        generator: on the device of the features.

    Returns:
        Per level (views B, D_l, 1, 1) float, the first views' masks before the second views'.

    >>> masks = channel_masks(4, (6,), generator=torch.Generator().manual_seed(0))[0].view(2, 4, 6)
    >>> bool((masks.sum(0) == 2).all())  # in every channel, what one view loses the other has twice
    True
    """
    if complementary and views != 2:
        raise ValueError(f"views={views}: complementary masks are those of two views")
    device = generator.device
    order = torch.rand(pairs, generator=generator, device=device).argsort()
    # 1e-6 makes up for rounding: 0.29 * 100 is just below 29.
    kept = (order < int(keep_ratio * pairs + 1e-6)).view(pairs, 1)  # (B, 1)
    shared = len(set(widths)) == 1
    masks = []
    for width in widths[:1] if shared else widths:
        coins = torch.randint(0, 2, (1 if complementary else views, pairs, width), generator=generator, device=device)
        dropped = 2.0 * (torch.cat([coins, 1 - coins]) if complementary else coins)  # (views, B, D)
        masks.append(torch.where(kept, torch.ones_like(dropped), dropped).view(views * pairs, width, 1, 1))
    return masks * len(widths) if shared else masks


def feature_masks(images: int, widths: Sequence[int], drop: float, *, generator: torch.Generator) -> list[Tensor]:
    """Draws the masks of plain channel dropout, independently for each level: UniMatch V1's feature perturbation.

    Args:
        images: ``B``.
        widths: channels ``D_l`` of each feature level.
        drop: probability of dropping a channel, 0 to below 1; the others are multiplied by ``1 / (1 - drop)``.
        generator: on the device of the features.

    Returns:
        Per level (B, D_l, 1, 1) float.
    """
    masks = []
    for width in widths:
        kept = torch.rand(images, width, generator=generator, device=generator.device) >= drop
        masks.append((kept.float() / (1 - drop)).view(images, width, 1, 1))
    return masks


def drop_channels(levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Multiplies each feature level (N, D, h, w) by its channel mask (N, D, 1, 1)."""
    return [level * mask.to(level.dtype) for level, mask in zip(levels, masks, strict=True)]
