import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unimatch.engines.torch import TorchEngine
from unimatch.methods import Supervised
from unimatch.models import ClassificationModel, SegmentationModel
from unimatch.speed.apply import speed_up
from unimatch.tasks import Classification

OPTIONS = {"depth": 4, "embed_dim": 12, "num_heads": 2, "img_size": 28}


def vit(make=SegmentationModel):
    torch.manual_seed(0)
    decoder = {} if make is ClassificationModel else {"features": 4, "out_channels": (4, 4, 4, 4)}
    return make("vits", 3, weights=None, options=OPTIONS, **decoder).eval()


def changed(module):
    """The kinds of layers that are this package's forms of others."""
    return {type(layer).__name__ for layer in module.modules() if type(layer).__module__.startswith("unimatch.speed")}


ON_CPU = {"OneDNNLinear", "OneDNNPointwise", "RecomputingMlp"}


@pytest.mark.parametrize("make", [SegmentationModel, ClassificationModel])
def test_a_model_is_built_of_plain_layers(make):
    model = vit(make)
    assert changed(model) == set()
    assert {type(layer) for layer in model.modules() if isinstance(layer, nn.Linear)} == {nn.Linear}


@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_linear_layers_stay_plain_for_other_devices(device):
    model = vit()
    speed_up(model, torch.device(device))
    assert changed(model) == {"RecomputingMlp"}


def test_names_and_weights_stay_and_logits_are_the_same():
    plain = vit()
    model = copy.deepcopy(plain)
    speed_up(model, torch.device("cpu"))
    assert changed(model) == ON_CPU
    for (name, mine), (other, theirs) in zip(model.state_dict().items(), plain.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(mine, theirs)
    images = torch.randn(1, 3, 42, 56)
    torch.testing.assert_close(model(images), plain(images), rtol=1e-4, atol=1e-4)


def test_predicting_and_training_on_a_cpu_speed_a_model_up():
    predicted = vit()
    TorchEngine(predicted)
    assert changed(predicted) == ON_CPU
    classifier = vit(ClassificationModel)
    Classification().predict(classifier, torch.randn(1, 3, 42, 42))
    assert changed(classifier) == ON_CPU - {"OneDNNPointwise"}
    method = Supervised(vit())
    assert changed(method) == set()
    method.trainer = FakeTrainer()
    method.setup("fit")
    assert changed(method.student) == changed(method.teacher.model) == ON_CPU


class FakeTrainer:
    """Has a device, a precision and what restores checkpoints, and nothing else."""

    precision = "32-true"
    _checkpoint_connector = SimpleNamespace(_restore_modules_and_callbacks=None, restore_training_state=None)

    @property
    def strategy(self):
        return self

    root_device = torch.device("cpu")
