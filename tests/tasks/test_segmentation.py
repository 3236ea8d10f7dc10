import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.tasks.scores import confusion_metric
from unimatch.tasks.segmentation import scores

CLASSES = 4


truth_ids = st.one_of(st.integers(0, CLASSES - 1), st.just(255))


labelled_pixels = st.lists(st.tuples(truth_ids, st.integers(0, CLASSES - 1)), min_size=1, max_size=40)


def slow_confusion(truth, prediction):
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    for t, p in zip(truth, prediction, strict=True):
        if t != 255:
            matrix[t, p] += 1
    return matrix


def slow_iou(truth, prediction):
    pairs = [(t, p) for t, p in zip(truth, prediction, strict=True) if t != 255]
    result = []
    for k in range(CLASSES):
        intersection = sum(t == k and p == k for t, p in pairs)
        union = sum(t == k or p == k for t, p in pairs)
        result.append(100 * intersection / union if union else None)
    return result


def confusion(truth, prediction):
    metric = confusion_metric(CLASSES)
    metric.update(torch.tensor(prediction)[None], torch.tensor(truth)[None])
    return metric.compute()


@given(labelled_pixels)
@settings(max_examples=100, deadline=None)
def test_confusion_and_scores_equal_a_loop(pixels):
    truth, prediction = zip(*pixels, strict=True)
    matrix = confusion(truth, prediction)
    np.testing.assert_array_equal(matrix.numpy(), slow_confusion(truth, prediction))

    iou = slow_iou(truth, prediction)
    present = [value for value in iou if value is not None]
    excluded, zero = scores(matrix), scores(matrix, absent="zero")
    assert list(excluded.iou) == pytest.approx(iou)
    assert list(zero.iou) == pytest.approx(iou)
    assert excluded.miou == pytest.approx(sum(present) / len(present) if present else 0)
    assert zero.miou == pytest.approx(sum(present) / CLASSES)
    counted = [t == p for t, p in pixels if t != 255]
    assert excluded.pixel_accuracy == pytest.approx(100 * sum(counted) / len(counted) if counted else 0)


def test_absent_class_is_left_out_or_counts_zero():
    matrix = torch.zeros(3, 3, dtype=torch.int64)
    matrix[0, 0], matrix[1, 1] = 5, 7
    assert scores(matrix).miou == 100
    assert scores(matrix).iou == (100, 100, None)
    assert scores(matrix, absent="zero").miou == pytest.approx(200 / 3)


def test_a_class_only_predicted_is_present_with_zero():
    matrix = torch.tensor([[3, 1], [0, 0]])
    assert scores(matrix).iou == (75, 0)
    assert scores(matrix).miou == 37.5


def test_all_ignored_gives_zero_and_no_nan():
    result = scores(confusion([255, 255], [0, 1]))
    assert (result.miou, result.pixel_accuracy) == (0, 0)
    assert result.iou == (None,) * CLASSES


def test_large_counts_are_exact():
    # float32 cannot tell these from their neighbours; a whole validation set has more pixels than 2^24.
    matrix = torch.tensor([[2**40 + 1, 0], [2**40, 1]])
    exact = 50 * ((2**40 + 1) / (2**41 + 1) + 1 / (2**40 + 1))
    assert math.isclose(scores(matrix).miou, exact, rel_tol=1e-14)
