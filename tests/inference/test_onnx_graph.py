import pytest
import torch

from unimatch.engines.model_facts import ModelFacts
from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError
from unimatch.inference.onnx_graph import Graph, OnnxOptions

FACTS = ModelFacts(
    classes=("a", "b", "c"),
    palette=((0, 0, 0), (255, 0, 0), (0, 255, 0)),
    mean=(0.1, 0.2, 0.3),
    std=(0.5, 0.4, 0.3),
    size_multiple=14,
    dates=1,
    inference=Inference(),
)


def test_the_graph_normalises_before_the_model_and_takes_the_best_class_after_it():
    images = torch.randint(0, 256, (2, 3, 4, 5)).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (FACTS.mean, FACTS.std))
    model = torch.nn.Identity()
    assert torch.equal(Graph(model, FACTS, OnnxOptions())(images), images)
    normal = (images / 255 - mean) / std
    assert torch.allclose(Graph(model, FACTS, OnnxOptions(normalize=True))(images), normal)
    assert torch.equal(Graph(model, FACTS, OnnxOptions(normalize=True, labels=True))(images), normal.argmax(1))


def test_axes_that_are_not_fixed_are_named():
    assert OnnxOptions().axes(4) == {
        "image": {0: "batch", 2: "height", 3: "width"},
        "logits": {0: "batch", 2: "height", 3: "width"},
    }
    assert OnnxOptions(size=(28, 42), labels=True).axes(5) == {"image": {0: "batch"}, "labels": {0: "batch"}}
    assert OnnxOptions(batch=2, labels=True).axes(5) == {
        "image": {3: "height", 4: "width"},
        "labels": {1: "height", 2: "width"},
    }


def test_the_batch_to_trace_with_has_the_fixed_size_and_number():
    images = torch.zeros(1, 2, 3, 28, 28)
    assert OnnxOptions().example(images, 14).shape == images.shape
    assert OnnxOptions(size=(28, 42), batch=4).example(images, 14).shape == (4, 2, 3, 28, 42)
    with pytest.raises(ConfigError, match=r"size=\[28, 40\]: both must be multiples of 14"):
        OnnxOptions(size=(28, 40)).example(images, 14)
