import pytest
import torch

from helpers.support import PixelModel
from unimatch import Inference, Segmentation
from unimatch.tasks.base import Task


def test_a_task_without_its_methods_is_refused():
    with pytest.raises(TypeError, match="abstract"):
        Task()


@torch.no_grad()
def test_pixels_are_predicted_by_the_rule_of_inference():
    model = PixelModel().eval()
    images = torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Segmentation().predict(model, images), model(images))
    flipped = (model(images).softmax(1) + model(images.flip(-1)).flip(-1).softmax(1)) / 2
    torch.testing.assert_close(Segmentation(Inference(flip=True)).predict(model, images), flipped)


@torch.no_grad()
@pytest.mark.parametrize(
    "rule", [{}, {"flip": True}, {"scales": [0.5, 1.0]}, {"mode": "sliding", "window": 8}, {"large": 50, "window": 8}]
)
def test_probabilities_are_those_that_a_prediction_is_decided_by(rule):
    task, model = Segmentation(Inference(**rule)), PixelModel().eval()
    images = torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    found, scores = task.probabilities(model, images), task.predict(model, images)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 8, 12))
    torch.testing.assert_close(found, scores if rule else scores.softmax(1))
    assert torch.equal(found.argmax(1), scores.argmax(1))


def test_counts_hold_truth_along_the_rows_and_leave_out_what_is_ignored():
    metric = Segmentation().metric(3)
    scores = torch.eye(3)[torch.tensor([0, 2, 2, 1])].T.reshape(1, 3, 2, 2)
    metric.update(scores, torch.tensor([0, 1, 1, 255]).view(1, 2, 2))
    assert metric.compute()["confusion"].tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]


def test_an_image_is_scored_by_its_own_counts():
    counts = {"confusion": torch.tensor([[3, 1], [0, 4]])}
    assert float(Segmentation().image_score(counts)) == pytest.approx(77.5)  # (3/4 + 4/5) / 2
