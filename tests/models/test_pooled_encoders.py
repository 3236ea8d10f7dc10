import pytest
import timm
import torch
from torch import nn

from unimatch import ConfigError
from unimatch.models.descriptions import build_described, describe_model
from unimatch.models.networks import ClassificationModel
from unimatch.models.pooled_encoders import build_pooled_encoder


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def make(encoder="wrn_28_2", classes=5, **options):
    torch.manual_seed(0)
    return ClassificationModel(encoder, classes, **{"weights": None, **options}).eval()


def test_logits_are_linear_in_the_pooled_feature(images):
    model = make()
    (level,) = model.encode(images)
    assert level.shape == (2, 128, 1, 1)
    expected = level[:, :, 0, 0] @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(images), expected)


def test_channels_can_be_dropped_before_the_classifier(images):
    model = make()
    levels = model.encode(images)
    mask = torch.zeros(2, model.features, 1, 1)
    mask[:, 3] = 2.0
    expected = 2 * levels[0][:, 3, 0, 0, None] * model.classifier.weight[:, 3] + model.classifier.bias
    torch.testing.assert_close(model.decode(levels, classifier_mask=mask), expected)
    torch.testing.assert_close(model.decode([levels[0] * mask]), expected)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "test_resnet", "test_mambaout"])
def test_timm_models_pool_in_their_own_way(name, images):
    encoder = build_pooled_encoder(name, None).eval()
    (level,) = encoder(images)
    assert level.shape == (2, *encoder.widths, 1, 1)
    expected = timm.create_model(name, num_classes=0).eval()
    keys = expected.state_dict().keys()
    assert keys == encoder.body.state_dict().keys()  # a weights file fits without its classifier
    model = make(name, image_size=32)
    assert model(images).shape == (2, 5)


def test_other_encoders_are_averaged(images):
    encoder = build_pooled_encoder("tiny").eval()
    (level,) = encoder(images)
    torch.testing.assert_close(level[:, :, 0, 0], encoder.inner(images)[-1].flatten(2).mean(2))
    assert set(encoder.layer_numbers()) == {name for name, _ in encoder.named_parameters()}


def test_a_transformer_takes_sizes_of_whole_patches():
    model = make("test_vit", image_size=100)
    assert model.size_multiple == 16
    assert model.image_size == 96
    with pytest.raises(ValueError, match="multiples of the patch size 16"):
        model(torch.zeros(1, 3, 40, 40))


def test_a_description_builds_the_model_again(images):
    model = make(image_size=40, resize=48, options={"bn_momentum": 0.1})
    description = describe_model(model)
    assert description["task"] == "classification"
    again = build_described(description)
    assert isinstance(again, ClassificationModel)
    assert describe_model(again) == description
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(images), model(images))


def test_a_frozen_encoder_stays_as_it_is(images):
    model = make(freeze=True).train()
    assert not any(module.training for module in model.encoder.modules() if isinstance(module, nn.BatchNorm2d))
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == [
        "classifier.weight",
        "classifier.bias",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size=0"),
        ({"resize": 0}, "resize=0"),
        ({"weights": "pretrained"}, "no published weights"),
        ({"encoder": "wrn_28_3"}, r"encoder=wrn_28_3: neither one of ours"),
        ({"classes": 1}, "num_classes=1"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)
