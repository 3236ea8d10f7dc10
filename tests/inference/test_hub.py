import shutil

import pytest
import torch

from helpers.support import save_run
from unimatch import HubModel, Predictor, WeightsError, load_model
from unimatch.inference import hub


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, and the same model as ``save_pretrained`` writes it."""
    root = tmp_path_factory.mktemp("hub")
    HubModel.from_checkpoint(save_run(root / "best.ckpt", root)).save_pretrained(root / "saved")
    return root


def test_a_saved_model_is_the_trained_one_with_its_classes(folder):
    found = HubModel.from_pretrained(folder / "saved").trained
    expected = load_model(folder / "best.ckpt").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.model.state_dict().items())
    assert not found.model.training
    assert found.facts.classes[0] == "sky"
    image = torch.randint(0, 255, (48, 64, 3), dtype=torch.uint8).numpy()
    labels = Predictor(found, device="cpu")(image).mask
    assert (labels == Predictor(folder / "best.ckpt", device="cpu")(image).mask).all()
    assert Predictor(folder / "saved" / "model.safetensors", device="cpu").classes == found.facts.classes


def test_from_the_hub_only_the_two_files_are_asked_for(folder, monkeypatch):
    asked = []

    def download(repository, name, **options):
        asked.append((repository, name, options.get("revision")))
        return str(folder / "saved" / name)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    found = HubModel._from_pretrained(model_id="me/model", revision="v1", token=None, strict=True)
    assert found.trained.facts.classes[0] == "sky"
    assert asked == [("me/model", "model.safetensors.json", "v1"), ("me/model", "model.safetensors", "v1")]


def test_another_models_folder_is_refused(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"holds no model.safetensors of unimatch"):
        HubModel.from_pretrained(tmp_path)
    shutil.copy(folder / "saved" / "model.safetensors", tmp_path)
    with pytest.raises(WeightsError, match=r"model.safetensors.json: must describe the model"):
        HubModel.from_pretrained(tmp_path)
