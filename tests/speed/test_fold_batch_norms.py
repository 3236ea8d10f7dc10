import pytest
import torch
from torch import nn

from unimatch import ChangeModel, SegmentationModel
from unimatch.speed.fold_batch_norms import fold_batch_norms


def with_statistics(model):
    """Norms that are no identity."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low in ((module.running_mean, -0.1), (module.running_var, 0.5), (module.weight, 0.5)):
                value.data.copy_(low + torch.rand(value.shape, generator=generator) * (0.2 if low < 0 else 1))
    return model.eval()


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("encoder", ["tiny", "efficientnet_lite0", "resnet18"])
@torch.no_grad()
def test_logits_are_the_same_with_no_norm_left(encoder):
    torch.manual_seed(0)
    model = with_statistics(SegmentationModel(encoder, 5, weights=None, features=8, out_channels=(8, 8, 8, 8)))
    images = torch.randn(2, 3, 45, 70)
    expected, before = model(images), norms(model)
    folded = fold_batch_norms(model)
    torch.testing.assert_close(folded(images), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    assert before > 0
    assert norms(folded) == 0
    assert norms(model) == before
    assert torch.equal(model(images), expected)


@torch.no_grad()
def test_pairs_of_dates():
    model = with_statistics(ChangeModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8)))
    images = torch.randn(1, 2, 3, 48, 48)
    folded = fold_batch_norms(model)
    assert norms(folded) == 0
    torch.testing.assert_close(folded(images), model(images), atol=1e-4, rtol=1e-4)


class Twice(nn.Module):
    """A convolution whose result is used beside its norm too, or which has two norms."""

    def __init__(self, shared):
        super().__init__()
        self.conv, self.shared = nn.Conv2d(3, 4, 3, padding=1), shared
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.first(self.conv(x)) + self.second(self.conv(x)) if self.shared else self.first(y) + y

    coarse = forward
    size_multiple, sample_shape = 1, (3,)


@pytest.mark.parametrize("shared", [True, False])
def test_what_cannot_be_folded_stays_as_it_is(shared):
    model = with_statistics(Twice(shared))
    assert fold_batch_norms(model) is model
