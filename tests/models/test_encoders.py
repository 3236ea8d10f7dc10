import json
import math
from collections import Counter

import pytest
import timm
import torch

from helpers.places import SHARED
from helpers.support import at_night
from unimatch.errors import ConfigError, WeightsError
from unimatch.models import PRESETS, SegmentationModel, build_encoder
from unimatch.models.dpt import DPTDecoder

PYRAMIDS = {"tiny": (48, 96, 128, 128), "efficientnet_lite0": (24, 40, 112, 320)}
WIDTHS = {**PYRAMIDS, "vits": (384,) * 4}
# The published table: width, blocks, features, out_channels, and millions of parameters of encoder and decoder.
PUBLISHED = {
    "vits": (384, (2, 5, 8, 11), 64, (48, 96, 192, 384), 22.1, 2.7),
    "vitb": (768, (2, 5, 8, 11), 128, (96, 192, 384, 768), 86.6, 10.9),
    "vitl": (1024, (4, 11, 17, 23), 256, (256, 512, 1024, 1024), 304.4, 31.2),
    "vitg": (1536, (9, 19, 29, 39), 384, (1536,) * 4, None, None),
}
OFFICIAL = SHARED / "reference" / "official_state_dicts.json"
OFFICIAL_NAMES = {"vits": "small", "vitb": "base", "vitl": "large", "vitg": "giant"}


@pytest.fixture(scope="module", params=list(WIDTHS))
def encoder(request):
    torch.manual_seed(0)
    built = build_encoder(request.param, None).eval()
    built.tested_name = request.param
    return built


@pytest.fixture(scope="module")
def tokens():
    # As initialised, LayerScale is 1e-5 and the blocks change next to nothing: any four would pass for the right ones.
    torch.manual_seed(0)
    built = build_encoder("vits", None).eval()
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name.endswith(("gamma", "bias", "norm.weight", "cls_token", "pos_embed")):
                parameter.copy_(torch.randn(parameter.shape, generator=source) * 0.5)
    return built


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def dinov2_parameters(width, depth):
    attention = width * 3 * width + 3 * width + width * width + width
    mlp = 2 * width * 4 * width + 4 * width + width
    block = attention + mlp + 2 * 2 * width + 2 * width  # two LayerNorms, two LayerScales
    patches = 3 * 14 * 14 * width + width
    return patches + width + (37 * 37 + 1) * width + depth * block + 2 * width


def dpt_parameters(width, features, out_channels, classes):
    c1, c2, _, c4 = out_channels
    projections = sum(width * c + c for c in out_channels)
    resizing = (c1 * c1 * 16 + c1) + (c2 * c2 * 4 + c2) + (c4 * c4 * 9 + c4)
    reductions = sum(c * features * 9 for c in out_channels)
    residual = 2 * (features * features * 9 + features)
    fusion = 7 * residual + 4 * (features * features + features)  # the coarsest block has one residual unit
    head = features * features * 9 + features + features * classes + classes
    return projections + resizing + reductions + fusion + head


def meta_decoder(name, classes=21):
    width, _, features, out_channels, *_ = PUBLISHED[name]
    with torch.device("meta"):
        return DPTDecoder((width,) * 4, (14,) * 4, features=features, out_channels=out_channels, num_classes=classes)


def test_widths_strides_and_size_multiple(encoder):
    name = encoder.tested_name
    assert encoder.widths == WIDTHS[name]
    assert encoder.strides == ((14,) * 4 if name == "vits" else (4, 8, 16, 32))
    assert encoder.size_multiple == (14 if name == "vits" else 1)


def test_four_levels_of_the_stated_shape_at_any_size(encoder):
    pyramid_sizes = [(64, 48), (37, 53), (33, 65), (32, 31)]
    for size in [(28, 70), (42, 14)] if encoder.tested_name == "vits" else pyramid_sizes:
        with torch.no_grad():
            levels = encoder(torch.randn(2, 3, *size))
        shapes = [tuple(level.shape) for level in levels]
        assert shapes == [
            (2, width, *(math.ceil(side / stride) for side in size))
            for width, stride in zip(encoder.widths, encoder.strides, strict=True)
        ]


def test_images_of_a_batch_do_not_mix_in_eval_mode(encoder):
    images = torch.randn(2, 3, 42, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = encoder(images), encoder(images[1:])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:], b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", list(WIDTHS))
def test_every_parameter_of_the_model_gets_a_gradient(name):
    # Otherwise distributed training would have to search for unused parameters in every step.
    torch.manual_seed(0)
    model = SegmentationModel(name, 5, weights=None)
    model(torch.randn(2, 3, 56, 56)).square().mean().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_token_levels_are_the_normed_tokens_of_blocks_2_5_8_11(tokens):
    images = torch.randn(2, 3, 42, 70, generator=torch.Generator().manual_seed(2))
    body, expected, unnormed = tokens.body, [], []
    with torch.no_grad():
        x = body._pos_embed(body.patch_embed(images))
        for number, block in enumerate(body.blocks):
            x = block(x)
            if number in (2, 5, 8, 11):
                normed = torch.nn.functional.layer_norm(x, (384,), body.norm.weight, body.norm.bias, eps=1e-6)
                # Without the class token, row by row into a map.
                expected.append(torch.stack([normed[:, 1 + 5 * row : 6 + 5 * row] for row in range(3)], 1))
                unnormed.append(x)
        levels = tokens(images)
    assert not torch.allclose(unnormed[0], unnormed[1], atol=1)  # the blocks do something here
    for level, slow in zip(levels, expected, strict=True):
        assert level.shape == (2, 384, 3, 5)
        torch.testing.assert_close(level, slow.permute(0, 3, 1, 2), atol=1e-4, rtol=1e-4)


