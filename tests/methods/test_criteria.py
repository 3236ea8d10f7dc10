import math

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from helpers.slow_methods import make_batch, make_semi_supervised
from unimatch import (
    ConfigError,
    FixMatch,
    SegmentationModel,
    SemiSupervisedDataModule,
    Supervised,
    UniMatchV1,
    UniMatchV2,
    load_model,
)
from unimatch.data import digits
from unimatch.methods.criteria import balanced_weights
from unimatch.methods.losses import dice_loss
from unimatch.models.networks import ClassificationModel

METHODS = (Supervised, FixMatch, UniMatchV1, UniMatchV2)


def generator():
    return torch.Generator().manual_seed(3)


def loss_x(kind, **options):
    torch.manual_seed(0)
    batch = make_batch(4, partner=True)
    if kind is Supervised:
        batch.pop("unlabeled")
    return make_semi_supervised(kind, **options).losses(batch, generator()).parts["loss_x"].item()


@pytest.mark.parametrize("kind", METHODS)
def test_every_methods_labelled_loss_is_weighed_and_has_dice_beside_it(kind):
    """Against the logits of the labelled images, pixel by pixel."""
    batch, seen = make_batch(4, partner=True), []
    if kind is Supervised:
        batch.pop("unlabeled")
    weights = [0.5, 2.0, 0.0, 1.0]
    method = make_semi_supervised(kind, class_weights=weights, dice=0.3)
    inner = method.criterion
    inner.register_forward_pre_hook(lambda module, given: seen.append(given))
    found = method.losses(batch, generator()).parts["loss_x"]
    [(coarse, target)] = seen
    logits = torch.nn.functional.interpolate(coarse, target.shape[1:], mode="bilinear", align_corners=True)
    p = logits.detach().double().softmax(1).movedim(1, -1)
    total = share = 0.0
    for probabilities, label in zip(p.reshape(-1, 4).tolist(), target.flatten().tolist(), strict=True):
        if label != 255:
            total += weights[label] * -math.log(probabilities[label])
            share += weights[label]
    expected = total / share + 0.3 * slow_dice(p, target)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def slow_dice(p, target):
    """1 - the mean Dice of the classes in the labels: (N.., C) probabilities, and labels."""
    sums = [[0.0, 0.0, 0] for _ in range(p.shape[-1])]  # overlap, predicted, labelled
    for probabilities, label in zip(p.reshape(-1, p.shape[-1]).tolist(), target.flatten().tolist(), strict=True):
        if label == 255:
            continue
        for class_id, probability in enumerate(probabilities):
            sums[class_id][1] += probability
        sums[label][0] += probabilities[label]
        sums[label][2] += 1
    each = [2 * overlap / (predicted + labelled) for overlap, predicted, labelled in sums if labelled]
    return 1 - sum(each) / len(each) if each else 0.0


@given(st.integers(0, 10**6), st.lists(st.sampled_from([0, 1, 2, 255]), min_size=24, max_size=24))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_dice_equals_a_loop_over_pixels_whatever_classes_are_absent(seed, labels):
    logits = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(seed)) * 3
    target = torch.tensor(labels).view(2, 3, 4)
    expected = slow_dice(logits.double().softmax(1).movedim(1, -1), target)
    assert dice_loss(logits, target).item() == pytest.approx(expected, abs=1e-5)


def test_dice_is_of_the_whole_batch_and_its_gradient_reaches_the_coarse_logits_alone_where_pixels_count():
    logits = torch.zeros(2, 2, 2, 2, requires_grad=True)
    target = torch.zeros(2, 4, 4, dtype=torch.int64)
    target[1] = 255
    dice_loss(logits, target).backward()
    assert logits.grad[0].any()
    assert not logits.grad[1].any()
    # Class 0 has 16 pixels at 1/2: 2 * 8 / (8 + 16); class 1 is in no label.
    assert dice_loss(logits, target).item() == pytest.approx(1 - 16 / 24)
    # Per image, the mean would be that of 1 - 2/3 and 1 - 2/3; in one batch each class predicts half of both.
    target[1] = 1
    assert dice_loss(logits, target).item() == pytest.approx(1 - 2 * 8 / (16 + 16))
    nothing = dice_loss(logits, torch.full((2, 4, 4), 255))
    logits.grad = None
    nothing.backward()
    assert nothing.item() == 0
    assert not logits.grad.any()


def test_a_perfect_prediction_has_no_dice_loss_and_low_precision_is_computed_in_float32():
    target = torch.tensor([[[0, 1], [1, 255]]])
    logits = 40 * torch.nn.functional.one_hot(target % 255, 3).movedim(-1, 1).to(torch.bfloat16)
    found = dice_loss(logits, target)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(0, abs=1e-6)


