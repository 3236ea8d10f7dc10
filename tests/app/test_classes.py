import numpy as np
import pytest

from helpers.served import answered, from_url, noise, png, serving
from unimatch import ClassificationModel, Classifier
from unimatch.app.opened import Opened


@pytest.fixture(scope="module")
def classifier():
    from unimatch.inference.load import Trained, facts_from, facts_values

    model = ClassificationModel("tiny", 12, image_size=32).eval()
    facts = facts_from(facts_values(model, [f"kind {i}" for i in range(12)], ()) | {"inference": {}}, "the test")
    return Classifier(Trained(model, facts), device="cpu")


def test_the_ten_most_probable_classes_are_the_classifiers(classifier):
    photo = noise()
    with serving(Opened(classifier)) as server:
        answer = answered(server, image=png(photo))
    scores = classifier(photo).scores
    best = np.argsort(-scores)[:10]
    assert [found["index"] for found in answer["classes"]] == best.tolist()
    assert [found["confidence"] for found in answer["classes"]] == pytest.approx(100 * scores[best])
    assert from_url(answer["photos"][0]).size == (80, 60)
