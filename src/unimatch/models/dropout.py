"""Complementary Dropout: the two strong views lose complementary halves of the feature channels.

Source: UniMatch V2, section 3.3 and figure 3d.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def complementary_masks(
    pairs: int,
    widths: Sequence[int],
    *,
    generator: torch.Generator,
    keep_ratio: float = 0.5,
) -> list[Tensor]:
    """Draw the channel masks of ``pairs`` pairs of strong views.

    For pair ``i`` a mask ``m_i ~ Bernoulli(0.5)^D`` is drawn; the first view is multiplied by ``2 m_i``, the second
    by ``2 (1 - m_i)``. A random ``floor(keep_ratio * pairs)`` of the pairs keeps all its channels. One mask serves
    all levels of equal width; pyramids get one per level.

    Args:
        pairs: number of images, ``B``.
        widths: channels ``D_l`` of each feature level.
        generator: on the device of the features.
        keep_ratio: share of the pairs that is left undropped.

    Returns:
        Per level (2 B, D_l, 1, 1) float, the first views' masks before the second views'.

    >>> masks = complementary_masks(4, (6,), generator=torch.Generator().manual_seed(0))[0].view(2, 4, 6)
    >>> bool((masks.sum(0) == 2).all())  # in every channel, what one view loses the other has twice
    True
    """
    device = generator.device
    order = torch.rand(pairs, generator=generator, device=device).argsort()
    # The small addition undoes the rounding of products such as 0.29 * 100.
    kept = (order < int(keep_ratio * pairs + 1e-6)).view(pairs, 1)  # (B, 1)
    drawn: dict[int, Tensor] = {}
    masks = []
    for level, width in enumerate(widths):
        key = 0 if len(set(widths)) == 1 else level
        if key not in drawn:
            coin = torch.randint(0, 2, (pairs, width), generator=generator, device=device).float()  # (B, D)
            both = torch.stack([2 * coin, 2 * (1 - coin)])  # (2, B, D)
            drawn[key] = torch.where(kept, torch.ones_like(both), both).view(2 * pairs, width, 1, 1)
        masks.append(drawn[key])
    return masks


def drop_channels(levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Multiply each feature level (2 B, D, h, w) by its channel mask (2 B, D, 1, 1)."""
    return [level * mask.to(level.dtype) for level, mask in zip(levels, masks, strict=True)]
