"""What every encoder must do, on reduced versions of large ones: same code, fewer and narrower layers."""

import copy
import json
import math
from importlib.resources import files
from itertools import pairwise

import pytest
import torch

from helpers.places import ROOT
from helpers.support import at_night, rest_nightly
from unimatch.errors import ConfigError
from unimatch.methods.optim import build_optimizer, parameter_groups
from unimatch.methods.teacher import Teacher
from unimatch.models import PRESETS, SegmentationModel, build_encoder
from unimatch.models.presets import decoder_widths, token_blocks
from unimatch.models.wide_resnet import WIDE_RESNETS

TOKENS = {"depth": 4, "embed_dim": 48, "num_heads": 2}
REDUCED = {
    "vit": {**TOKENS, "img_size": 70},
    "dinov3_convnext": {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]},
    "dinov3": TOKENS,
    "convnext": {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]},
    "beit": {**TOKENS, "img_size": 64},
    "sam": {**TOKENS, "img_size": 64, "window_size": 3, "global_attn_indexes": [1, 3]},
    "resnet": {"layers": [1, 1, 1, 1], "channels": [8, 16, 24, 32]},
}
TRANSFORMERS = [
    name for name in PRESETS if name.startswith(("vit", "dinov3", "beit", "sam")) and "convnext" not in name
]
KINDS = (
    "vits", "vits_reg", "dinov3_s", "dinov3_convnext_t", "beit_b", "sam_b", "resnet50", "convnext_t",
    "efficientnet_lite0", "mitb5", "tiny",
)  # fmt: skip
EVERY = rest_nightly(PRESETS, KINDS)
FEW = rest_nightly(PRESETS, ["vits", "efficientnet_lite0", "tiny"])
DECODER = {"features": 8, "out_channels": (6, 8, 10, 12)}


def reduced(name):
    """Options that make the encoder small; a longer prefix wins."""
    return next((options for prefix, options in REDUCED.items() if name.startswith(prefix)), {})


@pytest.fixture(autouse=True)
def small_mit(monkeypatch):
    registry = pytest.importorskip("segmentation_models_pytorch.encoders").encoders
    monkeypatch.setitem(registry["mit_b5"]["params"], "depths", [1, 1, 1, 1])


def build(name, seed=0, **options):
    torch.manual_seed(seed)
    model = SegmentationModel(name, 3, weights=None, **{**DECODER, "options": reduced(name), **options})
    with torch.no_grad():  # as initialised, LayerScale and tables of positions hide what comes through them
        for key, parameter in model.encoder.named_parameters():
            if key.endswith(("gamma", "gamma_1", "gamma_2", "bias_table", "pos_embed", "rel_pos_h", "rel_pos_w")):
                parameter.normal_(std=0.5)
    return model


def image_size(model):
    """No square, and odd where the encoder allows it."""
    multiple = model.size_multiple
    return (3 * multiple, 4 * multiple) if multiple > 1 else (67, 93)


def images(model, batch=2, seed=0):
    return torch.randn(batch, 3, *image_size(model), generator=torch.Generator().manual_seed(seed))


def test_every_preset_has_a_configuration_and_the_other_way_round():
    conf = {file.name.removesuffix(".yaml") for file in files("unimatch.conf.encoder").iterdir()}
    assert {name for name in conf if not name.startswith("_")} == {*PRESETS, *WIDE_RESNETS, "timm"}


@pytest.mark.parametrize("name", EVERY)
def test_four_levels_of_the_stated_widths_and_strides(name):
    model = build(name).eval()
    encoder, size = model.encoder, image_size(model)
    with torch.no_grad():
        levels = model.encode(images(model))
    assert [tuple(level.shape) for level in levels] == [
        (2, width, *(math.ceil(side / stride) for side in size))
        for width, stride in zip(encoder.widths, encoder.strides, strict=True)
    ]
    if name in TRANSFORMERS:
        assert len(set(encoder.strides)) == 1
        assert model.size_multiple == encoder.strides[0] == (14 if name.startswith("vit") else 16)
    else:
        assert encoder.strides == (4, 8, 16, 32)
        assert model.size_multiple == (32 if "convnext" in name else 1)
    # Each level is another one.
    assert not any(torch.equal(a, b) for a, b in pairwise(levels))


