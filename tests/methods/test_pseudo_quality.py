import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.methods.pseudo_quality import PseudoLabelQuality

CLASSES = 4


truth_ids = st.one_of(st.integers(0, CLASSES - 1), st.just(255))


pseudo_pixels = st.lists(
    st.tuples(truth_ids, st.integers(0, CLASSES - 1), st.booleans(), st.booleans()), min_size=1, max_size=40
)


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
