import copy

import pytest
import torch
from torch import nn

from unimatch.models import build_encoder
from unimatch.models.linear import OneDNNLinear, runs_in_onednn, use_onednn


def pair(*, bias: bool = True, dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, nn.Linear]:
    """PyTorch's layer and ours, of the same weights."""
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=bias, dtype=dtype)
    ours = copy.deepcopy(plain)
    use_onednn(nn.Sequential(ours))
    assert type(ours) is OneDNNLinear
    return plain, ours


def convolutions(module: nn.Module, x: torch.Tensor) -> int:
    """How often a forward pass calls PyTorch's convolution."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        module(x)
    return sum(event.name == "aten::conv2d" for event in profile.events())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (2, 5, 24), (2, 3, 4, 24)])
def test_values_and_gradients_are_those_of_a_matrix_product(shape: tuple[int, ...], bias: bool) -> None:
    _, ours = pair(bias=bias)
    x = torch.randn(shape, requires_grad=True)
    y = ours(x)
    slope = torch.randn_like(y)
    y.backward(slope)
    # By hand, in float64: y = x W' + b.
    rows, slopes = x.detach().double().reshape(-1, 24), slope.double().reshape(-1, 40)
    expected = rows @ ours.weight.detach().double().T + (ours.bias.detach().double() if bias else 0)
    torch.testing.assert_close(y.detach().double().reshape(-1, 40), expected, rtol=1e-5, atol=1e-5)
    assert y.shape == (*shape[:-1], 40)
    torch.testing.assert_close(
        x.grad.double().reshape(-1, 24), slopes @ ours.weight.detach().double(), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(ours.weight.grad.double(), slopes.T @ rows, rtol=1e-5, atol=1e-5)
    if bias:
        torch.testing.assert_close(ours.bias.grad.double(), slopes.sum(0), rtol=1e-5, atol=1e-5)


def test_is_a_convolution_in_float32_and_a_matrix_product_otherwise() -> None:
    _, ours = pair()
    assert convolutions(ours, torch.randn(2, 5, 24)) == 1
    with torch.autocast("cpu", torch.bfloat16):
        assert convolutions(ours, torch.randn(2, 5, 24)) == 0
    plain, ours = pair(dtype=torch.float64)
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    assert convolutions(ours, x) == 0
    assert torch.equal(ours(x), plain(x))


def test_takes_no_rows_and_rows_that_are_not_contiguous() -> None:
    plain, ours = pair()
    assert ours(torch.empty(0, 3, 24)).shape == (0, 3, 40)
    x = torch.randn(24, 5, 2).movedim(0, -1)
    torch.testing.assert_close(ours(x), plain(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
def test_an_exported_graph_has_a_linear_layer() -> None:
    _, ours = pair()
    program = torch.export.export(nn.Sequential(ours), (torch.randn(2, 5, 24),))
    targets = {str(node.target) for node in program.graph.nodes}
    assert "aten.linear.default" in targets
    assert not any("conv" in target for target in targets)
    traced = torch.jit.trace(ours, torch.randn(2, 5, 24))
    assert "aten::linear" in str(traced.graph)


def test_other_devices_keep_the_matrix_product() -> None:
    assert not runs_in_onednn(torch.empty(2, 24, device="meta"))


def test_an_encoder_keeps_its_names_and_its_features() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("vit_tiny_patch16_224")
    plain = copy.deepcopy(encoder)
    for module in plain.modules():
        if type(module) is OneDNNLinear:
            module.__class__ = nn.Linear
    assert list(plain.state_dict()) == list(encoder.state_dict())
    images = torch.randn(1, 3, 64, 48)
    for ours, expected in zip(encoder(images), plain(images), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
