"""Position embeddings for images of any size, for models that timm resizes differently than published, or not at all.

Each class is one of timm's with one method replaced. A model built by timm is converted by setting its ``__class__``,
because timm's functions that build models do not take a class.
"""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table_simple
from timm.models.beit import Attention, Beit, gen_relative_position_index
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from typing_extensions import override

OFFSET = 0.1
"""What DINOv2 adds to the number of patches when it computes a scale factor, lest rounding give one patch too few."""


def resize_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resizes a table of position embeddings as DINOv2 does, and the published UniMatch V2 models with it.

    Bicubic, without antialiasing, by the scale factor ``(patches + 0.1) / patches of the table`` in each direction: the
    sampling points differ from those of a resize to the same size without the offset. A table that has the wanted grid
    is returned unchanged. timm's rule is antialiased and has no offset.

    Source: https://github.com/facebookresearch/dinov2, ``interpolate_pos_encoding``.

    Args:
        table: (1, h, w, D), of any float type; computed in float32.
        grid: rows and columns of patches wanted.

    Returns:
        (1, grid rows, grid columns, D).

    >>> resize_positions(torch.rand(1, 37, 37, 8), (19, 25)).shape
    torch.Size([1, 19, 25, 8])
    """
    height, width = table.shape[1:3]
    if (height, width) == grid:
        return table
    scale = ((grid[0] + OFFSET) / height, (grid[1] + OFFSET) / width)
    resized = F.interpolate(table.float().permute(0, 3, 1, 2), scale_factor=scale, mode="bicubic", antialias=False)
    return resized.permute(0, 2, 3, 1).to(table.dtype)


class DINOv2ViT(VisionTransformer):
    """timm's vision transformer with :func:`resize_positions` for its position embedding."""

    pos_embed: Any

    @override
    def _pos_embed(self, x: Tensor) -> Tensor:
        """Turns (B, h, w, D) patches into (B, prefix + h w, D) tokens."""
        grid = (x.shape[1], x.shape[2])
        prefix = [token for token in (self.cls_token, self.reg_token) if token is not None]
        tokens = [token.expand(x.shape[0], -1, -1) for token in prefix]
        before = 0 if self.no_embed_class else self.num_prefix_tokens  # entries of the table for the prefix tokens
        table = self.pos_embed[:, before:].unflatten(1, self.patch_embed.grid_size)
        patches = x.flatten(1, 2) + resize_positions(table, grid).flatten(1, 2)
        if before:
            tokens = [torch.cat(tokens, dim=1) + self.pos_embed[:, :before]]
        return self.pos_drop(torch.cat([*tokens, patches], dim=1))


class AnyGridBeit(Beit):
    """timm's BEiT for images of any size: its tables of relative positions are resized (bicubic) to the image's grid.

    timm's class takes images of only the size that it was built for.
    """

    @override
    def forward_intermediates(self, x: Tensor, *arguments: Any, **options: Any) -> Any:
        # The attention layers must know the grid of this batch.
        grid = self.patch_embed.dynamic_feat_size((x.shape[-2], x.shape[-1]))
        blocks: Any = self.blocks
        for block in blocks:
            block.attn.grid = grid
        return super().forward_intermediates(x, *arguments, **options)


class AnyGridAttention(Attention):
    """The attention layers of :class:`AnyGridBeit`, which sets their grid."""

    grid: tuple[int, int]

    @override
    def _get_rel_pos_bias(self) -> Tensor:
        """Returns (1, heads, 1 + h w, 1 + h w), the class token first."""
        if self.grid == tuple(self.window_size):
            return super()._get_rel_pos_bias()
        height, width = self.grid
        cells = (2 * height - 1) * (2 * width - 1) + 3  # three more: class to patch, patch to class, class to class
        table = self.relative_position_bias_table
        table = resize_rel_pos_bias_table_simple(table, self.grid, (cells, table.shape[1]))  # (cells, heads)
        index = gen_relative_position_index(self.grid, device=table.device)  # (1 + h w, 1 + h w)
        return table[index].permute(2, 0, 1).unsqueeze(0)


def any_grid(body: Any) -> None:
    """Makes timm's BEiT take images of any size, in place."""
    body.__class__ = AnyGridBeit
    body.patch_embed.strict_img_size = False
    for block in body.blocks:
        block.attn.__class__ = AnyGridAttention
        # Makes timm call the layer instead of using its weight, so that LoRA, which wraps the layer, has its effect.
        block.attn.qkv_bias_separate = True
