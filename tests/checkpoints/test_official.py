import json
import os

import numpy as np
import pytest
import torch

from helpers.official import CLASSES, SIZES, hollow, random_state, save
from helpers.places import SHARED
from helpers.slow_models import official_shapes, slow_dinov2, slow_official_head
from helpers.support import at_night, rest_nightly
from unimatch import convert, load_model, load_official
from unimatch.checkpoints.official import UNUSED, official_key
from unimatch.errors import WeightsError
from unimatch.models import SegmentationModel

OFFICIAL = SHARED / "reference" / "official_state_dicts.json"


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    path = save(tmp_path_factory.mktemp("official") / "best.pth", random_state(2), random_state(1))
    return path, {name.removeprefix("module."): tensor for name, tensor in random_state(1).items()}


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the list of the official checkpoints' keys is not here")
@pytest.mark.parametrize("size", list(SIZES))
def test_the_names_and_shapes_of_these_tests_are_the_published_ones(size):
    published = {name: tuple(shape) for name, shape in json.loads(OFFICIAL.read_text())[size]}
    assert official_shapes(*SIZES[size][1], CLASSES) == published


@pytest.mark.parametrize("size", rest_nightly(SIZES, ["small"]))
def test_every_tensor_of_ours_has_its_published_one_and_the_others_are_named(size):
    name = SIZES[size][0]
    with torch.device("meta"):
        ours = {
            key: tuple(value.shape)
            for key, value in SegmentationModel(name, CLASSES, weights=None).state_dict().items()
        }
    mapped = {official_key(key, swiglu=name == "vitg"): shape for key, shape in ours.items()}
    assert len(mapped) == len(ours)
    published = official_shapes(*SIZES[size][1], CLASSES)
    assert set(published) - set(mapped) == set(UNUSED)
    assert mapped == {key: shape for key, shape in published.items() if key not in UNUSED}


