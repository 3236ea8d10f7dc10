"""Encoders of other than three channels, and how pretrained weights of three become theirs."""

import pytest
import torch
from safetensors.torch import save_file

from unimatch import ConfigError, SegmentationModel, WeightsError
from unimatch.checkpoints.files import start_from
from unimatch.images.bands import Bands
from unimatch.models import ClassificationModel, build_encoder
from unimatch.models.descriptions import build_described, describe_model
from unimatch.models.pooled_encoders import build_pooled_encoder

STEMS = {"resnet18": "conv1.weight", "test_vit": "patch_embed.proj.weight"}


def bands(count: int) -> Bands:
    return Bands(tuple(range(1, count + 1)), mean=(0.5,) * count, std=(0.25,) * count)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ["tiny", *STEMS])
def test_encoders_take_any_number_of_channels(name, count):
    encoder = build_encoder(name, None, channels=count)
    assert len(encoder(torch.zeros(1, count, 64, 64))) == 4


@pytest.mark.parametrize("name", STEMS)
def test_weights_of_a_file_become_those_of_the_channels_by_timms_rule(name, tmp_path):
    state = build_encoder(name, None).body.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "weights.safetensors")
    rgb = state[STEMS[name]]
    for count in (1, 2, 3, 5):
        stem = build_encoder(name, tmp_path / "weights.safetensors", channels=count).body.state_dict()[STEMS[name]]
        expected = rgb.sum(1, keepdim=True) if count == 1 else torch.cat([rgb, rgb], 1)[:, :count] * (3 / count)
        assert torch.allclose(stem, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["wrn_10_1", "resnet18", "tiny"])
def test_pooled_encoders_take_any_number_of_channels(name):
    assert build_pooled_encoder(name, None, channels=2)(torch.zeros(2, 2, 32, 32))[0].shape[2:] == (1, 1)
    model = ClassificationModel(name, 3, weights=None, bands=bands(2))
    assert model(torch.zeros(2, 2, 32, 32)).shape == (2, 3)


def test_an_encoder_of_three_channels_alone_says_so():
    with pytest.raises(ConfigError, match="encoder=mitb5: only takes images of 3 bands, and these have 4"):
        build_encoder("mitb5", None, channels=4)


def test_a_description_makes_the_same_model_again():
    model = SegmentationModel("tiny", 4, bands=bands(5))
    again = build_described(describe_model(model))
    assert again.bands == model.bands
    assert again.sample_shape == (5,)
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    assert "bands" not in SegmentationModel("tiny", 4).description()


def test_training_starts_from_a_model_of_as_many_bands(tmp_path):
    trained = SegmentationModel("tiny", 4, bands=bands(2))
    state = {f"student.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"unimatch_model": describe_model(trained), "state_dict": state}, tmp_path / "a.ckpt")
    other = Bands((4, 5), [(0, 9), (0, 8)], mean=(0.1, 0.2), std=(1, 1))
    model = SegmentationModel("tiny", 4, bands=other)
    start_from(model, tmp_path / "a.ckpt", "student")
    assert torch.equal(model.encoder.stem[0].weight, trained.encoder.stem[0].weight)
    with pytest.raises(WeightsError, match="its model sees 2 bands, and the one to train 3"):
        start_from(SegmentationModel("tiny", 4), tmp_path / "a.ckpt", "student")
