import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import hub_mixin
from huggingface_hub.errors import HfHubHTTPError

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
    with pytest.raises(WeightsError, match=r"^[^:]*model.safetensors.json: must describe the model"):
        HubModel.from_pretrained(tmp_path)


def test_what_is_pushed_is_what_is_read_from_the_hub_again(folder, tmp_path, monkeypatch):
    class Hub:
        """Stands for the hub: a folder."""

        def __init__(self, token):
            assert token == "secret"

        def create_repo(self, repo_id, private, exist_ok):
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id, folder_path, revision, **options):
            shutil.copytree(folder_path, tmp_path / repo_id / revision)
            return "the commit"

    def download(repo_id, filename, revision, **options):
        path = tmp_path / repo_id / revision / filename
        if not path.is_file():
            raise HfHubHTTPError.__new__(HfHubHTTPError)  # as of config.json, which the client itself asks for
        return str(path)

    monkeypatch.setattr(hub_mixin, "HfApi", Hub)
    trained = HubModel.from_checkpoint(folder / "best.ckpt")
    assert trained.push_to_hub("me/model", branch="v1", private=True, token="secret") == "the commit"
    pushed = {path.name for path in (tmp_path / "me" / "model" / "v1").iterdir()}
    assert pushed == {"README.md", "model.safetensors", "model.safetensors.json"}

    monkeypatch.setattr(hub, "offline_if_unreachable", nullcontext)
    monkeypatch.setattr(hub_mixin, "hf_hub_download", download)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    found = HubModel.from_pretrained("me/model", revision="v1").trained
    assert found.facts == trained.trained.facts
    expected = trained.trained.model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.model.state_dict().items())


def test_a_repository_that_cannot_be_had_is_one_line(monkeypatch):
    def download(*arguments, **options):
        raise OSError("Name or service not known\nmuch more")

    monkeypatch.setattr(hub, "offline_if_unreachable", nullcontext)
    monkeypatch.setattr(hub_mixin, "hf_hub_download", download)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(WeightsError, match=r"^me/model: is not a folder.*OSError: Name or service not known\)"):
        HubModel.from_pretrained("me/model")
