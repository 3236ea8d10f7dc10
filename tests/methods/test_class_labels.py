"""The methods on batches of one class per image: the same code as for masks, against loops over images."""

import copy

import pytest
import torch

from unimatch import FixMatch, Supervised, UniMatchV1, UniMatchV2
from unimatch.methods.losses import cross_entropy
from unimatch.methods.pseudo_quality import PseudoLabelQuality
from unimatch.models.dropout import channel_masks, feature_masks
from unimatch.models.networks import ClassificationModel

CLASSES, LABELED, UNLABELED = 4, 3, 6


def make(kind, **options):
    torch.manual_seed(0)
    model = ClassificationModel("wrn_28_2", CLASSES, image_size=8, options={"blocks": 1, "width": 1})
    torch.nn.init.normal_(model.classifier.weight)  # logits that differ
    if kind is not Supervised:
        options = {"tau": 0.0, **options}
    method = kind(model, freeze_batch_statistics=True, **options)
    for parameter in method.teacher.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape)
    return method


def make_batch(seed=0):
    source = torch.Generator().manual_seed(seed)
    pictures = [torch.randn(UNLABELED, 3, 8, 8, generator=source) for _ in range(3)]
    return {
        "labeled": {
            "image": torch.randn(LABELED, 3, 8, 8, generator=source),
            "label": torch.tensor([2, -1, 0]),  # -1 does not count
            "index": torch.arange(LABELED),
        },
        "unlabeled": {
            **dict(zip(("weak", "strong1", "strong2"), pictures, strict=True)),
            "valid": torch.tensor([True, True, False, True, True, True]),
            "truth": torch.tensor([0, 1, 2, 3, -1, 0]),
            "index": torch.arange(UNLABELED),
        },
    }


def surprise(logits, label):
    return float(-logits.detach().double().softmax(0)[label].log())


def pseudo(teacher, weak):
    found = []
    for image in weak:
        with torch.no_grad():
            p = teacher(image[None])[0].double().softmax(0)
        found.append((int(p.argmax()), float(p.max())))
    return found


def slow_supervised(logits):
    return (surprise(logits[0], 2) + surprise(logits[2], 0)) / 2


def half_confident(method, found):
    """Set the threshold so that half of the pseudo labels pass."""
    ordered = sorted(c for _, c in found)
    method.tau = (ordered[UNLABELED // 2 - 1] + ordered[UNLABELED // 2]) / 2


def slow_consistency(logits, found, valid, tau):
    losses = [surprise(row, q) * (c >= tau) * v for row, (q, c), v in zip(logits, found, valid.tolist(), strict=True)]
    return sum(losses) / int(valid.sum())


def classify(model, features):
    """Each image's logits from its feature (D,), by the definition of a linear layer."""
    return [model.classifier.weight @ feature + model.classifier.bias for feature in features]


@pytest.mark.parametrize("dropout", ["none", "independent", "complementary"])
def test_unimatch_v2_is_its_definition(dropout):
    method = make(UniMatchV2, channel_dropout=dropout)
    student, batch = copy.deepcopy(method.student), make_batch()
    own = batch["unlabeled"]
    found = pseudo(method.teacher.model, own["weak"])
    half_confident(method, found)
    losses = method.losses(batch, torch.Generator().manual_seed(5))
    factors = torch.ones(2 * UNLABELED, student.features)
    if dropout != "none":
        generator = torch.Generator().manual_seed(5)
        complementary = dropout == "complementary"
        masks = channel_masks(UNLABELED, [student.features], complementary=complementary, generator=generator)
        factors = masks[0].flatten(1)
    with torch.no_grad():
        features = torch.cat([student.encode(own[f"strong{k}"])[0].flatten(1) for k in (1, 2)])
        logits = classify(student, features * factors)
        loss_x = slow_supervised(student(batch["labeled"]["image"]))
    views = logits[:UNLABELED], logits[UNLABELED:]
    loss_s = sum(slow_consistency(view, found, own["valid"], method.tau) for view in views) / 2
    assert losses.parts["loss_x"].item() == pytest.approx(loss_x, rel=1e-4)
    assert losses.parts["loss_s"].item() == pytest.approx(loss_s, rel=1e-4)
    assert losses.total.item() == pytest.approx((loss_x + loss_s) / 2, rel=1e-4)
    confident = sum(c >= method.tau and v for (_, c), v in zip(found, own["valid"].tolist(), strict=True))
    assert losses.parts["mask_ratio"].item() == pytest.approx(confident / 5)
    losses.total.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.student.parameters())


def test_fixmatch_is_its_definition():
    method, batch = make(FixMatch), make_batch()
    own = batch["unlabeled"]
    found = pseudo(method.teacher.model, own["weak"])
    half_confident(method, found)
    losses = method.losses(batch, torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss_x = slow_supervised(method.student(batch["labeled"]["image"]))
        loss_s = slow_consistency(method.student(own["strong1"]), found, own["valid"], method.tau)
    assert losses.total.item() == pytest.approx((loss_x + loss_s) / 2, rel=1e-4)


def test_unimatch_v1_is_its_definition():
    method, batch = make(UniMatchV1, cutmix_partner="reversed"), make_batch()
    own = batch["unlabeled"]
    found = pseudo(method.teacher.model, own["weak"])
    half_confident(method, found)
    losses = method.losses(batch, torch.Generator().manual_seed(3))
    masks = feature_masks(UNLABELED, [method.student.features], 0.5, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        dropped = method.student.encode(own["weak"])[0].flatten(1) * masks[0].flatten(1)
        streams = [classify(method.student, dropped), *(method.student(own[f"strong{k}"]) for k in (1, 2))]
        loss_fp, *losses_s = (slow_consistency(stream, found, own["valid"], method.tau) for stream in streams)
        loss_s = sum(losses_s) / 2
        loss_x = slow_supervised(method.student(batch["labeled"]["image"]))
    assert losses.total.item() == pytest.approx((loss_x + (loss_s + loss_fp) / 2) / 2, rel=1e-4)


def test_supervised_counts_labeled_images_only():
    method, batch = make(Supervised), make_batch()
    del batch["unlabeled"]
    total = method.losses(batch, torch.Generator()).total
    assert total.item() == pytest.approx(slow_supervised(method.student(batch["labeled"]["image"])), rel=1e-4)


def test_class_255_is_a_class_where_there_are_more():
    logits = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([255, 999, 0, -1])
    expected = sum(surprise(logits[i], int(target[i])) for i in range(3)) / 3
    assert cross_entropy(logits, target, ignore_index=-1).item() == pytest.approx(expected, rel=1e-5)
    model = ClassificationModel("wrn_28_2", 300, options={"blocks": 1, "width": 1})
    assert Supervised(model).criterion(logits[:, :300], torch.tensor([255, -1, -1, -1])) > 0


def test_pseudo_labels_are_measured_where_the_class_is_known():
    quality = PseudoLabelQuality(3)
    confident, valid = torch.tensor([True, True, False, True]), torch.tensor([True, True, True, True])
    quality.update(torch.tensor([0, 1, 2, 2]), confident, valid, torch.tensor([0, 2, 2, -1]))
    found = quality.compute()
    assert found["share"] == pytest.approx(100 * 2 / 3)
    assert found["accuracy"] == pytest.approx(50)
    assert found["class_share"] == [100, None, 50]


def test_no_second_batch_is_asked_for_where_nothing_is_pasted():
    assert not make(UniMatchV1, cutmix_partner="second_batch").needs.partner
