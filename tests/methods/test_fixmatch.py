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
    slow_mask_ratio,
    slow_pseudo_labels,
    slow_supervised,
    threshold_between,
)
from unimatch import FixMatch


def slow_losses(student, teacher, batch, *, tau, loss_weight):
    """One strong view, no dropout; labelled and strong images in one batch (which BatchNorm sees)."""
    x, y = batch["labeled"]["image"], batch["labeled"]["label"]
    own = batch["unlabeled"]
    q, c = slow_pseudo_labels(teacher, own["weak"])
    logits = student(torch.cat([x, slow_cutmix(own["box1"], own["strong1"])]))
    loss_x = slow_supervised(logits[: len(x)], y)
    q1, c1, v1 = (slow_cutmix(own["box1"], tensor) for tensor in (q, c, own["valid"]))
    loss_s = slow_consistency(logits[len(x) :], q1, c1, v1, tau)
    return {
        "total": (loss_x + loss_weight * loss_s) / 2,
        "loss_x": loss_x,
        "loss_s": loss_s,
        "mask_ratio": slow_mask_ratio(c, own["valid"], tau),
    }


@pytest.mark.parametrize(("images", "validity", "loss_weight"), [(1, "all", 1.0), (3, "partly", 2.0), (2, "none", 1.0)])
def test_losses_and_gradients_equal_a_slow_version(images, validity, loss_weight):
    method, batch = make_semi_supervised(FixMatch, loss_weight=loss_weight), make_batch(images, validity)
    method.tau = threshold_between(slow_pseudo_labels(method.teacher, batch["unlabeled"]["weak"])[1])
    student, teacher = copy.deepcopy(method.student), copy.deepcopy(method.teacher)
    losses = method.losses(batch, torch.Generator())
    expected = slow_losses(student, teacher, batch, tau=method.tau, loss_weight=loss_weight)
    assert_losses_equal(method, losses, expected, student)
    assert_measured_before_cutmix(losses.pseudo, teacher, batch, method.tau)
    assert (expected["loss_s"].item() > 0.05) is (validity != "none")


def test_it_needs_one_strong_view_and_reads_no_other():
    method, batch = make_semi_supervised(FixMatch, tau=0.0), make_batch(2)
    assert method.strong_views == 1
    del batch["unlabeled"]["strong2"], batch["unlabeled"]["box2"]
    assert method.losses(batch, torch.Generator()).total.isfinite()
