import pytest
import torch

from unimatch import ConfigError, SegmentationModel, UniMatchV2
from unimatch.augment.cutmix import cutmix
from unimatch.methods.losses import consistency_loss
from unimatch.methods.semi_supervised import strong_images


def make(**options):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", 4, features=8, out_channels=(8, 8, 8, 8))
    return UniMatchV2(model, learning_rate=1e-3, decoder_multiplier=1, **options).eval()


def unlabeled(seed):
    generator = torch.Generator().manual_seed(seed)
    images = {key: torch.randn(3, 3, 28, 28, generator=generator) for key in ("weak", "strong1", "strong2")}
    boxes = torch.tensor([[4, 5, 14, 20], [0, 0, 0, 0], [10, 2, 28, 9]])
    return {**images, "valid": torch.rand(3, 28, 28, generator=generator) > 0.1, "box1": boxes, "box2": boxes.flip(0)}


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_pseudo_labels_are_the_most_probable_classes_of_the_model_that_labels(who):
    method = make(pseudo_labels_from=who)
    w = unlabeled(0)["weak"]
    with torch.no_grad():
        for parameter in method.teacher.model.parameters():
            parameter.mul_(1.5)
        model = method.teacher.model if who == "teacher" else method.student
        c, q = model(w).softmax(1).max(1)
    label, confidence = method.pseudo_labels(w)
    torch.testing.assert_close(confidence, c)
    assert (label == q).float().mean() > 0.999


@pytest.mark.parametrize("partner", ["reversed", "second_batch"])
def test_boxes_move_images_labels_confidences_and_padding_together(partner):
    method = make(cutmix_partner=partner)
    batch = {"unlabeled": unlabeled(0), "partner": unlabeled(1)}
    own, second = batch["unlabeled"], batch["partner"]
    q, c = method.pseudo_labels(own["weak"])
    other = method.partner_labels(batch)
    assert (other is None) == (partner == "reversed")
    for k, view in enumerate(method.cutmixed(batch, q, c, other), start=1):
        pasted = {} if other is None else {"partner": (second[f"strong{k}"], *other, second["valid"])}
        expected = cutmix(own[f"box{k}"], own[f"strong{k}"], q, c, own["valid"], **pasted)
        for found, wanted in zip((view.image, view.label, view.confidence, view.valid), expected, strict=True):
            assert torch.equal(found, wanted)


def test_the_loss_is_the_mean_over_the_strong_views():
    method = make(tau=0.3)
    batch = {"unlabeled": unlabeled(0)}
    views = method.cutmixed(batch, *method.pseudo_labels(batch["unlabeled"]["weak"]), None)
    logits = [torch.randn(3, 4, 28, 28, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    each = [
        consistency_loss(f, view.label, view.confidence, view.valid, 0.3) for f, view in zip(logits, views, strict=True)
    ]
    torch.testing.assert_close(method.consistency(logits, views), (each[0] + each[1]) / 2)


def test_there_are_as_many_strong_views_as_asked_for():
    batch = unlabeled(0)
    assert [len(strong_images(batch, count)) for count in (1, 2)] == [1, 2]
    del batch["box1"]
    assert strong_images(batch, 1)[0][1] is None


@pytest.mark.parametrize(
    "bad",
    [
        {"tau": 1.1},
        {"strong_views": 3},
        {"pseudo_labels_from": "nobody"},
        {"cutmix_partner": "none"},
        {"distribution_alignment": "some"},
    ],
)
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(ConfigError, match=f"^{next(iter(bad))}="):
        make(**bad)
