import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.models.networks import ClassificationModel
from unimatch.tasks import task_of
from unimatch.tasks.classification import Classification, center_crop


@given(st.integers(2, 8), st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_scores_are_shares_of_images(classes, count, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.permuted(np.tile(np.arange(classes), (count, 1)), axis=1), rng.integers(0, classes, count)
    metric = Classification().metric(classes)
    for i in range(count):
        metric.update(torch.tensor(logits[i : i + 1]).float(), torch.tensor(labels[i : i + 1]))
    found = Classification().scores(metric.compute())
    ranks = [int((row > row[label]).sum()) for row, label in zip(logits, labels, strict=True)]
    assert found.top1 == pytest.approx(100 * sum(rank == 0 for rank in ranks) / count)
    assert found.top5 == pytest.approx(100 * sum(rank < 5 for rank in ranks) / count)
    for number, recall in enumerate(found.recall):
        own = [rank == 0 for rank, label in zip(ranks, labels, strict=True) if label == number]
        assert recall == (pytest.approx(100 * np.mean(own)) if own else None)
    assert found.main == found.top1


def test_an_image_is_cut_in_the_middle_after_resizing():
    image = torch.arange(12.0).repeat(3, 8, 1)[None]  # columns say where they were
    assert torch.equal(center_crop(image, 8, None)[0, 0, 0], torch.arange(2.0, 10.0))
    assert center_crop(image, 8, 16).shape == (1, 3, 8, 8)
    assert center_crop(image, 20, None).shape == (1, 3, 20, 20)
    shrunk = center_crop(image, 4, 4)[0, 0, 0]  # to 4 x 6, then four of six columns
    torch.testing.assert_close(shrunk, torch.tensor([2.5, 4.5, 6.5, 8.5]), atol=0.02, rtol=0)


def test_shrinking_averages():
    image = torch.zeros(1, 3, 16, 16)
    image[..., ::4, ::4] = 1.0  # one pixel of sixteen, which plain interpolation of the four in the middle never sees
    assert (center_crop(image, 4, 4) - 1 / 16).abs().max() < 0.04


def test_a_model_is_predicted_at_the_size_it_says():
    model = ClassificationModel("wrn_28_2", 3, image_size=8, resize=10, options={"blocks": 1, "width": 1}).eval()
    images = torch.rand(2, 3, 13, 17)
    task = task_of(model)
    assert isinstance(task, Classification)
    torch.testing.assert_close(task.predict(model, images), model(center_crop(images, 8, 10)))
