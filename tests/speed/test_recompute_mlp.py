import pytest
import timm
import torch
from timm.layers.mlp import Mlp
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unimatch.speed.recompute_mlp import RecomputingMlp, recompute_activations


def kept(module: nn.Module, x: torch.Tensor) -> int:
    """Numbers kept for the backward pass, parameters left out."""
    parameters = {parameter.data_ptr() for parameter in module.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in parameters:
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(x)
    del y
    return sum(sizes.values())


def pair(**options: float) -> tuple[Mlp, Mlp]:
    """timm's MLP and ours, of the same weights."""
    torch.manual_seed(0)
    plain, ours = Mlp(8, 32, **options), Mlp(8, 32, **options)
    ours.load_state_dict(plain.state_dict())
    recompute_activations(nn.Sequential(ours))
    assert type(ours) is RecomputingMlp
    return plain, ours


def gradients(module: nn.Module, x: torch.Tensor, seed: int = 0) -> list[torch.Tensor]:
    """The output, and the gradients of the input and of every parameter."""
    x = x.clone().requires_grad_()
    torch.manual_seed(seed)
    y = module(x)
    torch.manual_seed(seed + 1)  # as something else that draws between the two passes
    y.square().sum().backward()
    return [y, x.grad, *(parameter.grad for parameter in module.parameters())]


def test_gives_the_bits_of_timm() -> None:
    plain, ours = pair()
    x = torch.randn(2, 5, 8)
    for a, b in zip(gradients(plain, x), gradients(ours, x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("training", [True, False])
def test_gives_the_bits_of_timm_with_dropout(training: bool) -> None:
    plain, ours = pair(drop=0.5)
    plain.train(training)
    ours.train(training)
    x = torch.randn(2, 5, 8)
    for a, b in zip(gradients(plain, x), gradients(ours, x), strict=True):
        assert torch.equal(a, b)


def test_gives_the_bits_of_timm_in_bfloat16() -> None:
    plain, ours = pair()
    x = torch.randn(2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        expected, got = gradients(plain, x), gradients(ours, x)
    assert got[0].dtype == torch.bfloat16
    for a, b in zip(expected, got, strict=True):
        assert torch.equal(a, b)


def test_keeps_the_activation_no_more() -> None:
    plain, ours = pair()
    x = torch.randn(2, 5, 8, requires_grad=True)
    hidden = 2 * 5 * 32
    assert kept(plain, x) == x.numel() + 2 * hidden  # before and after the activation
    assert kept(ours, x) == x.numel() + hidden  # before it


def test_does_no_matrix_product_twice() -> None:
    flops = []
    for module in pair():
        with FlopCounterMode(display=False) as counter:
            gradients(module, torch.randn(2, 5, 8))
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] == 3 * 2 * (2 * 10 * 8 * 32)  # forward, both gradients; two layers


def test_state_dict_and_parameters_stay() -> None:
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    ours = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    recompute_activations(ours)
    ours.load_state_dict(plain.state_dict())
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in ours.named_parameters()]
    x = torch.randn(1, 3, 224, 224)
    assert torch.equal(plain(x), ours(x))


def test_inside_block_checkpointing() -> None:
    models = [timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    recompute_activations(models[1])
    models[1].set_grad_checkpointing(True)
    x = torch.randn(1, 3, 224, 224)
    for a, b in zip(*(gradients(model, x) for model in models), strict=True):
        assert torch.equal(a, b)
