import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unimatch.engines.whole_image import whole_image_logits
from unimatch.images.arrays import nearest_multiple


class PatchModel(nn.Module):
    """Takes only multiples of 14 and writes down what it was given."""

    size_multiple = 14

    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3, padding=1)
        self.dtype = dtype
        self.given = []

    def forward(self, images):
        assert images.shape[-2] % 14 == 0
        assert images.shape[-1] % 14 == 0
        self.given.append(tuple(images.shape))
        return self.layer(images).to(self.dtype)


def slow_resize(images, size):
    # Bilinear with the corners of both grids on each other.
    rows, columns = ((torch.arange(n) * (old - 1) / (n - 1)) for n, old in zip(size, images.shape[-2:], strict=True))
    for dim, position in ((-2, rows), (-1, columns)):
        low = position.floor().long().clamp(max=images.shape[dim] - 1)
        high = (low + 1).clamp(max=images.shape[dim] - 1)
        share = (position - low).view(-1, *(1,) * (-1 - dim))
        images = images.index_select(dim, low) * (1 - share) + images.index_select(dim, high) * share
    return images


@pytest.mark.parametrize(
    ("size", "fitting"),
    [
        ((28, 42), (28, 42)),
        ((30, 40), (28, 42)),
        ((35, 34), (42, 28)),  # 2.5 patches round up
        ((5, 60), (14, 56)),
        ((500, 375), (504, 378)),
    ],
)
def test_images_are_resized_to_the_nearest_multiple_and_logits_back(size, fitting):
    model = PatchModel().eval()
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    logits = whole_image_logits(model, images)
    assert model.given == [(2, 3, *fitting)]
    assert logits.shape == (2, 4, *size)

    expected = slow_resize(model.layer(slow_resize(images, fitting)), size)
    torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-4)


def test_a_size_that_fits_is_not_resampled():
    model = PatchModel().eval()
    images = torch.randn(1, 3, 28, 14)
    assert torch.equal(whole_image_logits(model, images), model.layer(images))


def test_one_side_that_fits_stays():
    model = PatchModel().eval()
    whole_image_logits(model, torch.randn(1, 3, 28, 45))
    assert model.given == [(1, 3, 28, 42)]


@pytest.mark.parametrize("size", [(28, 28), (30, 40)])
def test_logits_are_float32_without_gradient(size):
    logits = whole_image_logits(PatchModel(torch.bfloat16).eval(), torch.randn(1, 3, *size))
    assert logits.dtype == torch.float32
    assert not logits.requires_grad


@given(st.integers(1, 3000), st.integers(1, 40))
def test_nearest_multiple_is_the_nearest_one_and_at_least_one(side, multiple):
    found = nearest_multiple(side, multiple)
    assert found % multiple == 0
    assert found >= multiple
    candidates = range(multiple, side + 2 * multiple, multiple)
    nearest = min(abs(candidate - side) for candidate in candidates)
    assert found == max(candidate for candidate in candidates if abs(candidate - side) == nearest)
