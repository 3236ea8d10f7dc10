import copy

import pytest
import torch
from torch import nn

from unimatch.errors import ConfigError
from unimatch.models.lora import add_lora, merge_lora

pytest.importorskip("peft")


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(6, 18), nn.Linear(18, 6)

    def forward(self, x):
        return self.proj(self.qkv(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.mlp = Attention(), nn.Linear(6, 6)

    def forward(self, x):
        return self.mlp(self.attn(x))


@pytest.fixture
def body():
    torch.manual_seed(0)
    return nn.ModuleDict({"block": Block()})


@pytest.fixture
def x():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def test_at_first_nothing_is_computed_otherwise_and_only_the_matrices_train(body, x):
    before = body["block"](x)
    add_lora(body, 2)
    assert torch.equal(body["block"](x), before)
    trained = {name for name, parameter in body.named_parameters() if parameter.requires_grad}
    assert all(".attn." in name and "lora_" in name for name in trained)
    assert len(trained) == 4  # two matrices beside each of two layers


def test_merged_weights_hold_twice_the_product(body, x):
    weight = body["block"].attn.qkv.weight.detach().clone()
    add_lora(body, 2)
    layer = body["block"].attn.qkv
    first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(second)
    adapted, product = body["block"](x), (second @ first).detach()
    merge_lora(body)
    torch.testing.assert_close(body["block"].attn.qkv.weight.detach(), weight + 2 * product)
    torch.testing.assert_close(body["block"](x), adapted)
    assert not any("lora" in name for name, _ in body.named_modules())
    assert all(parameter.requires_grad for parameter in body.parameters())


def test_a_body_without_attention_is_refused():
    with pytest.raises(ConfigError, match="lora=2: Sequential has no attention layers to adapt; leave it out"):
        add_lora(nn.Sequential(nn.Linear(3, 3)), 2)


def test_merging_one_model_leaves_another_that_shares_its_weights_as_it_is(body, x):
    add_lora(body, 2)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(0.1)
    frozen = {id(parameter): parameter for parameter in body.parameters() if not parameter.requires_grad}
    other = copy.deepcopy(body, frozen)  # as the teacher is made
    before = body["block"](x)
    merge_lora(other)
    assert torch.equal(body["block"](x), before)
    torch.testing.assert_close(other["block"](x), before)
