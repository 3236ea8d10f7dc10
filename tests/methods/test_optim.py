import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unimatch import ConfigError, SegmentationModel, Supervised
from unimatch.methods.optim import build_optimizer, build_schedule, cosine_factor, parameter_groups, poly_factor


def optimizer(model=None, **options):
    model = model or SegmentationModel("tiny", 3)
    rates = {"learning_rate": 1e-3, "decoder_multiplier": 40.0, **options}
    weight_decay, name = rates.pop("weight_decay", 0.01), rates.pop("name", "adamw")
    return build_optimizer(name, parameter_groups(model, **rates), weight_decay=weight_decay)


def test_rates_over_ten_steps_are_those_set_after_the_step_before():
    total, lr0, multiplier = 10, 2e-3, 5.0
    adam = optimizer(learning_rate=lr0, decoder_multiplier=multiplier)
    schedule = build_schedule("poly", adam, total)
    used = []
    for _ in range(total):
        used.append([group["lr"] for group in adam.param_groups])
        adam.step()
        schedule.step()

    # The published loop: the rate of the first step is the optimiser's own, then each step sets that of the next.
    expected, rate = [], lr0
    for it in range(total):
        expected.append([rate, rate * multiplier])
        rate = lr0 * (1 - it / total) ** 0.9
    assert used == [pytest.approx(pair, rel=1e-12) for pair in expected]
    assert used[0] == used[1] == [lr0, lr0 * multiplier]
    assert used[2][0] < lr0


@given(st.integers(0, 3000), st.integers(1, 1000))
def test_the_factor_falls_from_one_and_stays_a_real_number(step, total):
    factor, later = poly_factor(step, total), poly_factor(step + 1, total)
    assert isinstance(factor, float)  # steps beyond the end must not give a complex number
    assert 0 <= later <= factor <= 1


def test_each_parameter_is_in_exactly_one_group():
    model = SegmentationModel("tiny", 3)
    groups = optimizer(model).param_groups
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(parameter) for parameter in model.parameters()}
    encoder, decoder = ({id(parameter) for parameter in group["params"]} for group in groups)
    assert encoder == {id(parameter) for parameter in model.encoder.parameters()}
    assert decoder == {id(parameter) for parameter in model.decoder.parameters()}


def test_groups_have_names_and_rates_of_their_own():
    groups = optimizer(learning_rate=5e-6, decoder_multiplier=40.0).param_groups
    assert [group["name"] for group in groups] == ["encoder", "decoder"]
    assert [group["lr"] for group in groups] == pytest.approx([5e-6, 2e-4])


def test_betas_are_the_published_ones():
    adam = optimizer()
    assert isinstance(adam, torch.optim.AdamW)
    assert all(group["betas"] == (0.9, 0.999) for group in adam.param_groups)


def test_weight_decay_acts_on_norms_and_biases_too():
    model = SegmentationModel("tiny", 3)
    adam = optimizer(model, learning_rate=0.1, decoder_multiplier=2.0, weight_decay=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()  # biases start at zero, where decay does nothing
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    # Without gradient a step is the decay alone: p (1 - lr * decay).
    for name, parameter in model.named_parameters():
        rate = 0.1 if name.startswith("encoder.") else 0.2
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - rate * 0.5), msg=name)


def test_layer_decay_slows_the_encoder_from_the_last_layer_to_the_stem():
    model = SegmentationModel("tiny", 3)
    groups = optimizer(model, learning_rate=1e-3, decoder_multiplier=40.0, layer_decay=0.5).param_groups
    assert [group["name"] for group in groups] == [*(f"encoder_{layer:02d}" for layer in range(5)), "decoder"]
    assert [group["lr"] for group in groups] == pytest.approx([1e-3 / 16, 1e-3 / 8, 1e-3 / 4, 1e-3 / 2, 1e-3, 4e-2])
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for layer, group in enumerate(groups[:5]):
        prefix = "encoder.stem." if layer == 0 else f"encoder.stages.{layer - 1}."
        assert {names[id(parameter)] for parameter in group["params"]} == {
            name for name in names.values() if name.startswith(prefix)
        }