@pytest.mark.parametrize(("height", "width"), [(35, 59), at_night(28, 42)])
def test_logits_are_those_of_the_specification(official, height, width):
    path, weights = official
    model = load_official(path)
    assert not any(module.training for module in model.modules())
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))
    whole = (14 * (height // 14), 14 * (width // 14))
    seen = images[..., : whole[0], : whole[1]]
    with torch.no_grad():
        expected = slow_official_head(weights, slow_dinov2(weights, seen, (2, 5, 8, 11), 6), whole)
        logits = model(images)
    assert logits.shape == (2, CLASSES, *whole)
    assert (logits - expected).abs().max() < 5e-5 * expected.std()


@pytest.mark.nightly
def test_a_checkpoint_of_change_detection_takes_pairs(tmp_path):
    teacher = random_state(3, classes=2)
    path = save(tmp_path / "best.pth", hollow("small", classes=2), teacher)
    content = torch.load(path, weights_only=False)
    for name in ("previous_best", "previous_best_ema"):
        content |= {f"{name}_iou": content[name], f"{name}_acc": content.pop(name)}
    torch.save(content, path)
    weights = {name.removeprefix("module."): tensor for name, tensor in teacher.items()}
    pairs = torch.randn(2, 2, 3, 28, 45, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = (slow_dinov2(weights, date[..., :42], (2, 5, 8, 11), 6) for date in pairs.unbind(1))
        levels = [(a - b).abs() for a, b in zip(before, after, strict=True)]
        expected = slow_official_head(weights, levels, (28, 42))
        logits = load_official(path)(pairs)
    assert logits.shape == (2, 2, 28, 42)
    assert (logits - expected).abs().max() < 5e-5 * expected.std()
    convert.convert(path, tmp_path / "ours.ckpt", None)
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "ours.ckpt")(pairs[..., :42]), logits)


@pytest.mark.nightly
def test_at_the_own_grid_too(official):
    path, weights = official
    images = torch.randn(1, 3, 518, 518, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = slow_official_head(weights, slow_dinov2(weights, images, (2, 5, 8, 11), 6), (518, 518))
        logits = load_official(path)(images)
    assert (logits - expected).abs().max() < 5e-5 * expected.std()


@pytest.mark.parametrize("which", ["teacher", "student"])
def test_each_of_the_two_is_loaded(official, which):
    weights = random_state({"student": 2, "teacher": 1}[which])
    for key, value in load_official(official[0], which).state_dict().items():
        assert torch.equal(value, weights[f"module.{official_key(key)}"])


@pytest.mark.parametrize("classes", [19, at_night(150)])
def test_size_and_classes_are_read_from_the_file(tmp_path, classes):
    path = save(tmp_path / "base.pth", hollow("base", classes), hollow("base", classes))
    description = load_official(path).description()
    assert (description["encoder"], description["num_classes"], description["features"]) == ("vitb", classes, 128)
    assert description["position_embedding"] == "dinov2"


def test_what_matched_is_reported(official, caplog):
    with caplog.at_level("INFO", "unimatch"):
        load_official(official[0])
    for part in ("teacher", "vits", "21 classes", "174 tensors of the encoder", "mask_token", "resConfUnit1.conv2"):
        assert part in caplog.text


def test_without_the_prefix_of_distributed_training(tmp_path):
    bare = {name.removeprefix("module."): tensor for name, tensor in hollow("small").items()}
    assert load_official(save(tmp_path / "bare.pth", bare, bare)).num_classes == CLASSES


# Converted.


# Refused.


def without(state, *parts):
    return {name: tensor for name, tensor in state.items() if not any(part in name for part in parts)}


def v1_state():
    names = ("backbone.conv1.0.weight", "backbone.layer4.2.conv3.weight", "head.b0.0.weight", "classifier.weight")
    return {f"module.{name}": torch.zeros(1) for name in names}


def other_decoder():
    linear = {"module.head.linear.weight": torch.zeros(21, 384), "module.head.bn.weight": torch.zeros(384)}
    return {**without(hollow("small"), "module.head."), **linear}


def renamed():
    state = hollow("small")
    state["module.head.scratch.extra.weight"] = state.pop("module.head.projects.1.bias")
    return state


def reshaped():
    return {**hollow("small"), "module.backbone.pos_embed": torch.zeros(1, 257, 384)}


WRONG = {
    "V1": (v1_state, ["not a UniMatch V2 checkpoint", "UniMatch V1's (a ResNet with DeepLabV3+)", "classifier"]),
    "another decoder": (other_decoder, ["not UniMatch V2's DPT", "head.projects.0.weight", "head.linear.weight"]),
    "a tensor missing, one unknown": (renamed, ["1 of 232 tensors are missing", "head.projects.1.bias", "extra"]),
    "another shape": (reshaped, ["backbone.pos_embed: (1, 257, 384) in the file, (1, 1370, 384) expected"]),
    "a block missing": (lambda: without(hollow("small"), "blocks.7."), ["14 of 232 tensors", "blocks.7.norm1.weight"]),
    "another width": (lambda: {"backbone.cls_token": torch.zeros(1, 1, 192)}, ["192 wide", "384, 768, 1024, 1536"]),
    "not tensors": (lambda: {"a": 1}, ["'model_ema' is not a state dict"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_checkpoint_is_refused_with_the_reason(case, tmp_path):
    make, parts = WRONG[case]
    path = save(tmp_path / "wrong.pth", hollow("small"), make())
    with pytest.raises(WeightsError, match=r"wrong\.pth") as caught:
        load_official(path)
    for part in parts:
        assert part in str(caught.value), caught.value


def test_other_files_are_refused_with_the_reason(official, tmp_path):
    path = tmp_path / "other.pth"
    for content, reason in (
        ({"epoch": 3}, "no entry 'model_ema' for the teacher.*epoch"),
        ([1, 2], "expected a dict, found list"),
        ({"unimatch_model": {}, "state_dict": {}}, "already one of our checkpoints"),
    ):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=reason):
            load_official(path)
    path.write_bytes(official[0].read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="cannot be read"):
        load_official(path)
    path.write_text("no checkpoint\n")
    with pytest.raises(WeightsError, match=r"other\.pth"):
        load_official(path)
    with pytest.raises(WeightsError, match="no such checkpoint"):
        load_official(tmp_path / "nowhere.pth")


class RunsACommand:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class CallsNumPy:
    """What a scalar of objects would be: a pickle inside, which NumPy must not be asked to open."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return np.core.multiarray.scalar, (np.dtype("O"), RunsACommand(self.command))


@pytest.mark.parametrize("kind", [RunsACommand, CallsNumPy])
@pytest.mark.parametrize("place", ["previous_best", "model_ema"])
def test_a_file_that_carries_code_is_refused_and_does_not_run(tmp_path, kind, place):
    touched, path = tmp_path / "touched", tmp_path / "bad.pth"
    content = {"model": {}, "model_ema": hollow("small"), place: kind(f'echo run > "{touched}"')}
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"bad\.pth: refused, it holds more than tensors.*(posix\.system|scalar)"):
        load_official(path)
    assert not touched.exists()


def test_the_allowance_for_numbers_ends_with_the_file(official):
    load_official(official[0])
    assert not [kind for kind in torch.serialization.get_safe_globals() if getattr(kind, "__module__", "") == "numpy"]