def test_ohem_keeps_the_same_pixels_whatever_the_weights():
    kept = {"criterion": "ohem", "ohem_min_kept": 50}
    plain = loss_x(Supervised, **kept)
    assert loss_x(Supervised, class_weights=[3.0] * 4, **kept) == pytest.approx(plain, rel=1e-6)
    assert loss_x(Supervised, class_weights=[3.0, 1, 1, 1], **kept) != pytest.approx(plain, rel=1e-3)


def test_defaults_are_the_plain_criterion_to_the_bit():
    assert loss_x(UniMatchV2) == loss_x(UniMatchV2, class_weights=None, dice=0.0)
    assert "criterion" not in " ".join(make_semi_supervised(UniMatchV2).state_dict())


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_balanced_weights_equal_their_formula(pixels):
    shown = sorted(count for count in pixels if count)
    middle = np.median(shown) if shown else 1
    expected = [math.sqrt(middle / count) if count else 1.0 for count in pixels]
    np.testing.assert_allclose(balanced_weights(pixels), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": "rare"}, "class_weights=rare: must be balanced or a list of numbers"),
        ({"class_weights": [1.0, 2.0]}, "class_weights: 2 numbers, but there are 4 classes"),
        ({"class_weights": [1.0, -1, 1, 1]}, "at least 0"),
        ({"class_weights": ["1", 1, 1, 1]}, "must be balanced or a list of numbers"),
        ({"class_weights": [0, 0, 0, 0]}, "not all of them 0"),
        ({"class_weights": [math.nan, 1, 1, 1]}, "at least 0"),
        ({"class_weights": "balanced", "criterion": torch.nn.CrossEntropyLoss(ignore_index=255)}, "your own weighs"),
        ({"dice": -0.5}, r"dice=-0\.5: must be a number, at least 0"),
        ({"dice": math.nan}, "dice=nan"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_semi_supervised(Supervised, **options)


def test_classification_has_weights_and_no_dice():
    model = ClassificationModel("wrn_28_2", 4, image_size=8, options={"blocks": 1, "width": 1})
    with pytest.raises(ConfigError, match=r"dice=1\.0: Dice compares areas, and an image has one class here"):
        Supervised(model, dice=1.0)
    method = Supervised(model, class_weights=[1.0, 2.0, 3.0, 4.0])
    logits, target = torch.randn(3, 4), torch.tensor([2, -1, 0])
    expected = torch.nn.functional.cross_entropy(logits, target, torch.arange(1.0, 5.0), ignore_index=-1)
    torch.testing.assert_close(method.criterion(logits, target), expected)


def fit(method, data, **options):
    trainer = lightning.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(method, **data, **options)
    return trainer


def test_balanced_weights_are_counted_before_training_and_kept_in_the_checkpoint(tmp_path):
    scenes = digits(labeled=3, train=6, val=1, size=48)
    method = Supervised(SegmentationModel("tiny", 11, features=8), class_weights="balanced", dice=0.5)
    data = {"datamodule": SemiSupervisedDataModule(scenes, crop=48, batch_size=2, workers=0)}
    trainer = fit(method, data)
    pixels = np.bincount(np.concatenate([scenes.labeled.mask(i).ravel() for i in range(3)]), minlength=256)[:11]
    stored = method.criterion.criterion.weight
    np.testing.assert_allclose(stored, balanced_weights(pixels), rtol=1e-6)
    assert len(stored.unique()) > 2
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = Supervised.load_from_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(again.criterion.criterion.weight, stored)
    assert again.criterion.dice == 0.5
    loader = DataLoader([], batch_size=1)
    with pytest.raises(ConfigError, match=r"class_weights=balanced: only a data module .* give a number for each"):
        fit(again, {"train_dataloaders": loader})


@pytest.mark.nightly
@pytest.mark.parametrize("method", ["supervised", "fixmatch", "unimatch_v1", "unimatch_v2"])
@pytest.mark.parametrize("dataset", ["digits", "change_demo"])
def test_the_options_train_with_every_method_in_both_tasks_from_the_command(run_command, method, dataset):
    small = {"digits": ["dataset.train=24", "dataset.val=2", "datamodule.crop=28"], "change_demo": []}
    run = run_command(
        f"dataset={dataset}", f"method={method}", *small[dataset], "dataset.labeled=4", "method.class_weights=balanced",
        "method.dice=0.5", "datamodule.rare_class_temperature=0.05", "datamodule.workers=0", "trainer.max_steps=2",
        "trainer.limit_val_batches=1",
    )  # fmt: skip
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert len(state["criterion.criterion.weight"].unique()) > 1
    load_model(run / "checkpoints" / "last.ckpt")  # a model has no weights of its loss
