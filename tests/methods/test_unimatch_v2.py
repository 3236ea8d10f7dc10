import copy

import pytest
import torch

from helpers.slow_methods import (
    CLASSES,
    assert_losses_equal,
    assert_measured_before_cutmix,
    assert_same_gradients,
    make_batch,
    make_semi_supervised,
    slow_consistency,
    slow_cutmix,
    slow_decode,
    slow_drop,
    slow_mask_ratio,
    slow_pseudo_labels,
    slow_supervised,
    threshold_between,
)
from helpers.support import at_night
from unimatch import ConfigError, UniMatchV2
from unimatch.models.dropout import channel_masks


def make_method(**options):
    return make_semi_supervised(UniMatchV2, **options)


def slow_losses(
    student,
    teacher,
    batch,
    *,
    tau,
    seed,
    loss_weight=1.0,
    keep_ratio=0.5,
    views=2,
    kind="complementary",
    at="encoder",
    student_labels=False,
):
    """Section 1 of the specification, by loops over images, pixels and channels."""
    x, y = batch["labeled"]["image"], batch["labeled"]["label"]
    own, other = batch["unlabeled"], batch.get("partner")
    labeler = copy.deepcopy(student).eval() if student_labels else teacher
    q, c = slow_pseudo_labels(labeler, own["weak"])
    v = own["valid"]
    q_other, c_other = slow_pseudo_labels(labeler, other["weak"]) if other else (None, None)
    loss_x = slow_supervised(student(x), y)

    strong = [
        slow_cutmix(own[f"box{k}"], own[f"strong{k}"], other and other[f"strong{k}"]) for k in range(1, views + 1)
    ]
    levels = student.encode(torch.cat(strong))
    generator = torch.Generator().manual_seed(seed)
    if kind != "none":
        widths = [level.shape[1] for level in levels] if at == "encoder" else [student.features]
        masks = channel_masks(
            len(x),
            widths,
            views=views,
            complementary=kind == "complementary",
            keep_ratio=keep_ratio,
            generator=generator,
        )
        if at == "encoder":
            levels = [slow_drop(level, mask) for level, mask in zip(levels, masks, strict=True)]
        else:
            classifier = student.decoder.classify[2]
            hook = classifier.register_forward_pre_hook(lambda module, inputs: (slow_drop(inputs[0], masks[0]),))
    logits = slow_decode(student, levels).split(len(x))
    if at == "classifier":
        hook.remove()

    loss_s = 0.0
    for k in range(1, views + 1):
        box = own[f"box{k}"]
        qk, ck = slow_cutmix(box, q, q_other), slow_cutmix(box, c, c_other)
        vk = slow_cutmix(box, v, other and other["valid"])
        loss_s = loss_s + slow_consistency(logits[k - 1], qk, ck, vk, tau) / views
    return {
        "total": (loss_x + loss_weight * loss_s) / 2,
        "loss_x": loss_x,
        "loss_s": loss_s,
        "mask_ratio": slow_mask_ratio(c, v, tau),
    }, (q, c)


@pytest.mark.parametrize(
    ("images", "validity", "loss_weight", "keep_ratio"),
    [
        (1, "all", 1.0, 0.5),
        (2, "all", 1.0, 0.5),
        (3, "partly", 1.0, 0.5),
        (2, "none", 1.0, 0.5),
        (4, "partly", 3.0, 0.0),
    ],
)
def test_losses_and_gradients_equal_a_slow_version(images, validity, loss_weight, keep_ratio):
    method = make_method(loss_weight=loss_weight, keep_ratio=keep_ratio)
    batch = make_batch(images, validity)
    method.tau = threshold_between(slow_pseudo_labels(method.teacher, batch["unlabeled"]["weak"])[1])
    slow_student, slow_teacher = copy.deepcopy(method.student), copy.deepcopy(method.teacher)

    losses = method.losses(batch, torch.Generator().manual_seed(5))
    expected, (q, _) = slow_losses(
        slow_student, slow_teacher, batch, tau=method.tau, loss_weight=loss_weight, keep_ratio=keep_ratio, seed=5
    )
    assert_losses_equal(method, losses, expected, slow_student)
    assert_measured_before_cutmix(losses.pseudo, slow_teacher, batch, method.tau)

    # The scenes are such that every part of the method matters.
    assert (expected["loss_s"].item() > 0.05) is (validity != "none")
    assert validity == "none" or 0.2 < expected["mask_ratio"].item() < 0.8
    assert len(q.unique()) == CLASSES


@pytest.mark.parametrize(
    ("options", "slow"),
    [
        ({"strong_views": 1, "channel_dropout": "independent"}, {"views": 1, "kind": "independent"}),
        at_night({"channel_dropout": "none"}, {"kind": "none"}),
        at_night({"channel_dropout": "independent"}, {"kind": "independent"}),
        ({"dropout_at": "classifier"}, {"at": "classifier"}),
        ({"pseudo_labels_from": "student"}, {"student_labels": True}),
        at_night({"cutmix_partner": "second_batch"}, {}),
    ],
    ids=["figure4a", "figure4b", "figure4c", "table12", "table10", "second_batch"],
)
def test_ablations_equal_a_slow_version(options, slow):
    method = make_method(**options)
    batch = make_batch(3, "partly", partner="cutmix_partner" in options)
    labeler = copy.deepcopy(method.student).eval() if slow.get("student_labels") else method.teacher
    weak = torch.cat([batch[part]["weak"] for part in ("unlabeled", "partner") if part in batch])
    method.tau = threshold_between(slow_pseudo_labels(labeler, weak)[1])
    slow_student, slow_teacher = copy.deepcopy(method.student), copy.deepcopy(method.teacher)
    losses = method.losses(batch, torch.Generator().manual_seed(5))
    expected, _ = slow_losses(slow_student, slow_teacher, batch, tau=method.tau, seed=5, **slow)
    assert_losses_equal(method, losses, expected, slow_student)

    # The option is no option if the step is that of the paper's method.
    published = slow_losses(
        slow_student, slow_teacher, {k: v for k, v in batch.items() if k != "partner"}, tau=method.tau, seed=5
    )
    assert published[0]["loss_s"].item() != pytest.approx(expected["loss_s"].item(), rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"strong_views": 1, "channel_dropout": "none"}, {"dropout_at": "classifier"}])