def test_layer_decay_of_a_transformer_goes_by_its_blocks():
    options = {"depth": 4, "embed_dim": 12, "num_heads": 2, "img_size": 28}
    model = SegmentationModel("vits", 3, weights=None, features=4, out_channels=(4, 4, 4, 4), options=options)
    groups = optimizer(model, learning_rate=1.0, layer_decay=0.9).param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert set(rates) == {id(parameter) for parameter in model.parameters()}
    for name, parameter in model.encoder.body.named_parameters():
        depth = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 4 if name.startswith("norm.") else 0
        assert rates[id(parameter)] == pytest.approx(0.9 ** (4 - depth))


def test_without_layer_decay_there_are_the_published_two_groups():
    assert [group["name"] for group in optimizer(layer_decay=1.0).param_groups] == ["encoder", "decoder"]


@pytest.mark.parametrize("layer_decay", [0.0, -0.5, 1.1])
def test_a_layer_decay_that_is_none_is_refused(layer_decay):
    with pytest.raises(ConfigError, match="layer_decay"):
        Supervised(SegmentationModel("tiny", 3), layer_decay=layer_decay)


def test_what_is_frozen_is_left_out():
    model = SegmentationModel("tiny", 3, freeze=True)
    (group,) = optimizer(model).param_groups
    assert group["name"] == "decoder"
    assert {id(parameter) for parameter in group["params"]} == {id(p) for p in model.decoder.parameters()}


def test_cosine_rates_end_at_seven_sixteenths_of_a_turn():
    total = 8
    sgd = optimizer(learning_rate=0.03, decoder_multiplier=1.0, name="sgd")
    schedule = build_schedule("cosine", sgd, total)
    used = []
    for _ in range(total):
        used.append([group["lr"] for group in sgd.param_groups])
        sgd.step()
        schedule.step()
    expected = [0.03 * math.cos(7 * math.pi * it / (16 * total)) for it in range(total)]
    assert used == [pytest.approx([rate, rate], rel=1e-12) for rate in expected]
    assert cosine_factor(total + 5, total) == pytest.approx(math.cos(7 * math.pi / 16))


def test_sgd_steps_by_nesterovs_rule():
    model = torch.nn.Module()
    model.encoder, model.rest = torch.nn.Linear(2, 1), torch.nn.Linear(1, 1)
    sgd = optimizer(model, learning_rate=0.1, decoder_multiplier=1.0, weight_decay=0.5, name="sgd")
    weight = model.encoder.weight
    expected, velocity = weight.detach().clone(), 0.0
    for gradient in (1.0, -2.0, 0.5):
        weight.grad = torch.full_like(weight, gradient)
        sgd.step()
        pull = gradient + 0.5 * expected
        velocity = 0.9 * velocity + pull
        expected = expected - 0.1 * (pull + 0.9 * velocity)
        torch.testing.assert_close(weight.detach(), expected)


def test_norms_and_biases_can_be_left_undecayed():
    model = SegmentationModel("tiny", 3)
    groups = optimizer(model, decay_norms=False, weight_decay=0.5).param_groups
    assert [group["name"] for group in groups] == ["encoder", "encoder_undecayed", "decoder", "decoder_undecayed"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0, 0.5, 0.0]
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 1e-3, 4e-2, 4e-2])
    listed = {id(parameter): group["name"] for group in groups for parameter in group["params"]}
    assert len(listed) == len(list(model.parameters()))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert listed[id(module.weight)].endswith("undecayed")
        if isinstance(module, torch.nn.Conv2d):
            assert not listed[id(module.weight)].endswith("undecayed")


@pytest.mark.parametrize("key", ["optimizer", "schedule"])
def test_an_unknown_optimizer_or_schedule_is_refused(key):
    with pytest.raises(ConfigError, match=rf"^{key}=lion: must be one of"):
        Supervised(SegmentationModel("tiny", 3), **{key: "lion"})
