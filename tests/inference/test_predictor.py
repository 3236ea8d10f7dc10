import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.support import make_camvid, save_run
from unimatch import ConfigError, DataError, Inference, Predictor, Segmentation, UniMatchV2, WeightsError, load_model
from unimatch.engines.torch import TorchEngine
from unimatch.images.tensors import normalize


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run") / "best.ckpt", "nowhere")


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint, device="cpu")


def random_image(height=40, width=52, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected_probabilities(checkpoint, image, which="teacher"):
    pixels = normalize(torch.from_numpy(image).permute(2, 0, 1))[None]
    with torch.no_grad():
        return load_model(checkpoint, which)(pixels).softmax(1)[0].numpy()


def test_mask_confidence_and_scores_are_the_models(checkpoint, predictor):
    image = random_image()
    expected = expected_probabilities(checkpoint, image)
    prediction = predictor(image, confidence=True, scores=True)
    np.testing.assert_allclose(prediction.scores, expected, atol=1e-5)
    np.testing.assert_allclose(prediction.confidence, expected.max(0), atol=1e-5)
    assert prediction.mask.dtype == np.uint8
    assert (prediction.mask == expected.argmax(0)).mean() > 0.999
    assert np.array_equal(predictor(image).mask, prediction.mask)
    assert len(np.unique(prediction.mask)) >= 3
    assert predictor(image).confidence is None
    assert predictor(image).scores is None


def test_the_teacher_is_the_default_and_the_student_can_be_asked_for(checkpoint, predictor):
    image = random_image()
    student = Predictor(checkpoint, model="student", device="cpu")(image)
    assert (student.mask == expected_probabilities(checkpoint, image, "student").argmax(0)).mean() > 0.999
    assert not np.array_equal(student.mask, predictor(image).mask)


def test_every_kind_of_image_gives_the_same_mask(predictor, tmp_path):
    image = random_image()
    Image.fromarray(image).save(tmp_path / "image.png")
    mask = predictor(image).mask
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    kinds = [Image.fromarray(image), tensor, tmp_path / "image.png", str(tmp_path / "image.png"), image[:, :].copy()]
    kinds += [Image.fromarray(image).convert("RGBA")]
    for kind in kinds:
        assert np.array_equal(predictor(kind).mask, mask)
    gray = image[..., 0]
    assert np.array_equal(predictor(gray).mask, predictor(np.stack([gray] * 3, axis=-1)).mask)


def test_several_images_of_several_sizes_keep_their_order(predictor):
    images = [random_image(40 + 8 * (i % 2), 52, seed=i) for i in range(5)]
    alone = [predictor(image).mask for image in images]
    for batch_size in (1, 2, 8):
        together = predictor(images, batch_size=batch_size)
        assert [p.mask.shape for p in together] == [mask.shape for mask in alone]
        # Rounding may differ with the batch where two classes are equally likely.
        assert all((p.mask == mask).mean() > 0.999 for p, mask in zip(together, alone, strict=True))
    assert len(predictor(torch.from_numpy(np.stack(images[::2])).permute(0, 3, 1, 2))) == 3
    assert predictor([]) == []


def test_a_threshold_marks_unsure_pixels(predictor):
    image = random_image()
    free = predictor(image, confidence=True)
    threshold = float(np.median(free.confidence))
    sure = predictor(image, threshold=threshold)
    assert np.array_equal(sure.mask, np.where(free.confidence < threshold, 255, free.mask))
    assert 0.4 < (sure.mask == 255).mean() < 0.6
    assert sure.areas()[255] == (sure.mask == 255).sum()
    assert sum(sure.areas().values()) == sure.mask.size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"threshold": number}, "must be a probability, 0 to 1") for number in (95, -0.1, float("nan"), True, "0.9")),
        *(({"batch_size": number}, "must be ") for number in (0, -1, 2.5)),
    ],
)
def test_options_without_a_meaning_are_refused(options, message, predictor):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))}=.*{message}"):
        predictor([random_image()], **options)


def test_no_pixel_of_a_change_is_left_open(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "facts", replace(predictor.facts, dates=2))
    with pytest.raises(ConfigError, match=r"threshold=0.5: 255 means changed in labels"):
        predictor(np.stack([random_image()] * 2), threshold=0.5)


