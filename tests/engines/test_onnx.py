import numpy as np
import onnxruntime
import pytest
import torch

from helpers.hostile_graphs import added, constant, graph, node
from unimatch import WeightsError
from unimatch.engines.onnx import MOST_IMAGES, OnnxEngine, checked_graph, resize

IMAGES = np.zeros((1, 3, 4, 5), np.float32)
TWO = node("Slice", ["image", "first", "last", "axis"], ["two"])
PLACES = [constant("first", [0], np.int64), constant("last", [2], np.int64), constant("axis", [1], np.int64)]


def test_resizing_in_numpy_is_pytorchs():
    array = np.random.default_rng(0).normal(size=(2, 3, 7, 9)).astype(np.float32)
    for size in ((14, 28), (7, 5), (3, 9), (1, 1), (7, 9)):
        expected = torch.nn.functional.interpolate(torch.from_numpy(array), size, mode="bilinear", align_corners=True)
        np.testing.assert_allclose(resize(array, size), expected.numpy(), atol=1e-5)


def engine(folder, *arguments, **more):
    (folder / "model.onnx").write_bytes(graph(*arguments, facts=True, **more))
    return OnnxEngine(folder / "model.onnx")


def test_constants_are_not_computed_when_the_file_is_read(tmp_path, monkeypatch):
    given, session = [], onnxruntime.InferenceSession

    def noted(*arguments, **more):
        given.append(more)
        return session(*arguments, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    engine(tmp_path, [TWO, node("Identity", ["two"], ["logits"])], PLACES)
    assert "ConstantFolding" in given[0]["disabled_optimizers"]


def test_a_graph_that_fails_is_one_message(tmp_path):
    far = constant("shape", [2**40], np.int64)  # no machine has room for it
    read = engine(tmp_path, added(node("ConstantOfShape", ["shape"], ["big"])), [far])
    with pytest.raises(WeightsError, match=r"model\.onnx: the graph fails on images of 1 x 3 x 4 x 5"):
        read.logits(IMAGES)


def test_what_are_no_logits_of_the_images_is_refused(tmp_path):
    assert engine(tmp_path, [TWO, node("Identity", ["two"], ["logits"])], PLACES).logits(IMAGES).shape == (1, 2, 4, 5)
    for name, nodes in {
        "(1, 3, 4, 5)": [node("Identity", ["image"], ["logits"])],
        "()": [node("ReduceMax", ["image"], ["logits"], keepdims=0)],
        "(1, 2, 5, 4)": [TWO, node("Transpose", ["two"], ["logits"], perm=[0, 1, 3, 2])],
    }.items():
        with pytest.raises(WeightsError) as refused:
            engine(tmp_path, nodes, PLACES).logits(IMAGES)
        assert f"returns {name} in place of logits (1, 2, 4, 5)" in str(refused.value)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"batch": 0}, "batch"),
        ({"batch": MOST_IMAGES + 1}, "batch"),
        ({"batch": True}, "batch is True, and must be a whole number"),
        ({"size": [48]}, "must be a height and a width"),
        ({"size": [0, 48]}, "size"),
        ({"size": [10_000, 10_000], "batch": 1000}, "batches of 1000 x 10000 x 10000 pixels"),
    ],
)
def test_numbers_of_a_graph_beyond_reason_are_refused(graph, message):
    with pytest.raises((TypeError, ValueError), match=message):
        checked_graph(graph)
    assert checked_graph({"size": [48, 64], "batch": 2}) == {"size": [48, 64], "batch": 2}
