import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unimatch.models.dpt import DPTDecoder
from unimatch.speed.upsampling import size_of, upsample

CLASSES, FEATURES, OUT_CHANNELS = 5, 8, (6, 7, 8, 9)
TOKENS = {"widths": (10,) * 4, "strides": (14,) * 4}
PYRAMID = {"widths": (4, 5, 6, 7), "strides": (4, 8, 16, 32)}


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


def slow_decoder(weights, levels, size, *, tokens):
    """The head of the specification, written level by level."""

    def conv(x, name, **options):
        return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **options)

    def residual(x, name):
        inner = conv(F.relu(x), f"{name}.layers.1", padding=1)
        return x + conv(F.relu(inner), f"{name}.layers.3", padding=1)

    def enlarge(x, k, factor):
        return F.conv_transpose2d(x, weights[f"resize.{k}.weight"], weights[f"resize.{k}.bias"], stride=factor)

    x1, x2, x3, x4 = (conv(level, f"project.{k}") for k, level in enumerate(levels))
    if tokens:
        x1, x2, x4 = enlarge(x1, 0, 4), enlarge(x2, 1, 2), conv(x4, "resize.3", stride=2, padding=1)
    x1, x2, x3, x4 = (conv(x, f"reduce.{k}", padding=1) for k, x in enumerate((x1, x2, x3, x4)))

    path = conv(slow_resize(residual(x4, "fuse.3.refine"), x3.shape[-2:]), "fuse.3.project")
    path = residual(path + residual(x3, "fuse.2.refine_skip"), "fuse.2.refine")
    path = conv(slow_resize(path, x2.shape[-2:]), "fuse.2.project")
    path = residual(path + residual(x2, "fuse.1.refine_skip"), "fuse.1.refine")
    path = conv(slow_resize(path, x1.shape[-2:]), "fuse.1.project")
    path = residual(path + residual(x1, "fuse.0.refine_skip"), "fuse.0.refine")
    path = conv(slow_resize(path, (2 * x1.shape[-2], 2 * x1.shape[-1])), "fuse.0.project")
    logits = conv(F.relu(conv(path, "classify.0", padding=1)), "classify.2")
    return slow_resize(logits, size), [x.shape[-2:] for x in (x1, x2, x3, x4)]


def decoder(kind):
    torch.manual_seed(0)
    return DPTDecoder(**kind, features=FEATURES, out_channels=OUT_CHANNELS, num_classes=CLASSES).double()


def random_levels(kind, sizes, batch=2):
    source = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, width, *size, generator=source, dtype=torch.double)
        for width, size in zip(kind["widths"], sizes, strict=True)
    ]


@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (2, 7)])
def test_token_decoder_equals_a_slow_version(grid):
    model, size = decoder(TOKENS), (14 * grid[0], 14 * grid[1])
    levels = random_levels(TOKENS, [grid] * 4)
    expected, sizes = slow_decoder(model.state_dict(), levels, size, tokens=True)
    # 4 x, 2 x, 1 x and 1/2 x (rounded up) the cells.
    assert sizes == [tuple(math.ceil(factor * n) for n in grid) for factor in (4, 2, 1, 0.5)]
    torch.testing.assert_close(upsample(model(levels), size), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("size", "sizes"),
    [((64, 96), [(16, 24), (8, 12), (4, 6), (2, 3)]), ((37, 53), [(10, 14), (5, 7), (3, 4), (2, 2)])],
)
def test_pyramid_decoder_equals_a_slow_version(size, sizes):
    model = decoder(PYRAMID)
    levels = random_levels(PYRAMID, sizes)
    expected, kept = slow_decoder(model.state_dict(), levels, size, tokens=False)
    assert kept == sizes
    torch.testing.assert_close(upsample(model(levels), size), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kind", [TOKENS, PYRAMID], ids=["tokens", "pyramid"])
def test_logits_are_coarse(kind):
    grids = [(4, 4)] * 4 if kind is TOKENS else [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert decoder(kind)(random_levels(kind, grids)).shape == (2, CLASSES, 32, 32)
    assert size_of(upsample(torch.zeros(1, 2, 32, 32), (55, 57))) == (55, 57)


def test_only_a_token_decoder_resizes_its_levels():
    assert all(isinstance(module, nn.Identity) for module in decoder(PYRAMID).resize)
    transposed, half, same, strided = decoder(TOKENS).resize
    assert (transposed.kernel_size, transposed.stride) == ((4, 4), (4, 4))
    assert (half.kernel_size, half.stride) == ((2, 2), (2, 2))
    assert isinstance(same, nn.Identity)
    assert (strided.kernel_size, strided.stride, strided.padding) == ((3, 3), (2, 2), (1, 1))


def test_images_of_a_batch_do_not_mix():
    model, levels = decoder(TOKENS), random_levels(TOKENS, [(3, 3)] * 4)
    together = model(levels)
    for i in range(2):
        alone = model([level[i : i + 1] for level in levels])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", [TOKENS, PYRAMID], ids=["tokens", "pyramid"])
def test_every_parameter_is_used(kind):
    model = decoder(kind)
    grids = [(4, 4)] * 4 if kind is TOKENS else [(16, 16), (8, 8), (4, 4), (2, 2)]
    model(random_levels(kind, grids)).square().sum().backward()
    unused = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert unused == []


def test_levels_of_the_wrong_number_are_refused():
    with pytest.raises(ValueError, match="zip"):
        decoder(TOKENS)(random_levels(TOKENS, [(3, 3)] * 4)[:3])