@pytest.mark.parametrize(
    "rule", [Inference("sliding", window=24), Inference(scales=(0.5, 1.0), flip=True), Inference(window=24, large=500)]
)
def test_the_rule_is_that_of_evaluation(checkpoint, rule):
    image = random_image()
    predictor = Predictor(checkpoint, inference=rule, device="cpu")
    pixels = normalize(torch.from_numpy(image).permute(2, 0, 1))[None]
    expected = rule.scores(TorchEngine(load_model(checkpoint)), pixels)[0].numpy()
    prediction = predictor(image, scores=True, confidence=True)
    np.testing.assert_allclose(prediction.scores, expected, atol=1e-5)
    np.testing.assert_allclose(prediction.confidence, expected.max(0), atol=1e-5)
    assert (prediction.mask == expected.argmax(0)).mean() > 0.999
    assert np.array_equal(predictor([image, image])[1].mask, prediction.mask)


def test_the_run_says_how_images_are_predicted_and_large_ones_are_seen_in_windows(tmp_path):
    path = save_run(tmp_path / "run.ckpt", "nowhere")
    assert Predictor(path, device="cpu").inference == Inference(large=4_000_000)
    checkpoint = torch.load(path, weights_only=True)
    settings = {"_target_": "unimatch.Inference", "mode": "sliding", "window": 24, "stride": 8, "large": 100}
    checkpoint["unimatch_run"]["config"]["inference"] = settings
    torch.save(checkpoint, path)
    assert Predictor(path, device="cpu").inference == Inference("sliding", window=24, stride=8, large=100)


def test_confidences_as_levels_are_what_is_stored(predictor):
    images = [random_image(seed=i) for i in range(2)]
    floats = predictor.predict_batch(images, confidence=True)
    for plain, level in zip(floats, predictor.predict_batch(images, confidence=True, levels=True), strict=True):
        assert level.confidence.dtype == np.uint8
        assert np.abs(level.confidence - 255 * plain.confidence).max() <= 0.501


@pytest.mark.nightly
def test_a_predictor_needs_nothing_of_what_trains(checkpoint):
    """It starts faster, and takes 150 MB less."""
    code = (
        f"import sys; from unimatch import Predictor; Predictor({str(checkpoint)!r}, device='cpu')\n"
        "print([name for name in ('lightning', 'torchmetrics', 'sklearn', 'unimatch.data') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_overlay_mixes_colours_and_leaves_unsure_pixels(predictor):
    image = random_image()
    prediction = predictor(image, threshold=0.5)
    overlay = prediction.overlay(image, opacity=0.25)
    unsure = prediction.mask == 255
    assert unsure.any()
    assert np.array_equal(overlay[unsure], image[unsure])
    colors = np.array(prediction.facts.colors)[prediction.mask[~unsure]]
    assert np.abs(overlay[~unsure] - (0.75 * image[~unsure] + 0.25 * colors)).max() <= 1


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        torch.zeros(3, 4, 4),
    ],
)
def test_what_is_no_image_is_refused(predictor, bad):
    with pytest.raises(DataError, match="uint8"):
        predictor(bad)


def test_bad_settings_are_refused(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="precision=half"):
        Predictor(checkpoint, precision="half")
    with pytest.raises(ConfigError, match="device=tpu9"):
        Predictor(checkpoint, device="tpu9")
    with pytest.raises(ConfigError, match=r"^model=mentor: must be one of teacher, student"):
        Predictor(checkpoint, model="mentor")
    with pytest.raises(WeightsError, match="no such checkpoint"):
        Predictor(tmp_path / "none.ckpt")


def test_bfloat16_agrees_on_nearly_all_pixels(checkpoint, predictor, tmp_path):
    image = np.asarray(Image.open(make_camvid(tmp_path / "c", val=1) / "val" / "000.jpg"))
    assert (Predictor(checkpoint, device="cpu", precision="bfloat16")(image).mask == predictor(image).mask).mean() > 0.9


