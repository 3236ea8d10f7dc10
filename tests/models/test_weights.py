import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from helpers.support import rest_nightly
from unimatch.errors import WeightsError
from unimatch.models import build_encoder
from unimatch.models.weights import load_weights_file, read_state_dict


class RunsACommand:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def small_module(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def save(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def assert_same_state(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


FORMATS = ["weights.pt", "weights.pth", "weights.safetensors"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_saved_is_loaded(name, tmp_path):
    source, module = small_module(0), small_module(1)
    path = save(source.state_dict(), tmp_path / name)
    assert_same_state(read_state_dict(path), source.state_dict())
    load_weights_file(module, path)
    assert_same_state(module.state_dict(), source.state_dict())


def test_the_home_directory_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(small_module().state_dict(), tmp_path / "weights.pt")
    home = type(tmp_path)("~") / "weights.pt"
    assert_same_state(read_state_dict(home), small_module().state_dict())


def test_missing_keys_are_listed_and_nothing_is_loaded(tmp_path):
    state = small_module(0).state_dict()
    del state["0.weight"], state["1.running_mean"]
    module, before = small_module(1), small_module(1).state_dict()
    with pytest.raises(WeightsError, match=r"2 of its 8 keys are not in the file") as caught:
        load_weights_file(module, save(state, tmp_path / "weights.pt"))
    for key in ("0.weight", "1.running_mean", "weights.pt"):
        assert key in str(caught.value)
    assert "2.weight" not in str(caught.value)
    assert_same_state(module.state_dict(), before)


def test_shape_mismatches_are_listed_with_both_shapes_and_nothing_is_loaded(tmp_path):
    state = small_module(0).state_dict()
    state["2.weight"] = torch.zeros(5, 4, 1, 1)
    module, before = small_module(1), small_module(1).state_dict()
    with pytest.raises(WeightsError) as caught:
        load_weights_file(module, save(state, tmp_path / "weights.pt"))
    assert "2.weight: (5, 4, 1, 1) in the file, (2, 4, 1, 1) in the model" in str(caught.value)
    assert "1 have another shape" in str(caught.value)
    assert_same_state(module.state_dict(), before)


def test_a_long_list_is_cut_short(tmp_path):
    module = nn.Sequential(*(nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(WeightsError) as caught:
        load_weights_file(module, save({"other": torch.zeros(1)}, tmp_path / "weights.pt"))
    message = str(caught.value)
    assert "20 of its 20 keys" in message
    assert "... and 12 more" in message
    assert "1 keys of the file are not the model's" in message
    assert "other" in message


def test_further_keys_are_tolerated(tmp_path):
    state = {**small_module(0).state_dict(), "head.weight": torch.zeros(7)}
    module = small_module(1)
    load_weights_file(module, save(state, tmp_path / "weights.pt"))
    assert_same_state(module.state_dict(), small_module(0).state_dict())


def test_step_counters_of_batch_norm_may_be_missing(tmp_path):
    state = small_module(0).state_dict()
    del state["1.num_batches_tracked"]
    module = small_module(1)
    load_weights_file(module, save(state, tmp_path / "weights.pt"))
    assert_same_state(module.state_dict(), small_module(0).state_dict())


@pytest.mark.parametrize("how", ["torch.save", "pickle"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_file_that_carries_code_is_refused_and_does_not_run(how, nested, tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "weights.pt"
    content = RunsACommand(f'echo run > "{touched}"')
    if nested:
        content = {**small_module().state_dict(), "extra": content}
    if how == "torch.save":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(WeightsError, match=r"weights\.pt"):
        read_state_dict(path)
    with pytest.raises(WeightsError):
        load_weights_file(small_module(), path)
    assert not touched.exists()

    # The same file does run where it is unpickled without care: the test would notice.
    pickle.loads(pickle.dumps(content))
    assert touched.exists()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_file_cut_short_is_refused(name, share, tmp_path):
    path = save(small_module().state_dict(), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=name):
        read_state_dict(path)


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(3),
        [torch.zeros(3)],
        {"epoch": 3},
        {"model": {"weight": torch.zeros(3)}},
        {"a": torch.zeros(1), "b": 1},
    ],
    ids=["tensor", "list", "numbers", "nested", "mixed"],
)
def test_what_is_no_dict_of_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="expected a state dict"):
        read_state_dict(tmp_path / "weights.pt")


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_something_else_is_refused(name, tmp_path):
    (tmp_path / name).write_text("these are no weights\n")
    with pytest.raises(WeightsError, match=name):
        read_state_dict(tmp_path / name)


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.pt", tmp_path):
        with pytest.raises(WeightsError, match="no such weights file"):
            read_state_dict(path)


# DINOv2 under the authors' names.

VIT = {"depth": 4, "embed_dim": 12, "num_heads": 2, "img_size": 42}


def authors_names(name, body):
    """What the authors' file of this model would hold: the reverse of the import, written on its own."""
    state = {key: torch.randn(value.shape) for key, value in body.state_dict().items()}
    given = {}
    for key, value in state.items():
        if "vitg" in name:
            key = key.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.")
        given[key] = value
    if "reg" in name:  # the class token without its position, the position in the table
        position = torch.randn(1, 1, 12)
        given["register_tokens"] = given.pop("reg_token")
        given["pos_embed"] = torch.cat([position, given["pos_embed"]], 1)
        given["cls_token"] = given["cls_token"] - position
    return {**given, "mask_token": torch.zeros(1, 12)}, state


SIZES = ("vits", "vitb", "vitl", "vitg", "vits_reg", "vitb_reg", "vitl_reg", "vitg_reg")


@pytest.mark.parametrize("name", rest_nightly(SIZES, ["vits", "vitg_reg"]))
@pytest.mark.parametrize("file", FORMATS)
def test_dinov2_weights_load_under_the_authors_names_and_timms(name, file, tmp_path):
    body = build_encoder(name, None, options=VIT).body
    given, expected = authors_names(name, body)
    for state in (given, expected):
        loaded = build_encoder(name, save(state, tmp_path / file), options=VIT).body.state_dict()
        assert loaded.keys() == expected.keys()
        for key, value in loaded.items():
            torch.testing.assert_close(value, expected[key])


def test_dinov2_weights_of_another_size_or_without_registers_are_refused(tmp_path):
    given, _ = authors_names("vits", build_encoder("vits", None, options=VIT).body)
    path = save(given, tmp_path / "vits.pth")
    with pytest.raises(WeightsError, match=r"cls_token: \(1, 1, 12\) in the file, \(1, 1, 24\) in the model"):
        build_encoder("vits", path, options={**VIT, "embed_dim": 24})
    with pytest.raises(WeightsError, match="reg_token"):
        build_encoder("vits_reg", path, options=VIT)
