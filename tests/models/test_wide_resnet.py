import pytest
import torch
from torch import nn

from unimatch import ClassificationModel, ConfigError
from unimatch.models.wide_resnet import WideBlock, wide_resnet


def parameters(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    # The first is what public implementations of FixMatch print, the second what papers on STL-10 state.
    [("wrn_28_2", 10, 1_467_610), ("wrn_37_2", 10, 5_900_000)],
)
def test_the_published_ones_have_as_many_parameters(name, classes, count):
    encoder = wide_resnet(name)
    found = parameters(encoder, nn.Linear(encoder.widths[-1], classes))
    assert found == count if count % 1000 else abs(found - count) < 50_000


@pytest.mark.parametrize(
    ("name", "size", "sizes", "widths"),
    [("wrn_28_2", 32, [32, 16, 8], [32, 64, 128]), ("wrn_37_2", 96, [48, 24, 12, 6], [32, 64, 128, 256])],
)
def test_groups_have_the_published_sizes(name, size, sizes, widths):
    encoder = wide_resnet(name).eval()
    seen = []
    for group in encoder.groups:
        assert len(group) == 4
        group.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    (level,) = encoder(torch.rand(1, 3, size, size))
    assert seen == [(1, width, side, side) for width, side in zip(widths, sizes, strict=True)]
    assert level.shape == (1, widths[-1], 1, 1)
    assert encoder.widths == (widths[-1],)
    assert encoder.strides == (size // sizes[-1],)


def test_norms_and_slopes_are_the_published_ones():
    encoder = wide_resnet("wrn_28_2")
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.001, 1e-3)}
    assert {module.negative_slope for module in encoder.modules() if isinstance(module, nn.LeakyReLU)} == {0.1}
    quick = wide_resnet("wrn_28_2", {"bn_momentum": 0.1})
    assert {module.momentum for module in quick.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}


@pytest.mark.parametrize("name", ["wrn_28_2", "wrn_37_2"])
def test_only_blocks_that_widen_have_a_convolution_beside_them(name):
    encoder = wide_resnet(name)
    for number, group in enumerate(encoder.groups):
        for place, block in enumerate(group):
            assert isinstance(block.shortcut, nn.Conv2d) == (place == 0)
            assert block.activate_input == (place == 0 and (number == 0 or name == "wrn_37_2"))


@pytest.mark.parametrize("activate_input", [False, True])
def test_a_block_is_the_sum_of_two_convolutions_and_its_shortcut(activate_input):
    torch.manual_seed(0)
    block = WideBlock(3, 5, stride=2, momentum=0.1, activate_input=activate_input).eval()
    for norm in (block.norm1, block.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)

    def act(x, norm):  # BatchNorm by its running statistics, then leaky ReLU
        shape = (1, -1, 1, 1)
        x = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-3).sqrt()
        x = x * norm.weight.view(shape) + norm.bias.view(shape)
        return torch.where(x > 0, x, 0.1 * x)

    x = torch.randn(2, 3, 6, 6)
    first = act(x, block.norm1)
    residual = nn.functional.conv2d(first, block.conv1.weight, stride=2, padding=1)
    residual = nn.functional.conv2d(act(residual, block.norm2), block.conv2.weight, padding=1)
    shortcut = nn.functional.conv2d(first if activate_input else x, block.shortcut.weight, stride=2)
    torch.testing.assert_close(block(x), residual + shortcut)


def test_layers_are_numbered_from_the_stem():
    encoder = wide_resnet("wrn_28_2")
    numbers = encoder.layer_numbers()
    assert set(numbers) == {name for name, _ in encoder.named_parameters()}
    assert numbers["stem.weight"] == 0
    assert numbers["groups.0.0.conv1.weight"] == 1
    assert numbers["groups.2.3.norm2.bias"] == numbers["norm.weight"] == 3


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match=r"^options: wrn_28_2 does not take them .*depth"):
        wide_resnet("wrn_28_2", {"depth": 40})


def test_weights_are_drawn_for_the_fan_out_and_the_classifiers_for_both():
    torch.manual_seed(0)
    model = ClassificationModel("wrn_28_2", num_classes=100)
    for stride, convolution in ((1, model.encoder.groups[2][0].conv2), (2, model.encoder.groups[2][0].conv1)):
        outputs, inputs = convolution.weight.shape[:2]
        assert outputs == inputs * stride
        assert convolution.weight.std().item() == pytest.approx((2 / (9 * outputs)) ** 0.5, rel=0.02)
    classifier = model.classifier
    assert classifier.weight.std().item() == pytest.approx((2 / sum(classifier.weight.shape)) ** 0.5, rel=0.03)
    assert not classifier.bias.any()
