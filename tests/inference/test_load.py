import json
from types import SimpleNamespace

import pytest
import torch

from helpers.support import save_run
from unimatch import ConfigError, Inference, WeightsError, load_model
from unimatch.data.catalog import CAMVID
from unimatch.images.bands import PHOTOS, Bands
from unimatch.inference.load import checkpoint_facts, choose_device, load_with_facts, models_in, with_facts_of_model


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run") / "best.ckpt", "nowhere")


def test_a_checkpoints_model_and_what_it_says_of_it(path):
    for which in ("teacher", "student"):
        model, facts = load_with_facts(path, which)
        expected = load_model(path, which).state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
        assert facts.classes == tuple(CAMVID.classes)
        assert facts.palette == tuple(CAMVID.palette)
        assert (facts.size_multiple, facts.dates, facts.inference) == (model.size_multiple, 1, Inference())


def test_classes_without_names_are_numbers_of_different_colours(path, tmp_path):
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["unimatch_run"]
    torch.save(checkpoint, tmp_path / "bare.ckpt")
    facts = load_with_facts(tmp_path / "bare.ckpt")[1]
    assert facts.classes == tuple(map(str, range(11)))
    assert len(set(facts.palette)) == 11


def test_a_model_that_is_not_there_is_refused_with_those_that_are(path, tmp_path):
    checkpoint = torch.load(path, weights_only=True)
    assert sorted(models_in(checkpoint)) == ["student", "teacher"]
    state = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith("student.")}
    torch.save({**checkpoint, "state_dict": state}, tmp_path / "student.ckpt")
    with pytest.raises(ConfigError, match=r"model=teacher: .*student\.ckpt holds student"):
        load_with_facts(tmp_path / "student.ckpt")


def test_weights_without_their_description_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    for description in (None, "{", json.dumps({"model": None})):
        if description:
            (tmp_path / "model.safetensors.json").write_text(description)
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            load_with_facts(tmp_path / "model.safetensors")


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="device=tpu9: cannot be used"):
        choose_device("tpu9")


LIKE_OURS = SimpleNamespace(num_classes=3, size_multiple=1, dates=1, bands=PHOTOS)
SAID = {"config": {"inference": {"window": 64}}, "classes": ["a", "b", "c"], "palette": [[0, 1, 2]] * 3}


def test_what_a_run_says_is_taken_where_it_can_be():
    facts = checkpoint_facts({"unimatch_run": SAID}, LIKE_OURS)
    assert (facts.classes, facts.palette, facts.inference.window) == (("a", "b", "c"), ((0, 1, 2),) * 3, 64)
    assert checkpoint_facts({}, LIKE_OURS).classes == ("0", "1", "2")


def test_the_model_itself_decides_what_images_it_sees():
    said = checkpoint_facts({"unimatch_run": SAID}, LIKE_OURS)
    bands = Bands(bands=(2,), mean=(0.3,), std=(0.1,))
    facts = with_facts_of_model(said, SimpleNamespace(num_classes=3, size_multiple=8, dates=2, bands=bands), "here")
    assert (facts.bands, facts.mean, facts.std) == (bands, (0.3,), (0.1,))
    assert (facts.size_multiple, facts.dates) == (8, 2)


@pytest.mark.parametrize(
    "said",
    [
        [1], "ab", 5, {1: 2}, {"other": 1}, {"config": []}, {"config": None}, {"config": {"inference": [1]}},
        {"config": {"inference": {1: 2}}}, {"config": {"inference": {"unknown": 1}}}, {"classes": ["one"]},
        {"classes": "abc"}, {"classes": [1, 2, 3]}, {"classes": 3}, {"classes": None}, {"palette": [[0, 1, 300]] * 3},
        {"palette": [[0, 1]] * 3}, {"palette": [[0, 1, 2]] * 2}, {"palette": "abc"}, {"palette": 3},
        {"config": {"inference": {"scales": [3000]}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_that_says_what_cannot_be_is_refused_in_one_line(said):
    content = {"unimatch_run": {**SAID, **said} if isinstance(said, dict) else said}
    with pytest.raises(WeightsError, match=r"^the checkpoint"):
        checkpoint_facts(content, LIKE_OURS)
