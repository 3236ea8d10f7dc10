import copy

import numpy as np
import pytest
import torch

import unimatch
from helpers.fits import (
    STEPS_PER_EPOCH,
    assert_same,
    data_of_many_sizes,
    fit,
    make_data,
    make_method,
    make_trainer,
    predict_every_class,
    snapshot,
)
from helpers.support import at_night
from unimatch import Segmentation, Supervised, UniMatchV2
from unimatch.engines.torch import TorchEngine
from unimatch.images.tensors import normalize


def slow_evaluation(model, source):
    """mIoU and pixel accuracy by a loop over images and classes."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    intersection, union, right, counted = np.zeros(11), np.zeros(11), 0, 0
    model = copy.deepcopy(model).eval()
    for i in range(len(source)):
        image, truth = source.image(i), source.mask(i)
        pixels = torch.from_numpy(((image / 255 - mean) / std).transpose(2, 0, 1)).float()
        with torch.no_grad():
            prediction = model(pixels[None])[0].numpy().argmax(0)
        known = truth != 255
        right, counted = right + (prediction == truth)[known].sum(), counted + known.sum()
        for k in range(11):
            intersection[k] += ((prediction == k) & (truth == k) & known).sum()
            union[k] += (((prediction == k) | (truth == k)) & known).sum()
    present = union > 0
    return 100 * (intersection[present] / union[present]).mean(), 100 * right / counted


@pytest.mark.parametrize(
    ("max_steps", "interval", "expected"),
    [
        at_night(5, 2, [(2, 0), (4, 0), (5, 0)]),
        at_night(4, 2, [(2, 0), (4, 0)]),  # no second evaluation of the same step
        (STEPS_PER_EPOCH + 3, 3, [(3, 0), (6, 0), (9, 1), (11, 1)]),
        at_night(STEPS_PER_EPOCH, 5, [(5, 0), (8, 0)]),
    ],
)
def test_a_run_of_max_steps_ends_with_an_evaluation(max_steps, interval, expected):
    method = make_method()
    trainer = fit(method, max_steps=max_steps, val_check_interval=interval)
    assert trainer.global_step == max_steps
    assert [(evaluation.step, evaluation.epoch) for evaluation in method.evaluations] == expected


def test_with_accumulation_too_a_run_ends_with_an_evaluation_at_its_last_step():
    method = make_method()
    trainer = fit(method, max_steps=3, accumulate_grad_batches=2, val_check_interval=4)
    assert trainer.global_step == 3
    assert [evaluation.step for evaluation in method.evaluations] == [2, 3]


@pytest.mark.nightly
def test_a_run_of_max_epochs_is_evaluated_after_each():
    method = make_method()
    fit(method, max_epochs=2)
    assert [(e.step, e.epoch) for e in method.evaluations] == [(8, 0), (16, 1)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        at_night({"val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 10, 15, 16]),
        at_night({"val_check_interval": 50, "check_val_every_n_epoch": None}, [16]),
        at_night({"val_check_interval": 16, "check_val_every_n_epoch": None}, [16]),  # once
        ({"val_check_interval": 3, "check_val_every_n_epoch": 1}, [3, 6, 11, 14, 16]),  # counted within the epoch
        at_night({"val_check_interval": 0.4, "check_val_every_n_epoch": 1, "limit_train_batches": 5}, [2, 4, 7, 9, 10]),
        at_night({"val_check_interval": 50, "check_val_every_n_epoch": None, "min_epochs": 2, "max_steps": 12}, [12]),
    ],
)
def test_a_run_of_epochs_ends_with_an_evaluation_wherever_the_interval_falls(options, expected):
    method = make_method(Supervised)
    fit(method, **{"max_epochs": 2, "limit_val_batches": 1, **options})
    assert [evaluation.step for evaluation in method.evaluations] == expected


def test_the_sanity_check_is_no_evaluation():
    method = make_method()
    fit(method, max_steps=2, val_check_interval=2, num_sanity_val_steps=2)
    assert [evaluation.step for evaluation in method.evaluations] == [2]


def test_evaluation_equals_a_slow_loop_over_images_of_many_sizes():
    method, data = make_method(), data_of_many_sizes()
    predict_every_class(method.student, seed=1)
    predict_every_class(method.teacher.model, seed=2)
    student, teacher = slow_evaluation(method.student, data.val), slow_evaluation(method.teacher.model, data.val)
    assert abs(student[0] - teacher[0]) > 0.1  # else mixing them up would go unnoticed

    trainer = make_trainer()
    trainer.validate(method, make_data(data=data), verbose=False)
    logged = trainer.callback_metrics
    for name, expected in (("student", student), ("teacher", teacher)):
        scores = method.scores[name]
        assert (scores.miou, scores.pixel_accuracy) == pytest.approx(expected, abs=0.02)
        for key in ("miou", "pixel_accuracy"):
            assert logged[f"validate/{name}/{key}"].item() == pytest.approx(getattr(scores, key), rel=1e-5)


def test_evaluation_in_windows_differs_and_follows_the_rule():
    rule = unimatch.Inference("sliding", window=32)
    whole, sliding = make_method(), make_method(task=Segmentation(rule))
    for method in (whole, sliding):
        predict_every_class(method.teacher.model, seed=2)
        make_trainer().validate(method, make_data(data=data_of_many_sizes()), verbose=False)
    assert sliding.scores["teacher"].miou != whole.scores["teacher"].miou
    source, right, counted = data_of_many_sizes().val, 0, 0
    for i in range(len(source)):
        image = normalize(torch.from_numpy(source.image(i)).permute(2, 0, 1))[None]
        labels = rule.scores(TorchEngine(sliding.teacher.model), image).argmax(1)[0].numpy()
        known = source.mask(i) != 255
        right, counted = right + (labels == source.mask(i))[known].sum(), counted + known.sum()
    assert sliding.scores["teacher"].pixel_accuracy == pytest.approx(100 * right / counted)


def test_evaluation_changes_no_weight_and_no_statistic():
    method = make_method()
    fit(method, max_steps=2)
    before = snapshot(method)
    make_trainer().validate(method, make_data(), verbose=False)
    assert_same(snapshot(method), before)


@pytest.mark.nightly
def test_evaluation_does_not_depend_on_the_workers():
    method, data, found = make_method(), data_of_many_sizes(), []
    for workers in (0, 1, 2):
        make_trainer().validate(method, make_data(workers=workers, data=data), verbose=False)
        found.append(method.scores)
    assert found[0] == found[1] == found[2]


def test_testing_scores_like_validating():
    method, data = make_method(), data_of_many_sizes()
    trainer = make_trainer()
    validated = trainer.validate(method, make_data(data=data), verbose=False)[0]
    tested = trainer.test(method, make_data(data=data), verbose=False)[0]
    for name in ("student/miou", "teacher/miou", "student/pixel_accuracy", "teacher/pixel_accuracy"):
        assert tested[f"test/{name}"] == validated[f"validate/{name}"]


def test_validating_and_testing_leave_the_evaluations_that_choose_the_best_alone(tmp_path):
    method, data = make_method(), data_of_many_sizes()
    fit(method, max_steps=2, val_check_interval=2)
    before, keeps = list(method.evaluations), unimatch.Checkpoints(tmp_path)
    trainer = make_trainer(callbacks=[keeps], enable_checkpointing=True)
    trainer.validate(method, make_data(data=data), verbose=False)
    trainer.test(method, make_data(data=data), verbose=False)
    assert method.evaluations == before
    assert [evaluation.step for evaluation in before] == [2]
    assert not list(tmp_path.rglob("*.ckpt"))
    assert set(trainer.callback_metrics) == {
        f"test/{name}/{key}" for name in ("student", "teacher") for key in ("miou", "pixel_accuracy")
    }


def test_pseudo_labels_are_measured_since_the_evaluation_before():
    class Watched(UniMatchV2):
        def losses(self, batch, generator):
            losses = super().losses(batch, generator)
            self.watched.append((losses.pseudo, batch["unlabeled"]["truth"]))
            return losses

    method = make_method(Watched, tau=0.25, freeze_batch_statistics=True, learning_rate=1e-4)
    predict_every_class(method.student, seed=1)
    predict_every_class(method.teacher.model, seed=2)
    method.watched = []
    fit(method, max_steps=6, val_check_interval=4)
    assert [evaluation.step for evaluation in method.evaluations] == [4, 6]
    for evaluation, steps in zip(method.evaluations, (slice(0, 4), slice(4, 6)), strict=True):
        known = confident = right = 0
        for pseudo, truth in method.watched[steps]:
            counts = pseudo.valid & (truth != 255)
            sure = counts & (pseudo.confidence >= 0.25)
            known, confident = known + int(counts.sum()), confident + int(sure.sum())
            right += int((sure & (pseudo.label == truth)).sum())
        assert 0 < confident < known
        assert evaluation.pseudo["share"] == pytest.approx(100 * confident / known)
        assert evaluation.pseudo["accuracy"] == pytest.approx(100 * right / confident)


def test_labelled_only_measures_no_pseudo_labels():
    method = make_method(Supervised)
    trainer = fit(method, max_steps=2, val_check_interval=2)
    assert method.evaluations[0].pseudo == {}
    assert not any(key.startswith("pseudo_label") for key in trainer.callback_metrics)
    assert trainer.callback_metrics["train/loss"] == trainer.callback_metrics["train/loss_x"]


def test_a_run_whose_time_is_over_does_nothing_more_when_it_is_continued(tmp_path):
    first = fit(make_method(), max_steps=2, val_check_interval=1, max_time={"hours": 1})
    first.save_checkpoint(tmp_path / "last.ckpt")
    again, options = make_method(), {"max_steps": 9, "val_check_interval": 1}
    trainer = fit(again, **options, max_time={"seconds": 0}, resume=tmp_path / "last.ckpt")
    assert (trainer.global_step, len(again.evaluations)) == (2, 2)
    assert fit(make_method(), **options, max_time={"seconds": 0}).global_step == 1  # a result there must be
