"""What every engine computes around its model, against numpy written out."""

import numpy as np
import pytest

from helpers.support import PixelModel
from unimatch.engines.onnx import OnnxEngine
from unimatch.engines.torch import TorchEngine

ENGINES = {"torch": TorchEngine(PixelModel().eval()), "onnx": OnnxEngine.__new__(OnnxEngine)}  # without a file


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype(np.float32)


def test_the_highest_score_is_the_label_and_its_probability_the_confidence(engine, scores):
    array = engine.array(scores)
    labels = engine.labels(array)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, scores.argmax(1))
    assert np.array_equal(engine.confidence(array), scores.max(1))


def test_of_equal_scores_the_first_is_the_label(engine):
    assert engine.labels(engine.array(np.ones((1, 3, 2, 2), np.float32))).tolist() == [[[0, 0], [0, 0]]]


def test_softmax_is_over_the_classes_and_large_scores_do_not_overflow(engine, scores):
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(engine.numpy(engine.softmax(engine.array(scores))), expected, rtol=1e-5)
    large = engine.array(np.array([500.0, 499.0], np.float32).reshape(1, 2, 1, 1))
    np.testing.assert_allclose(engine.numpy(engine.softmax(large)).ravel(), [0.7310586, 0.2689414], rtol=1e-5)


def test_arrays_come_and_go_unchanged(engine, scores):
    assert np.array_equal(engine.numpy(engine.array(scores)), scores)
    assert np.array_equal(engine.numpy(engine.zeros(2, 3)), np.zeros((2, 3), np.float32))
