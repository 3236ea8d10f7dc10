import copy

import pytest
import torch

from helpers.slow_methods import (
    assert_losses_equal,
    assert_measured_before_cutmix,
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
from unimatch import UniMatchV1
from unimatch.models.dropout import feature_masks


def slow_losses(student, teacher, batch, *, tau, loss_weight, from_student, seed):
    """``L = (L_x + .25 L_s1 + .25 L_s2 + .5 L_fp) / 2``."""
    x, y = batch["labeled"]["image"], batch["labeled"]["label"]
    own, other = batch["unlabeled"], batch.get("partner")
    v = own["valid"]
    labeler = copy.deepcopy(student).eval()
    levels = student.encode(torch.cat([x, own["weak"]]))
    masks = feature_masks(
        len(x), [level.shape[1] for level in levels], 0.5, generator=torch.Generator().manual_seed(seed)
    )
    f_x = slow_decode(student, [level[: len(x)] for level in levels])
    f_w = slow_decode(student, [level[len(x) :] for level in levels])
    dropped = [slow_drop(level[len(x) :], mask) for level, mask in zip(levels, masks, strict=True)]
    f_fp = slow_decode(student, dropped)
    q, c = slow_pseudo_labels(teacher, own["weak"])
    if from_student:  # the student's own prediction in this pass, its BatchNorm seeing the batch
        c, q = f_w.detach().double().softmax(1).max(1)
    q_other, c_other = (
        slow_pseudo_labels(labeler if from_student else teacher, other["weak"]) if other else (None, None)
    )
    strong = torch.cat([slow_cutmix(own[f"box{k}"], own[f"strong{k}"], other and other[f"strong{k}"]) for k in (1, 2)])
    logits = student(strong)
    parts = []
    for k in (1, 2):
        box = own[f"box{k}"]
        qk, ck = slow_cutmix(box, q, q_other), slow_cutmix(box, c, c_other)
        vk = slow_cutmix(box, v, other and other["valid"])
        parts.append(slow_consistency(logits[(k - 1) * len(x) : k * len(x)], qk, ck, vk, tau))
    loss_x, loss_fp = slow_supervised(f_x, y), slow_consistency(f_fp, q, c, v, tau)
    return {
        "total": (loss_x + loss_weight * (0.25 * parts[0] + 0.25 * parts[1] + 0.5 * loss_fp)) / 2,
        "loss_x": loss_x,
        "loss_s": (parts[0] + parts[1]) / 2,
        "loss_fp": loss_fp,
        "mask_ratio": slow_mask_ratio(c, v, tau),
    }


@pytest.mark.parametrize(
    ("images", "validity", "loss_weight", "source", "partner"),
    [
        (2, "all", 1.0, "teacher", "second_batch"),
        (3, "partly", 2.0, "teacher", "reversed"),
        (2, "partly", 1.0, "student", "second_batch"),
    ],
)
def test_losses_and_gradients_equal_a_slow_version(images, validity, loss_weight, source, partner):
    method = make_semi_supervised(
        UniMatchV1, loss_weight=loss_weight, pseudo_labels_from=source, cutmix_partner=partner
    )
    batch = make_batch(images, validity, partner=partner == "second_batch")
    if source == "teacher":
        confidence = slow_pseudo_labels(method.teacher, batch["unlabeled"]["weak"])[1]
    else:  # the student's own, its BatchNorm seeing the batch
        together = torch.cat([batch["labeled"]["image"], batch["unlabeled"]["weak"]])
        confidence = copy.deepcopy(method.student)(together)[images:].detach().softmax(1).max(1).values
    if partner == "second_batch":
        labeler = method.teacher if source == "teacher" else copy.deepcopy(method.student).eval()
        confidence = torch.cat([confidence, slow_pseudo_labels(labeler, batch["partner"]["weak"])[1]])
    method.tau = threshold_between(confidence)
    student, teacher = copy.deepcopy(method.student), copy.deepcopy(method.teacher)
    losses = method.losses(batch, torch.Generator().manual_seed(3))
    expected = slow_losses(
        student,
        teacher,
        batch,
        tau=method.tau,
        loss_weight=loss_weight,
        from_student=source == "student",
        seed=3,
    )
    assert_losses_equal(method, losses, expected, student)
    if source == "teacher":
        assert_measured_before_cutmix(losses.pseudo, teacher, batch, method.tau)
    assert expected["loss_s"].item() > 0.05
    assert expected["loss_fp"].item() > 0.05


def test_it_asks_for_a_second_batch_by_default_and_needs_none_otherwise():
    assert make_semi_supervised(UniMatchV1).uses_partner
    assert not make_semi_supervised(UniMatchV1, cutmix_partner="reversed").uses_partner
