"""The scores of change detection against loops, and its model against its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch import ChangeDetection, ChangeModel, ConfigError, Inference, SegmentationModel, UniMatchV2
from unimatch.speed.upsampling import upsample
from unimatch.tasks import task_of
from unimatch.tasks.change import change_scores

DECODER = {"features": 8, "out_channels": (8, 8, 8, 8)}


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_scores_are_those_of_a_loop_over_pixels(seed, changed, called):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.random(60) < changed, rng.random(60) < called
    right = sum(bool(t and p) for t, p in zip(truth, predicted, strict=True))
    wrongly_called = sum(bool(p and not t) for t, p in zip(truth, predicted, strict=True))
    missed = sum(bool(t and not p) for t, p in zip(truth, predicted, strict=True))
    either = right + wrongly_called + missed

    def count(task):
        metric = task.metric(2)
        # In two samples, which have one ignored pixel and two.
        for part, more in ((slice(0, 20), [255]), (slice(20, 60), [255, 255])):
            labels = torch.tensor([*truth[part].astype(int), *more])[None, None]
            scores = torch.nn.functional.one_hot(torch.tensor([*predicted[part].astype(int), *([1] * len(more))]), 2)
            metric.update(scores.T[None, :, None].float(), labels)
        return task.scores(metric.compute())

    found = count(ChangeDetection())
    assert found.changed_iou == pytest.approx(100 * right / either if either else 0)
    assert found.f1 == pytest.approx(200 * right / (2 * right + wrongly_called + missed) if either else 0)
    assert found.precision == pytest.approx(100 * right / predicted.sum() if predicted.any() else 0)
    assert found.recall == pytest.approx(100 * right / truth.sum() if truth.any() else 0)
    assert found.overall_accuracy == pytest.approx(100 * (truth == predicted).mean())
    assert found.main == found.changed_iou
    # As the published code counts: right pixels among all, the ignored ones too.
    published = count(ChangeDetection(ignored="wrong"))
    assert published.overall_accuracy == pytest.approx(100 * (truth == predicted).sum() / 63)
    assert published.f1 == found.f1


def test_nothing_changed_and_nothing_called_so():
    found = change_scores(torch.tensor([[9, 0], [0, 0]]))
    assert (found.changed_iou, found.overall_accuracy, found.iou) == (0, 100, (100, None))


def random_model():
    model = ChangeModel("tiny", 2, **DECODER).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@torch.no_grad()
def test_the_model_decodes_what_differs_between_the_dates():
    model = random_model()
    single = SegmentationModel("tiny", 2, **DECODER).eval()
    single.load_state_dict(model.state_dict())
    before, after = torch.randn(2, 3, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    levels = [(a - b).abs() for a, b in zip(single.encode(before), single.encode(after), strict=True)]
    expected = upsample(single.decode(levels), (32, 48))
    logits = model(torch.stack([before, after], 1))
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(model(torch.stack([after, before], 1)), logits)
    alike = [level.abs().max() for level in model.encode(torch.stack([before, before], 1))]
    assert max(alike) < 1e-5
    assert logits.std() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("rule", [Inference(), Inference("sliding", window=32, stride=20), Inference(flip=True)])
def test_both_dates_are_seen_alike_by_every_rule(rule):
    """A date that is predicted by two paths, together and as two batches of single dates, gives the same."""
    model = random_model()
    pairs = torch.randn(1, 2, 3, 45, 70, generator=torch.Generator().manual_seed(0))
    scores = ChangeDetection(rule).predict(model, pairs)
    assert scores.shape == (1, 2, 45, 70)
    swapped = ChangeDetection(rule).predict(model, pairs.flip(1))
    torch.testing.assert_close(scores, swapped)
    if rule.mode == "sliding":
        from unimatch.engines.whole_image import whole_image_logits

        total, count = torch.zeros(1, 2, 45, 70), torch.zeros(45, 70)
        for top in (0, 13):
            for left in (0, 20, 38):
                window = pairs[..., top : top + 32, left : left + 32]
                total[..., top : top + 32, left : left + 32] += whole_image_logits(model, window).softmax(1)
                count[top : top + 32, left : left + 32] += 1
        torch.testing.assert_close(scores, total / count)


def test_a_method_takes_the_task_of_its_model():
    assert isinstance(UniMatchV2(ChangeModel("tiny", 2, **DECODER)).task, ChangeDetection)
    assert task_of(SegmentationModel("tiny", 2, **DECODER)).name == "segmentation"


def test_a_mean_over_classes_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match=r"^absent=zero: no score of this model is a mean over classes"):
        task_of(ChangeModel("tiny", 2, **DECODER), absent="zero")
    assert task_of(SegmentationModel("tiny", 2, **DECODER), absent="zero").absent == "zero"