@pytest.mark.parametrize("name", EVERY)
def test_every_trainable_parameter_gets_a_gradient(name):
    model = build(name)
    batch = images(model)
    logits = model(batch)
    assert logits.shape == (2, 3, *batch.shape[-2:])
    logits.square().mean().backward()
    trained = {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == len(list(model.parameters()))
    assert [key for key, parameter in trained.items() if parameter.grad is None] == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in trained.values())


@pytest.mark.parametrize("name", FEW)
def test_the_description_and_the_weights_give_the_model_again(name):
    model = build(name).eval()
    plain = json.loads(json.dumps(model.description()))
    again = SegmentationModel(**plain, weights=None).eval()
    again.load_state_dict(model.state_dict())
    batch = images(model)
    with torch.no_grad():
        assert torch.equal(model(batch), again(batch))
    assert again.description() == model.description()


@pytest.mark.parametrize("name", FEW)
def test_a_teacher_follows_and_its_integer_buffers_stay(name):
    student = build(name)
    teacher = Teacher(student, 0.5)
    kept = {key: value.clone() for key, value in teacher.model.named_buffers() if not value.is_floating_point()}
    assert bool(kept) == (name.startswith(("beit", "resnet", "efficientnet", "tiny")))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.01)
    before = copy.deepcopy(teacher.model)
    teacher.update(student, 7)
    for old, mine, new in zip(before.parameters(), student.parameters(), teacher.model.parameters(), strict=True):
        torch.testing.assert_close(new, (old + mine) / 2)
    for key, value in teacher.model.named_buffers():
        if key in kept:
            assert torch.equal(value, kept[key])
    batch = images(student)
    assert torch.isfinite(teacher(batch)).all()


@pytest.mark.parametrize(
    "name", rest_nightly([name for name in PRESETS if name not in ("tiny", "mitb5")], ["vits", "resnet50"])
)
def test_gradient_checkpointing_computes_the_same_with_a_second_forward_pass(name):
    plain, checkpointed = build(name), build(name, gradient_checkpointing=True)
    batch, gradients, passes = images(plain), [], []
    for model in (plain, checkpointed):
        model.eval()  # BatchNorm would count the second pass too
        calls = [0]
        for module in model.encoder.modules():
            module.register_forward_hook(lambda *_, calls=calls: calls.__setitem__(0, calls[0] + 1))
        model(batch).square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
        passes.append(calls[0])
    assert 1.3 * passes[0] < passes[1] <= 2 * passes[0]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "mitb5"])
def test_encoders_without_gradient_checkpointing_say_so(name):
    with pytest.raises(ConfigError, match="gradient_checkpointing"):
        build(name, gradient_checkpointing=True)


@pytest.mark.parametrize("name", FEW)
def test_layers_are_numbered_from_the_image_on(name):
    encoder = build(name).encoder
    numbers = encoder.layer_numbers()
    assert set(numbers) == {key for key, _ in encoder.named_parameters()}
    assert set(numbers.values()) == set(range(max(numbers.values()) + 1))
    if name in TRANSFORMERS:
        for key, number in numbers.items():
            if key.startswith("body.blocks."):
                assert number == int(key.split(".")[2]) + 1
            else:
                assert number == (4 if key.startswith("body.norm.") else 0)


# Frozen.


@pytest.mark.parametrize("name", ["vits", "resnet50", "tiny"])
def test_a_frozen_encoder_learns_nothing_and_the_decoder_learns(name):
    model = build(name, freeze=True).train()
    assert not any(module.training for module in model.encoder.modules())
    assert all(module.training for module in model.decoder.modules())
    before = copy.deepcopy(model.state_dict())
    groups = parameter_groups(model, learning_rate=0.1, decoder_multiplier=1)
    optimizer = build_optimizer("adamw", groups, weight_decay=0.5)
    assert [group["name"] for group in optimizer.param_groups] == ["decoder"]
    model(images(model)).square().mean().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith("decoder.")}


