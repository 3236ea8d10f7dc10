import inspect
import json
import re
from inspect import signature

import pytest
import torch
import torch.nn.functional as F

from unimatch import UniMatchV2
from unimatch.errors import ConfigError, WeightsError
from unimatch.models import ChangeModel, ClassificationModel, Model, SegmentationModel


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    "arguments",
    [
        {"encoder": "tiny", "num_classes": 11},
        {"encoder": "tiny", "num_classes": 2, "features": 12, "out_channels": (8, 10, 12, 14)},
        {"encoder": "efficientnet_lite0", "num_classes": 3},
    ],
    ids=["tiny", "tiny with its own decoder", "efficientnet_lite0"],
)
def test_the_description_builds_the_same_model_again(arguments):
    model = SegmentationModel(**arguments, weights=None).eval()
    plain = json.loads(json.dumps(model.description()))
    assert plain == model.description()  # plain values only
    again = SegmentationModel(**plain, weights=None).eval()
    again.load_state_dict(model.state_dict())
    assert_same_weights(model, again)
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(model(images), again(images))


def test_the_decoder_is_the_presets_unless_said_otherwise():
    assert SegmentationModel("tiny", 4).description() == {
        "encoder": "tiny",
        "num_classes": 4,
        "features": 32,
        "out_channels": [32, 32, 32, 32],
        "position_embedding": None,
        "options": {},
        "lora": None,
    }
    model = SegmentationModel("tiny", 4, features=6, out_channels=(5, 6, 7, 8))
    assert model.decoder.classify[2].weight.shape == (4, 6, 1, 1)
    assert [layer.weight.shape[0] for layer in model.decoder.project] == [5, 6, 7, 8]


@pytest.mark.parametrize("size", [(48, 48), (33, 47)])
def test_logits_have_the_size_of_the_images(size):
    model = SegmentationModel("tiny", 7)
    assert model.size_multiple == 1
    assert model(torch.randn(2, 3, *size)).shape == (2, 7, *size)


def test_forward_is_encode_then_decode():
    model = SegmentationModel("tiny", 3).eval()
    images = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        levels = model.encode(images)
        assert [level.shape[1] for level in levels] == [48, 96, 128, 128]
        coarse = model.decode(levels)
        assert coarse.shape == (2, 3, 20, 28)
        assert torch.equal(model.coarse(images), coarse)
        expected = F.interpolate(coarse, (40, 56), mode="bilinear", align_corners=True)
        assert torch.equal(model(images), expected)


@pytest.mark.parametrize("size", [(28, 30), (29, 28), (13, 13)])
def test_sizes_that_are_no_multiple_of_the_patch_are_refused(size):
    with torch.device("meta"):
        model = SegmentationModel("vits", 3, weights=None)
        assert model.size_multiple == 14
        with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]} pixels.*14"):
            model(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        (SegmentationModel, (3, 32, 32), "(B, 3, H, W)"),
        (SegmentationModel, (1, 4, 32, 32), "(B, 3, H, W)"),
        (SegmentationModel, (1, 32, 32, 3), "(B, 3, H, W)"),
        (SegmentationModel, (1, 2, 3, 32, 32), "(B, 3, H, W)"),
        (ClassificationModel, (3, 32, 32), "(B, 3, H, W)"),
        (ChangeModel, (2, 3, 32, 32), "(B, 2, 3, H, W)"),
        (ChangeModel, (4, 3, 3, 32, 32), "(B, 2, 3, H, W)"),
        (ChangeModel, (4, 2, 4, 32, 32), "(B, 2, 3, H, W)"),
    ],
)
def test_what_is_no_batch_of_images_is_refused_with_its_shape(kind, shape, expected):
    model = kind("tiny", 2).eval()
    with pytest.raises(
        ConfigError, match=re.escape(f"images of the shape {shape}: the model takes batches {expected}")
    ):
        model(torch.zeros(shape))
    with pytest.raises(ConfigError, match=re.escape(f"takes batches {expected}")):
        UniMatchV2(model)(torch.zeros(shape))


