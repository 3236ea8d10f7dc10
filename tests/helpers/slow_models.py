"""The models of the specification, written again step by step; what the tests compare with."""

import math

import torch
import torch.nn.functional as F


def slow_resize(x, size):
    # Bilinear with the corners of both grids on each other, one output line at a time.
    for dim, n in ((-2, size[0]), (-1, size[1])):
        old, lines = x.shape[dim], []
        for i in range(n):
            position = i * (old - 1) / (n - 1) if n > 1 else 0.0
            low = min(int(position), old - 1)
            high = min(low + 1, old - 1)
            lines.append(x.select(dim, low) * (1 - (position - low)) + x.select(dim, high) * (position - low))
        x = torch.stack(lines, dim)
    return x


def keys_kernel(distance):
    # Keys' cubic convolution with a = -0.75.
    d, a = abs(distance), -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def slow_bicubic(table, size, scales):
    # One output line at a time; `scales` are output cells per table cell, cells beyond the border repeat it.
    for dim, (n, scale) in enumerate(zip(size, scales, strict=True)):
        old, lines = table.shape[dim], []
        for i in range(n):
            centre = (i + 0.5) / scale - 0.5
            first = math.floor(centre) - 1
            lines.append(
                sum(
                    keys_kernel(centre - cell) * table.select(dim, min(max(cell, 0), old - 1))
                    for cell in range(first, first + 4)
                )
            )
        table = torch.stack(lines, dim)
    return table


def slow_positions(table, grid):
    """The published rule for a (h, w, D) table: bicubic, not antialiased, scale factor (grid + 0.1) / table."""
    if tuple(table.shape[:2]) == tuple(grid):
        return table
    return slow_bicubic(table, grid, [(n + 0.1) / old for n, old in zip(grid, table.shape, strict=False)])


def slow_dinov2(w, images, blocks, heads, prefix="backbone."):
    """The normed tokens of four blocks as maps, from weights under DINOv2's names."""

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    patches = F.conv2d(
        images, w[f"{prefix}patch_embed.proj.weight"], w[f"{prefix}patch_embed.proj.bias"], stride=14
    )  # (B, D, h, w)
    batch, width, rows, columns = patches.shape
    positions = w[f"{prefix}pos_embed"][0]
    side = math.isqrt(len(positions) - 1)
    table = slow_positions(positions[1:].view(side, side, width), (rows, columns))
    patches = patches.permute(0, 2, 3, 1) + table
    first = (w[f"{prefix}cls_token"][0] + positions[:1]).expand(batch, 1, width)
    x = torch.cat([first, patches.reshape(batch, rows * columns, width)], 1)
    levels = []
    for number in range(max(blocks) + 1):
        block = f"{prefix}blocks.{number}"
        q, k, v = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").split(width, -1)
        size = width // heads
        mixed = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)).softmax(-1)
            mixed.append(weights @ v[..., part])
        x = x + w[f"{block}.ls1.gamma"] * linear(torch.cat(mixed, -1), f"{block}.attn.proj")
        inner = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2  # the exact GELU
        x = x + w[f"{block}.ls2.gamma"] * linear(inner, f"{block}.mlp.fc2")
        if number in blocks:
            tokens = norm(x, f"{prefix}norm")[:, 1:]
            levels.append(tokens.reshape(batch, rows, columns, width).permute(0, 3, 1, 2))
    return levels