def test_freezing_changes_no_description_and_excludes_what_trains_the_encoder():
    assert build("vits", freeze=True).description() == build("vits").description()
    for other in ({"lora": 4}, {"gradient_checkpointing": True}):
        with pytest.raises(ConfigError, match="freeze"):
            build("vits", freeze=True, **other)
    for other in ({"freeze": True}, {"lora": 4}):
        with pytest.raises(ConfigError, match="unlock_after"):
            build("vits", unlock_after=10, **other)
    with pytest.raises(ConfigError, match="unlock_after=-1"):
        build("vits", unlock_after=-1)


# LoRA.


@pytest.mark.parametrize("name", rest_nightly([*TRANSFORMERS, "mitb5"], ["dinov3_s", "mitb5"]))
def test_lora_starts_as_the_model_and_trains_only_its_matrices_in_the_encoder(name):
    plain, adapted = build(name).eval(), build(name, lora=2).eval()
    weights = plain.state_dict()
    adapted.load_state_dict(
        {key: weights.get(key.replace(".base_layer", ""), value) for key, value in adapted.state_dict().items()}
    )
    batch = images(plain)
    with torch.no_grad():
        torch.testing.assert_close(adapted(batch), plain(batch), atol=1e-5, rtol=1e-4)
    adapted.train()(batch).square().mean().backward()
    for key, parameter in adapted.encoder.named_parameters():
        assert parameter.requires_grad == (".lora_" in key)
        assert (parameter.grad is not None) == parameter.requires_grad
    # What is trained acts: B starts at zero, so that its gradient tells whether the path is used.
    assert all(p.grad.any() for key, p in adapted.encoder.named_parameters() if ".lora_B" in key)


@pytest.mark.parametrize("name", rest_nightly(["vits", "dinov3_s", "beit_b", "sam_b", "mitb5"], ["vits", "mitb5"]))
def test_merged_lora_computes_the_same_as_a_plain_model(name):
    model = build(name, lora=2).eval()
    with torch.no_grad():
        for key, parameter in model.encoder.named_parameters():
            if ".lora_B" in key:
                parameter.normal_(std=0.1)
    again = SegmentationModel(**json.loads(json.dumps(model.description())), weights=None)
    again.load_state_dict(model.state_dict())
    batch = images(model)
    with torch.no_grad():
        expected = model(batch)
        merged = again.eval().merge_lora()
        torch.testing.assert_close(merged(batch), expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(build(name).eval()(batch), expected, atol=1e-3)
    assert merged.state_dict().keys() == build(name).state_dict().keys()
    assert merged.description()["lora"] is None
    assert all(parameter.requires_grad for parameter in merged.parameters())


@pytest.mark.parametrize(("name", "rank"), [("tiny", 4), ("resnet50", 4), ("vits", 0)])
def test_lora_where_it_cannot_be_is_refused(name, rank):
    with pytest.raises(ConfigError, match="lora="):
        build(name, lora=rank)


@pytest.mark.parametrize(("library", "arguments"), [("peft", {"lora": 4}), ("segmentation_models_pytorch", {})])
def test_a_library_that_is_not_installed_is_named_with_its_extra(library, arguments, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, f"{library}.encoders", None)
    with pytest.raises(ConfigError, match=r"pip install 'unimatch\[(lora|mit)\]'"):
        build("vits" if arguments else "mitb5", **arguments)


# Any model of timm.


@pytest.mark.parametrize(
    ("name", "widths", "strides"),
    [
        ("resnet18", (64, 128, 256, 512), (4, 8, 16, 32)),
        ("vit_tiny_patch16_224", (192,) * 4, (16,) * 4),
        at_night("mobilenetv3_small_050", (8, 16, 24, 288), (4, 8, 16, 32)),
        at_night("swin_tiny_patch4_window7_224", (96, 192, 384, 768), (4, 8, 16, 32)),
        at_night("deit3_small_patch16_224", (384,) * 4, (16,) * 4),
    ],
)
def test_any_timm_model_by_name(name, widths, strides):
    torch.manual_seed(0)
    model = SegmentationModel(name, 3, weights=None, **DECODER)
    assert (model.encoder.widths, model.encoder.strides) == (widths, strides)
    size = (2 * model.size_multiple, 3 * model.size_multiple) if model.size_multiple > 1 else (67, 93)
    logits = model(torch.randn(2, 3, *size))
    assert logits.shape == (2, 3, *size)
    logits.square().mean().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
    assert name in model.summary()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("resnet51", ["encoder=resnet51", "did you mean", "resnet50"]),
        ("vit", ["encoder=vit", "neither"]),
        ("resnet18.no_such_tag", ["encoder=resnet18.no_such_tag"]),
        ("", ["encoder="]),
    ],
)
def test_a_name_that_is_nobodys_is_refused_with_the_closest(name, parts):
    with pytest.raises(ConfigError) as caught:
        build_encoder(name, None)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_options_go_to_the_model_and_wrong_ones_are_named():
    encoder = build_encoder("vits", None, options={**REDUCED["vit"], "drop_path_rate": 0.3})
    assert encoder.body.blocks[-1].drop_path1.drop_prob == pytest.approx(0.3)
    with pytest.raises(ConfigError, match=r"options.*dropout_path"):
        build_encoder("vits", None, options={"dropout_path": 0.3})
    with pytest.raises(ConfigError, match=r"options"):
        build_encoder("tiny", options={"depth": 3})