@pytest.mark.parametrize("num_classes", [1, 0, -1])
def test_fewer_than_two_classes_are_refused(num_classes):
    with pytest.raises(ConfigError, match=rf"num_classes={num_classes}"):
        SegmentationModel("tiny", num_classes)


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ConfigError, match="nope"):
        SegmentationModel("nope", 3, weights=None)


@pytest.mark.parametrize("make", [SegmentationModel, ChangeModel, ClassificationModel])
def test_every_argument_is_listed_and_a_mistyped_one_is_refused(make):
    everything = {*signature(Model).parameters, *signature(make.__init__).parameters} - {"self"}
    assert set(signature(make).parameters) == everything
    assert {"weights", "lora", "freeze", "image_size" if make is ClassificationModel else "features"} <= everything
    with pytest.raises(ConfigError, match=rf"^freze=True: {make.__name__} .* did you mean freeze\?$"):
        make("tiny", 3, freze=True)


@pytest.mark.parametrize("make", [SegmentationModel, ClassificationModel])
@pytest.mark.parametrize("encoder", ["vits", "resnet50", "mitb5", "resnet18"])
def test_weights_must_be_named_where_there_are_published_ones(make, encoder):
    with pytest.raises(ConfigError) as caught:
        make(encoder, 3)
    message = str(caught.value)
    assert all(part in message for part in (encoder, 'weights="pretrained"', "weights=FILE", "weights=None")), message


def test_encoders_without_published_weights_need_no_word_about_them():
    SegmentationModel("tiny", 3)
    ClassificationModel("wrn_28_2", 3)
    with torch.device("meta"):
        SegmentationModel("cspresnet50d", 3)  # of timm


def test_weights_of_the_encoder_come_from_a_file(tmp_path):
    torch.manual_seed(0)
    source = SegmentationModel("tiny", 3)
    torch.save(source.encoder.state_dict(), tmp_path / "tiny.pt")
    torch.manual_seed(1)
    model = SegmentationModel("tiny", 5, weights=tmp_path / "tiny.pt")
    assert_same_weights(model.encoder, source.encoder)


def test_weights_of_a_timm_encoder_are_in_timms_key_names(tmp_path):
    torch.manual_seed(0)
    source = SegmentationModel("efficientnet_lite0", 3, weights=None)
    state = source.encoder.body.state_dict()
    assert "conv_stem.weight" in state
    torch.save(state, tmp_path / "timm.pt")
    torch.manual_seed(1)
    model = SegmentationModel("efficientnet_lite0", 3, weights=str(tmp_path / "timm.pt"))
    assert_same_weights(model.encoder, source.encoder)


def test_weights_of_another_encoder_are_refused(tmp_path):
    torch.save(SegmentationModel("tiny", 3).encoder.state_dict(), tmp_path / "tiny.pt")
    with pytest.raises(WeightsError, match="does not fit"):
        SegmentationModel("efficientnet_lite0", 3, weights=tmp_path / "tiny.pt")


@pytest.mark.parametrize("model", [SegmentationModel, ChangeModel, ClassificationModel])
def test_a_model_lists_the_options_of_all_models(model):
    listed = inspect.signature(model).parameters
    assert {"encoder", "num_classes", "weights", "lora", "freeze"} <= set(listed)
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in listed.values())


def test_one_image_that_is_too_small_for_batch_normalisation_is_refused_in_training():
    model, image = SegmentationModel("tiny", 3), torch.zeros(1, 3, 32, 32)
    with pytest.raises(ConfigError, match=r"one image of 32 x 32 pixels.*larger datamodule\.crop"):
        model.train().coarse(image)
    assert model.coarse(image.repeat(2, 1, 1, 1)).shape[0] == 2
    assert model.eval().coarse(image).shape[0] == 1


@pytest.mark.parametrize("widths", [{"features": 0}, {"out_channels": (5, 6, 7)}, {"out_channels": (5, 6, 7, 0)}])
def test_widths_of_a_decoder_that_cannot_be_are_refused(widths):
    with pytest.raises(ConfigError, match=rf"^{next(iter(widths))}=.*: must be "):
        SegmentationModel("tiny", 4, **widths)