def test_one_pass_over_labelled_and_strong_views_equals_two(options, monkeypatch):
    # Where no image's features depend on the rest of its batch: frozen BatchNorm, transformers.
    method, batch = make_method(freeze_batch_statistics=True, tau=0.3, **options), make_batch(3, "partly")
    again = copy.deepcopy(method)
    passes = []
    for each, apart in ((method, False), (again, True)):
        encoder = each.student.encoder
        encoder.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
        assert not each.uses_batch_statistics
        if apart:
            monkeypatch.setattr(UniMatchV2, "uses_batch_statistics", True)
        each.total = each.losses(batch, torch.Generator().manual_seed(0)).total
        each.total.backward()
    views = method.strong_views
    assert passes == [3 + 3 * views, 3, 3 * views]
    torch.testing.assert_close(method.total, again.total, rtol=1e-6, atol=0)
    assert_same_gradients(method.student, again.student)


def test_images_normalised_together_are_passed_by_kind():
    method = make_method()
    assert method.uses_batch_statistics
    method.eval()
    assert not method.uses_batch_statistics


def test_pseudo_labels_from_the_student_leave_it_training_and_its_statistics_alone():
    method, batch = make_method(pseudo_labels_from="student", freeze_batch_statistics=True), make_batch(2)
    method.train()
    before = {key: value.clone() for key, value in method.student.named_buffers()}
    modes = [module.training for module in method.modules()]
    method.pseudo_labels(batch["unlabeled"]["weak"])
    assert modes == [module.training for module in method.modules()]
    assert all(torch.equal(value, before[key]) for key, value in method.student.named_buffers())


def test_the_batch_is_left_as_it_is():
    method, batch, untouched = make_method(tau=0.5), make_batch(3), make_batch(3)
    method.losses(batch, torch.Generator().manual_seed(0))
    for part, fields in untouched.items():
        for name, value in fields.items():
            assert torch.equal(batch[part][name], value), name


def test_truth_of_unlabelled_images_changes_nothing():
    values = []
    for truth in (255, 0):
        method, batch = make_method(tau=0.5), make_batch(3)
        batch["unlabeled"]["truth"].fill_(truth)
        values.append(method.losses(batch, torch.Generator().manual_seed(0)).total)
    assert torch.equal(*values)


def test_the_step_is_a_function_of_the_generator():
    values = [
        make_method(tau=0.0).losses(make_batch(3), torch.Generator().manual_seed(seed)).total for seed in (0, 0, 1)
    ]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_pseudo_labels_come_from_the_teacher_in_eval_mode():
    method, batch = make_method(tau=0.5), make_batch(3)
    before = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.normal_()
    method.train()
    pseudo = method.losses(batch, torch.Generator().manual_seed(0)).pseudo
    assert torch.equal(pseudo.label, slow_pseudo_labels(method.teacher, batch["unlabeled"]["weak"])[0])
    assert all(torch.equal(value, before[key]) for key, value in method.teacher.state_dict().items())


@pytest.mark.parametrize(("tau", "validity"), [(1.0, "all"), (0.5, "none"), (0.5, "all")])
def test_every_parameter_of_the_student_and_none_of_the_teacher_gets_a_gradient(tau, validity):
    # Also where no pixel is confident or valid: distributed training does not search for unused parameters.
    method = make_method(tau=tau)
    losses = method.losses(make_batch(2, validity), torch.Generator().manual_seed(0))
    losses.total.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.student.parameters())
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    assert not losses.pseudo.confidence.requires_grad


def test_the_defaults_are_the_published_ones():
    method = make_method()
    assert (method.tau, method.loss_weight, method.keep_ratio) == (0.95, 1.0, 0.5)
    assert (method.learning_rate, method.decoder_multiplier, method.weight_decay) == (5e-6, 40.0, 0.01)
    assert method.teacher.decay == 0.996
    assert method.uses_unlabeled


@pytest.mark.parametrize(
    "option",
    [
        {"tau": -0.1},
        {"tau": 1.1},
        {"keep_ratio": -0.5},
        {"keep_ratio": 1.5},
        {"strong_views": 3},
        {"channel_dropout": "half"},
        {"channel_dropout": "complementary", "strong_views": 1},
        {"dropout_at": "decoder"},
        {"pseudo_labels_from": "ema"},
        {"cutmix_partner": "next"},
        {"criterion": "focal"},
    ],
)
def test_numbers_that_cannot_be_are_refused(option):
    with pytest.raises(ConfigError, match=f"^{next(iter(option))}="):
        make_method(**option)