@pytest.mark.parametrize("depth", range(4, 49))
def test_blocks_are_four_in_order_and_end_with_the_last(depth):
    blocks = token_blocks(depth)
    assert len(set(blocks)) == 4
    assert blocks == sorted(blocks)
    assert blocks[0] >= 0
    assert blocks[-1] == depth - 1


def test_decoders_are_as_wide_as_the_published_model_of_the_encoders_width():
    assert decoder_widths([384] * 4) == (64, (48, 96, 192, 384))
    assert decoder_widths([768] * 4) == (128, (96, 192, 384, 768))
    assert decoder_widths([1024] * 4) == (256, (256, 512, 1024, 1024))
    assert decoder_widths([1536] * 4) == (384, (1536,) * 4)
    assert decoder_widths([512] * 4) == decoder_widths([768] * 4)
    assert decoder_widths([64, 128, 320, 512]) == (128, (64, 128, 320, 512))
    assert decoder_widths([192, 384, 768, 1536]) == (256, (192, 384, 768, 1024))


DOCS = (ROOT / "docs" / "encoders.md").read_text()


@pytest.mark.parametrize("name", rest_nightly(PRESETS, ["vits", "dinov3_s", "tiny"]))
def test_the_table_of_the_documentation_is_true(name, monkeypatch):
    (row,) = (line for line in DOCS.splitlines() if line.startswith(f"| `{name}` |"))
    _, timm_name, strides, widths, parameters, weights_license = (cell.strip() for cell in row.strip("|").split("|"))
    if name == "mitb5":
        monkeypatch.undo()  # at its full depth
    with torch.device("meta"):
        model = SegmentationModel(name, 21, weights=None)

    def listed(values):
        return str(values[0]) if len(set(values)) == 1 else ", ".join(map(str, values))

    def count(module):
        return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.1f}M"

    assert timm_name.strip("`") == (PRESETS[name].timm_name or "-")
    assert strides == listed(model.encoder.strides)
    assert widths == listed(model.encoder.widths)
    assert parameters == f"{count(model.encoder)} + {count(model.decoder)}"
    license = PRESETS[name].license
    assert weights_license == (license.name if license else "trained from scratch")
