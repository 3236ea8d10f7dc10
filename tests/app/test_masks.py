import numpy as np
import pytest

from helpers.served import from_url, noise, png
from unimatch import ChangeModel, DataError, Predictor, SegmentationModel
from unimatch.app.masks import Masks
from unimatch.app.time_limit import TimeLimit

CLASSES = ("background", "road", "car")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(SegmentationModel("tiny", 3, features=8, out_channels=(8,) * 4), classes=CLASSES, device="cpu")


@pytest.fixture(scope="module")
def pairs():
    return Predictor(ChangeModel("tiny", 2, features=8, out_channels=(8,) * 4), device="cpu")


def test_the_answer_is_the_predictors(predictor):
    photo, truth = noise(), np.full((60, 80), 1, np.uint8)
    truth[:20] = 255
    answer = Masks(predictor, TimeLimit(600), {}).answer({"image": png(photo), "truth": png(truth)})
    prediction = predictor(photo, confidence=True)
    shown = np.asarray(from_url(answer["prediction"]))
    assert np.array_equal(shown[..., 0], prediction.mask)
    assert np.abs(shown[..., 1] / 255 - prediction.confidence).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(shown[..., 2], truth)
    assert np.array_equal(np.asarray(from_url(answer["mask"])), prediction.mask)
    assert [found["share"] for found in answer["classes"]] == pytest.approx(
        sorted((100 * (prediction.mask == i).mean() for i in np.unique(prediction.mask)), reverse=True)
    )
    for found in answer["classes"]:
        inside = prediction.mask == found["index"]
        assert found["confidence"] == pytest.approx(100 * prediction.confidence[inside].mean(), rel=1e-4)
    road = prediction.mask[20:] == 1
    assert {"index": 1, "both": int(road.sum()), "either": 40 * 80} in answer["truth"]


def test_without_a_mask_there_is_no_truth(predictor):
    answer = Masks(predictor, TimeLimit(600), {}).answer({"image": png(noise())})
    assert answer["truth"] is None
    assert (np.asarray(from_url(answer["prediction"]))[..., 2] == 255).all()


def test_a_pair_is_predicted_from_both_dates(pairs):
    first, second = noise(1), noise(2)
    model = Masks(pairs, TimeLimit(600), {})
    assert model.parts == ("image", "second", "truth")
    changed = np.zeros((60, 80), np.uint8)
    changed[:30] = 255
    answer = model.answer({"image": png(first), "second": png(second), "truth": png(changed)})
    assert np.array_equal(np.asarray(from_url(answer["mask"])), pairs(np.stack([first, second])).mask)
    assert len(answer["photos"]) == 2
    assert answer["photos"][0] != answer["photos"][1]
    assert np.array_equal(np.asarray(from_url(answer["prediction"]))[..., 2], changed // 255)


def test_dates_of_two_sizes_are_named_by_what_they_are(pairs):
    files = {"image": png(noise(1)), "second": png(noise(2, (30, 30)))}
    with pytest.raises(DataError, match="the second date") as caught:
        Masks(pairs, TimeLimit(600), {}).answer(files)
    assert "/tmp" not in str(caught.value)