def test_token_encoder_adds_the_stored_position_embedding_at_its_own_grid(tokens):
    images = torch.randn(1, 3, 518, 518, generator=torch.Generator().manual_seed(2))
    body = tokens.body
    with torch.no_grad():
        patches = torch.nn.functional.conv2d(
            images, body.patch_embed.proj.weight, body.patch_embed.proj.bias, stride=14
        )
        x = torch.cat([body.cls_token, patches.flatten(2).transpose(1, 2)], 1) + body.pos_embed
        first = tokens.body.forward_intermediates(images, indices=[0], output_fmt="NLC", intermediates_only=True)[0]
        torch.testing.assert_close(first, body.blocks[0](x)[:, 1:], atol=1e-4, rtol=1e-4)


def test_presets_are_the_published_ones():
    for name, (_, blocks, features, out_channels, *_) in PUBLISHED.items():
        with torch.device("meta"):
            model = SegmentationModel(name, 21, weights=None)
        assert (tuple(model.encoder.levels), model.features, model.out_channels) == (blocks, features, out_channels)


def test_encoder_parameters_are_the_published_number():
    with torch.device("meta"):
        counts = {name: parameters(build_encoder(name, None)) for name in ("vits", "vitb", "vitl")}
    assert counts == {
        "vits": dinov2_parameters(384, 12),
        "vitb": dinov2_parameters(768, 12),
        "vitl": dinov2_parameters(1024, 24),
    }
    for name, count in counts.items():
        assert round(count / 1e6, 1) == PUBLISHED[name][4]


@pytest.mark.parametrize("name", ["vits", "vitb", "vitl"])
def test_decoder_parameters_are_the_published_number_less_the_unused_unit(name):
    width, _, features, out_channels, _, published = PUBLISHED[name]
    count = parameters(meta_decoder(name))
    assert count == dpt_parameters(width, features, out_channels, classes=21)
    unused = 2 * (features * features * 9 + features)
    assert round((count + unused) / 1e6, 1) == published
    assert name != "vits" or round(count / 1e6, 3) == 2.665
    assert name != "vitb" or round(count / 1e6, 3) == 10.653


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the list of the official checkpoints' keys is not here")
@pytest.mark.parametrize("name", list(OFFICIAL_NAMES))
def test_shapes_are_those_of_the_official_checkpoints(name):
    official = json.loads(OFFICIAL.read_text())[OFFICIAL_NAMES[name]]
    unused = "head.scratch.refinenet4.resConfUnit1."
    head = Counter(tuple(shape) for key, shape in official if key.startswith("head.") and not key.startswith(unused))
    # The mask token serves DINOv2's own training only.
    backbone = Counter(
        tuple(shape) for key, shape in official if key.startswith("backbone.") and key != "backbone.mask_token"
    )
    assert Counter(tuple(value.shape) for value in meta_decoder(name).state_dict().values()) == head
    with torch.device("meta"):
        built = build_encoder(name, None)
    assert Counter(tuple(value.shape) for value in built.state_dict().values()) == backbone


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"encoder=resnet999") as caught:
        build_encoder("resnet999")
    assert all(name in str(caught.value) for name in PRESETS)


@pytest.mark.parametrize("name", ["vits", "efficientnet_lite0"])
def test_pretrained_without_network_says_what_to_do(name, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError) as caught:
        build_encoder(name, "pretrained")
    message = str(caught.value)
    for part in (PRESETS[name].timm_name, "no route to host", "encoder.weights=FILE", "weights=None"):
        assert part in message
    # Without "pretrained" nothing was to be downloaded: the error is another one and must not be disguised.
    with pytest.raises(OSError, match="no route"):
        build_encoder(name, None)


@pytest.mark.parametrize(("weights", "expected"), [(None, False), ("pretrained", True)])
@pytest.mark.parametrize("name", ["vits", "efficientnet_lite0"])
def test_published_weights_are_loaded_only_on_request(name, weights, expected, monkeypatch):
    asked, create = [], timm.create_model

    def record(*args, pretrained, **kwargs):
        asked.append((args[0], pretrained))
        return create(*args, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, "create_model", record)
    with torch.device("meta"):
        build_encoder(name, weights)
    assert set(asked) == {(PRESETS[name].timm_name, expected)}


@pytest.mark.parametrize(
    ("name", "license"),
    [("dinov3_s", "DINOv3 License"), at_night("mitb5", "NVIDIA"), ("fastvit_t8", "fastvit-license"), ("vits", None)],
)
def test_weights_that_are_not_free_are_warned_of_where_they_are_used(name, license, tmp_path, caplog):
    with torch.device("meta"):
        build_encoder(name, None)
    assert not caplog.records
    with pytest.raises(WeightsError):
        build_encoder(name, tmp_path / "none.pt")
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == (license is not None)
    assert all(name in message and license in message for message in messages)


def test_tiny_has_no_published_weights():
    with pytest.raises(ConfigError, match="tiny"):
        build_encoder("tiny", "pretrained")


def test_vitg_feeds_forward_through_a_gate():
    options = {"depth": 4, "embed_dim": 12, "num_heads": 2, "img_size": 28}
    mlp = build_encoder("vitg", None, options=options).body.blocks[0].mlp
    x = torch.randn(2, 5, 12)
    both = x @ mlp.fc1.weight.T + mlp.fc1.bias
    gate, value = both[..., : both.shape[-1] // 2], both[..., both.shape[-1] // 2 :]
    expected = (gate / (1 + torch.exp(-gate)) * value) @ mlp.fc2.weight.T + mlp.fc2.bias
    torch.testing.assert_close(mlp(x), expected, atol=1e-5, rtol=1e-5)
