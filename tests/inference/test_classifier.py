import numpy as np
import pytest
import torch
from PIL import Image

from helpers.support import save_run
from unimatch import Classifier, ConfigError, Inference
from unimatch.engines.model_facts import ModelFacts
from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD
from unimatch.images.tensors import normalize, to_tensor
from unimatch.inference.load import Trained
from unimatch.models.networks import ClassificationModel
from unimatch.tasks.classification import center_crop

NAMES = ("ant", "bee", "fly")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ClassificationModel("wrn_28_2", 3, image_size=8, resize=10, options={"blocks": 1, "width": 1}).eval()


@pytest.fixture(scope="module")
def classifier(model):
    facts = ModelFacts(NAMES, ((0, 0, 0),) * 3, IMAGENET_MEAN, IMAGENET_STD, 1, Inference())
    return Classifier(Trained(model, facts), device="cpu")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, 13, 3), dtype=np.uint8) for height in (9, 11, 20)]


def test_the_most_probable_class_and_its_probability(classifier, model, images):
    for image, found in zip(images, classifier(images), strict=True):
        with torch.no_grad():
            expected = model(center_crop(normalize(to_tensor(image)[None]), 8, 10)).softmax(1)[0]
        torch.testing.assert_close(torch.from_numpy(found.scores), expected)
        assert found.label == int(expected.argmax())
        assert found.name == NAMES[found.label]
        assert found.confidence == pytest.approx(float(expected.max()))


def test_one_image_gives_one_prediction_in_every_form(classifier, images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    forms = [images[0], Image.fromarray(images[0]), to_tensor(images[0]), tmp_path / "a.png", str(tmp_path / "a.png")]
    expected = classifier(images[0])
    for form in forms:
        np.testing.assert_allclose(classifier(form).scores, expected.scores, rtol=1e-6)
    assert classifier([]) == []


def test_a_model_that_gives_masks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"gives masks and no classes of images; use unimatch\.Predictor"):
        Classifier(save_run(tmp_path / "best.ckpt", tmp_path))
