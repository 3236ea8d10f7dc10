import copy

import pytest
import torch
from torch import nn

from unimatch.models import SegmentationModel
from unimatch.speed.onednn import OneDNNLinear, OneDNNPointwise, runs_in_onednn, use_onednn

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")


def pair(*, bias: bool = True, dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, nn.Linear]:
    """PyTorch's layer and ours, of the same weights."""
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=bias, dtype=dtype)
    ours = copy.deepcopy(plain)
    use_onednn(nn.Sequential(ours))
    assert type(ours) is OneDNNLinear
    return plain, ours


def operators(module: nn.Module, x: torch.Tensor) -> set[str]:
    """What a forward pass calls, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        module(x)
    torch.set_num_threads(threads)
    return {event.name for event in profile.events()}


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


@needs_onednn
def test_is_onednns_in_float32_and_pytorchs_choice_otherwise() -> None:
    plain, ours = pair()
    x = torch.randn(2, 500, 24)  # PyTorch has a convolution of its own for one small image
    assert "aten::mkldnn_convolution" in operators(ours, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert operators(ours, x) == operators(plain, x)
    plain, ours = pair(dtype=torch.float64)
    assert operators(ours, x.double()) == operators(plain, x.double())
    assert torch.equal(ours(x.double()), plain(x.double()))


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_one_pixel_is_onednns_too(bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 8, 1, bias=bias)
    ours = copy.deepcopy(plain)
    use_onednn(nn.Sequential(ours))
    assert type(ours) is OneDNNPointwise
    slope = torch.randn(2, 8, 3, 5)
    gradients = []
    for layer in (plain, ours):
        x = torch.arange(180.0).view(2, 6, 3, 5).sin().requires_grad_()
        layer(x).backward(slope)
        gradients.append([layer(x), x.grad, *(parameter.grad for parameter in layer.parameters())])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)
    x = torch.randn(2, 6, 3, 5)
    assert "aten::mkldnn_convolution" in operators(ours, x)
    assert "aten::mkldnn_convolution" not in operators(plain, x)  # if this fails, PyTorch has mended it: drop ours


@pytest.mark.parametrize("options", [{"stride": 2}, {"groups": 2}, {"padding": 1}, {"kernel_size": 3}])
def test_other_convolutions_stay_what_they_are(options: dict[str, int]) -> None:
    layer = nn.Conv2d(**{"in_channels": 6, "out_channels": 8, "kernel_size": 1} | options)
    use_onednn(nn.Sequential(layer))
    assert type(layer) is nn.Conv2d


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


@pytest.mark.parametrize("encoder", ["vit_tiny_patch16_224", "efficientnet_lite0"])
def test_a_model_keeps_its_names_and_its_logits(encoder: str) -> None:
    torch.manual_seed(0)
    plain = SegmentationModel(encoder, num_classes=3, weights=None).eval()
    model = copy.deepcopy(plain)
    use_onednn(model)
    assert sum(type(module) in (OneDNNLinear, OneDNNPointwise) for module in model.modules()) >= 40
    assert list(plain.state_dict()) == list(model.state_dict())
    images = torch.randn(1, 3, 64, 48)
    torch.testing.assert_close(model(images), plain(images), rtol=1e-4, atol=1e-4)