def slow_official_head(w, levels, size):
    """The decoder, level by level, from weights under the published names."""

    def conv(x, name, **options):
        return F.conv2d(x, w[f"head.{name}.weight"], w.get(f"head.{name}.bias"), **options)

    def residual(x, name):
        inner = conv(F.relu(x), f"scratch.{name}.conv1", padding=1)
        return x + conv(F.relu(inner), f"scratch.{name}.conv2", padding=1)

    def enlarge(x, k, factor):
        weight, bias = w[f"head.resize_layers.{k}.weight"], w[f"head.resize_layers.{k}.bias"]
        return F.conv_transpose2d(x, weight, bias, stride=factor)

    x1, x2, x3, x4 = (conv(level, f"projects.{k}") for k, level in enumerate(levels))
    x1, x2, x4 = enlarge(x1, 0, 4), enlarge(x2, 1, 2), conv(x4, "resize_layers.3", stride=2, padding=1)
    x1, x2, x3, x4 = (conv(x, f"scratch.layer{k}_rn", padding=1) for k, x in enumerate((x1, x2, x3, x4), 1))
    path = slow_resize(residual(x4, "refinenet4.resConfUnit2"), x3.shape[-2:])
    path = conv(path, "scratch.refinenet4.out_conv")
    path = residual(path + residual(x3, "refinenet3.resConfUnit1"), "refinenet3.resConfUnit2")
    path = conv(slow_resize(path, x2.shape[-2:]), "scratch.refinenet3.out_conv")
    path = residual(path + residual(x2, "refinenet2.resConfUnit1"), "refinenet2.resConfUnit2")
    path = conv(slow_resize(path, x1.shape[-2:]), "scratch.refinenet2.out_conv")
    path = residual(path + residual(x1, "refinenet1.resConfUnit1"), "refinenet1.resConfUnit2")
    path = conv(slow_resize(path, [2 * n for n in x1.shape[-2:]]), "scratch.refinenet1.out_conv")
    logits = conv(F.relu(conv(path, "scratch.output_conv.0", padding=1)), "scratch.output_conv.2")
    return slow_resize(logits, size)


def official_shapes(width, depth, features, out_channels, classes):
    """Names and shapes of a published model's tensors."""
    swiglu = width == 1536
    hidden = 4096 if swiglu else 4 * width
    shapes = {
        "backbone.cls_token": (1, 1, width),
        "backbone.pos_embed": (1, 1370, width),
        "backbone.mask_token": (1, width),
        "backbone.patch_embed.proj.weight": (width, 3, 14, 14),
        "backbone.patch_embed.proj.bias": (width,),
    }

    def affine(name, *weight, bias=True):
        shapes[f"{name}.weight"] = weight
        if bias:
            shapes[f"{name}.bias"] = weight[:1]

    for number in range(depth):
        block = f"backbone.blocks.{number}"
        affine(f"{block}.norm1", width)
        affine(f"{block}.attn.qkv", 3 * width, width)
        affine(f"{block}.attn.proj", width, width)
        affine(f"{block}.norm2", width)
        affine(f"{block}.mlp.{'w12' if swiglu else 'fc1'}", hidden * (2 if swiglu else 1), width)
        affine(f"{block}.mlp.{'w3' if swiglu else 'fc2'}", width, hidden)
        shapes[f"{block}.ls1.gamma"] = shapes[f"{block}.ls2.gamma"] = (width,)
    affine("backbone.norm", width)
    for level, channels in enumerate(out_channels):
        affine(f"head.projects.{level}", channels, width, 1, 1)
        affine(f"head.scratch.layer{level + 1}_rn", features, channels, 3, 3, bias=False)
        for unit in ("resConfUnit1", "resConfUnit2"):
            for conv in ("conv1", "conv2"):
                affine(f"head.scratch.refinenet{level + 1}.{unit}.{conv}", features, features, 3, 3)
        affine(f"head.scratch.refinenet{level + 1}.out_conv", features, features, 1, 1)
    affine("head.resize_layers.0", out_channels[0], out_channels[0], 4, 4)
    affine("head.resize_layers.1", out_channels[1], out_channels[1], 2, 2)
    affine("head.resize_layers.3", out_channels[3], out_channels[3], 3, 3)
    affine("head.scratch.output_conv.0", features, features, 3, 3)
    affine("head.scratch.output_conv.2", classes, features, 1, 1)
    return shapes
