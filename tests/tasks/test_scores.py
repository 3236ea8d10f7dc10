import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.methods.pseudo_quality import PseudoLabelQuality
from unimatch.tasks.scores import confusion_metric, mean_iou
from unimatch.tasks.segmentation import scores

CLASSES = 4

truth_ids = st.one_of(st.integers(0, CLASSES - 1), st.just(255))
labelled_pixels = st.lists(st.tuples(truth_ids, st.integers(0, CLASSES - 1)), min_size=1, max_size=40)
pseudo_pixels = st.lists(
    st.tuples(truth_ids, st.integers(0, CLASSES - 1), st.booleans(), st.booleans()), min_size=1, max_size=40
)


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


def slow_quality(pixels):
    known = [(t, label, sure) for t, label, sure, valid in pixels if valid and t != 255]

    def share(some):
        return percent([sure for _, _, sure in some])

    def accuracy(some):
        return percent([t == label for t, label, sure in some if sure])

    per_class = [[pixel for pixel in known if pixel[0] == k] for k in range(CLASSES)]
    class_share, class_accuracy = [share(some) for some in per_class], [accuracy(some) for some in per_class]
    return {
        "share": share(known),
        "accuracy": accuracy(known),
        "share_mean": mean_of_known(class_share),
        "accuracy_mean": mean_of_known(class_accuracy),
        "class_share": class_share,
        "class_accuracy": class_accuracy,
    }


def percent(hits):
    return 100 * sum(hits) / len(hits) if hits else None


def mean_of_known(values):
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def confusion(truth, prediction):
    metric = confusion_metric(CLASSES)
    metric.update(torch.tensor(prediction)[None], torch.tensor(truth)[None])
    return metric.compute()


def quality(*batches):
    metric = PseudoLabelQuality(CLASSES)
    for pixels in batches:
        truth, label, sure, valid = zip(*pixels, strict=True)
        metric.update(*(torch.tensor(column).view(1, 1, -1) for column in (label, sure, valid, truth)))
    return metric.compute()


def assert_same_quality(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-9), key


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


def test_truth_lies_along_the_rows():
    assert confusion([0, 0, 0], [2, 2, 2])[0, 2] == 3


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


@given(labelled_pixels, st.integers(1, 7))
@settings(max_examples=50, deadline=None)
def test_the_partition_into_batches_does_not_matter(pixels, size):
    truth, prediction = zip(*pixels, strict=True)
    metric = confusion_metric(CLASSES)
    for start in range(0, len(pixels), size):
        part = slice(start, start + size)
        metric.update(torch.tensor(prediction[part])[None], torch.tensor(truth[part])[None])
    assert torch.equal(metric.compute(), confusion(truth, prediction))


@given(pseudo_pixels, st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_pseudo_label_quality_equals_a_loop_at_any_partition(pixels, size):
    parts = [pixels[start : start + size] for start in range(0, len(pixels), size)]
    assert_same_quality(quality(pixels), slow_quality(pixels))
    assert_same_quality(quality(*parts), slow_quality(pixels))


def test_pseudo_label_quality_of_nothing_is_none():
    unknown = (255, 1, True, True)
    invalid = (1, 1, True, False)
    for pixels in ([unknown], [invalid], [unknown, invalid] * 5):
        found = quality(pixels)
        assert [found[key] for key in ("share", "accuracy", "share_mean", "accuracy_mean")] == [None] * 4
        assert found["class_share"] == found["class_accuracy"] == [None] * CLASSES


def test_unknown_and_invalid_pixels_change_no_share():
    counted = [(0, 0, True, True), (0, 1, True, True), (1, 1, False, True), (2, 0, True, True)]
    not_counted = [(255, 0, True, True), (0, 0, True, False), (1, 2, True, False), (255, 1, False, False)]
    found = quality(counted + not_counted)
    assert found["share"] == 75
    assert found["accuracy"] == pytest.approx(100 / 3)
    assert found["class_share"] == [100, 0, 100, None]
    assert found["class_accuracy"] == [50, None, 0, None]
    assert (found["share_mean"], found["accuracy_mean"]) == (pytest.approx(200 / 3), 25)


def test_pseudo_label_quality_starts_anew_after_a_reset():
    metric = PseudoLabelQuality(2)
    ones = torch.ones(1, 2, 2, dtype=torch.int64)
    metric.update(ones, ones > 0, ones > 0, ones)
    metric.reset()
    metric.update(1 - ones, ones > 0, ones > 0, ones)
    assert metric.compute()["accuracy"] == 0


@pytest.mark.parametrize("outside", [CLASSES, CLASSES + 1, 200])
def test_ids_of_truth_outside_the_classes_are_unknown(outside):
    # Masks of unlabelled images are only ever measured against: their ids are not verified.
    assert_same_quality(quality([(0, 0, True, True), (outside, 1, True, True)]), quality([(0, 0, True, True)]))


def test_an_images_miou_is_the_mean_over_its_classes():
    rng = np.random.default_rng(0)
    truth, guess = rng.choice([0, 1, 3], 50), rng.choice([0, 1, 3, 4], 50)
    confusion = np.zeros((6, 6), int)
    np.add.at(confusion, (truth, guess), 1)
    found = [c for c in range(6) if (truth == c).any() or (guess == c).any()]
    ious = [np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c)) for c in found]
    assert float(mean_iou(torch.tensor(confusion))) == pytest.approx(100 * np.mean(ious))
    assert float(mean_iou(torch.zeros(2, 2, dtype=torch.int64))) == 0