def test_a_model_or_a_method_is_predicted_with_as_it_is(checkpoint, predictor):
    image, model = random_image(), load_model(checkpoint)
    method = UniMatchV2(load_model(checkpoint, "student"), task=Segmentation(Inference("sliding", window=32)))
    method.teacher.model.load_state_dict(model.state_dict())
    before = {key: value.clone() for key, value in method.state_dict().items()}
    found = Predictor(model, device="cpu", classes=predictor.classes)
    assert np.array_equal(found(image).mask, predictor(image).mask)
    assert found.classes == predictor.classes
    assert Predictor(model, device="cpu").classes == tuple(map(str, range(11)))
    for which in ("teacher", "student"):
        expected = Predictor(checkpoint, model=which, device="cpu", inference=Inference("sliding", window=32))
        mask = Predictor(method, model=which, device="cpu")(image).mask
        assert (mask == expected(image).mask).mean() > 0.999
    assert method.student.training
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again(image).mask, found(image).mask)


def test_what_is_no_model_and_names_that_do_not_fit_are_refused(checkpoint):
    with pytest.raises(ConfigError, match="path: must be a file, a model or a method, not a Linear"):
        Predictor(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="2 names, but the model has 11 classes"):
        Predictor(load_model(checkpoint), classes=("a", "b"))
    with pytest.raises(ConfigError, match="a file names its own"):
        Predictor(checkpoint, classes=("a", "b"))


@pytest.fixture(scope="module")
def voters(checkpoint, tmp_path_factory):
    """Three models that differ: student, teacher, and one between them."""
    models = [load_model(checkpoint, which) for which in ("teacher", "student", "teacher")]
    with torch.no_grad():
        for parameter, other in zip(models[2].parameters(), models[1].parameters(), strict=True):
            parameter.lerp_(other, 0.4)
    return models


@pytest.mark.parametrize(
    "rule",
    [Inference("sliding", window=32, stride=20), pytest.param(Inference(flip=True), marks=pytest.mark.nightly)],
)
def test_several_models_predict_their_mean_and_tell_where_they_disagree(voters, rule):
    image = random_image()
    own = [Predictor(model, device="cpu", inference=rule)(image, scores=True) for model in voters]
    several = Predictor(voters, device="cpu", inference=rule)
    found = several(image, scores=True, confidence=True, disagreement=True)
    mean = np.mean([each.scores for each in own], axis=0)
    np.testing.assert_allclose(found.scores, mean, atol=1e-5)
    np.testing.assert_allclose(found.confidence, mean.max(0), atol=1e-5)
    assert (found.mask == mean.argmax(0)).mean() > 0.999
    votes = sum((each.scores.argmax(0) == found.mask).astype(int) for each in own)
    np.testing.assert_allclose(found.disagreement, 1 - votes / 3, atol=1e-6)
    assert len(np.unique(votes)) > 1
    assert np.array_equal(several(image).mask, found.mask)  # with nothing asked for beside the mask
    limit = float(np.median(found.confidence))
    sure = several(image, votes=2, threshold=limit).mask
    assert np.array_equal(sure, np.where((votes >= 2) & (found.confidence >= limit), found.mask, 255))
    assert 0 < (sure == 255).mean() < 1
    levels = several.predict_batch([image, image], disagreement=True, levels=True)[1].disagreement
    assert levels.dtype == np.uint8
    assert np.abs(levels / 255 - found.disagreement).max() < 1 / 255


def test_one_model_in_a_list_is_that_model(checkpoint, predictor):
    image = random_image()
    alone = Predictor([checkpoint], device="cpu")
    assert np.array_equal(alone(image, scores=True).scores, predictor(image, scores=True).scores)
    assert alone(image).disagreement is None


def test_votes_that_cannot_be_are_refused(checkpoint, predictor, voters):
    image = random_image()
    for options, message in (
        ({"votes": 1}, "votes=1: one model has none"),
        ({"disagreement": True}, "disagreement: one"),
    ):
        with pytest.raises(ConfigError, match=message):
            predictor(image, **options)
    for votes in (0, 4, 1.5, True, "2"):
        with pytest.raises(
            ConfigError, match=rf"votes={votes}: must be a whole number between 1 and that of models, 3"
        ):
            Predictor(voters, device="cpu")(image, votes=votes)
    with pytest.raises(ConfigError, match="no model is named"):
        Predictor([])


def test_models_do_not_disagree_where_there_is_no_data(voters):
    several = Predictor(voters, device="cpu")
    image = random_image()
    bands = replace(several.facts.bands, no_data=0)
    several.facts = replace(several.facts, bands=bands)
    image[:20] = 0
    found = several(image, disagreement=True)
    assert (found.mask[:20] == 255).all()
    assert not found.disagreement[:20].any()
    assert found.disagreement[20:].any()
