import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.tasks.scores import confusion_metric, mean_iou

CLASSES = 4

truth_ids = st.one_of(st.integers(0, CLASSES - 1), st.just(255))
labelled_pixels = st.lists(st.tuples(truth_ids, st.integers(0, CLASSES - 1)), min_size=1, max_size=40)


def confusion(truth, prediction):
    metric = confusion_metric(CLASSES)
    metric.update(torch.tensor(prediction)[None], torch.tensor(truth)[None])
    return metric.compute()


def test_truth_lies_along_the_rows():
    assert confusion([0, 0, 0], [2, 2, 2])[0, 2] == 3


@given(labelled_pixels, st.integers(1, 7))
@settings(max_examples=50, deadline=None)
def test_the_partition_into_batches_does_not_matter(pixels, size):
    truth, prediction = zip(*pixels, strict=True)
    metric = confusion_metric(CLASSES)
    for start in range(0, len(pixels), size):
        part = slice(start, start + size)
        metric.update(torch.tensor(prediction[part])[None], torch.tensor(truth[part])[None])
    assert torch.equal(metric.compute(), confusion(truth, prediction))


def test_an_images_miou_is_the_mean_over_its_classes():
    rng = np.random.default_rng(0)
    truth, guess = rng.choice([0, 1, 3], 50), rng.choice([0, 1, 3, 4], 50)
    confusion = np.zeros((6, 6), int)
    np.add.at(confusion, (truth, guess), 1)
    found = [c for c in range(6) if (truth == c).any() or (guess == c).any()]
    ious = [np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c)) for c in found]
    assert float(mean_iou(torch.tensor(confusion))) == pytest.approx(100 * np.mean(ious))
    assert float(mean_iou(torch.zeros(2, 2, dtype=torch.int64))) == 0
