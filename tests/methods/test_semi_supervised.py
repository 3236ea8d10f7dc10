import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from helpers.fits import assert_same, fit, make_method, snapshot
from unimatch import ConfigError, FixMatch, SegmentationModel, UniMatchV1, UniMatchV2
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
        {"labeled_first": 1},
        {"labeled_first": -0.1},
        {"labeled_first": float("nan")},
    ],
)
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(ConfigError, match=f"^{next(iter(bad))}="):
        make(**bad)


class Steps(lightning.Callback):
    """Keeps the student after each step, and the names of the losses."""

    def __init__(self):
        self.students, self.losses = [], []

    def on_train_batch_end(self, trainer, pl_module, *rest):
        self.students.append(snapshot(pl_module.student))
        self.losses.append({key: float(v) for key, v in trainer.callback_metrics.items() if key.startswith("train/")})


@pytest.mark.parametrize("kind", [UniMatchV2, UniMatchV1, FixMatch])
def test_the_first_share_trains_on_labelled_images_alone_and_then_both_count(kind, caplog):
    options = {"tau": 0.1, "freeze_batch_statistics": True}
    labeled, both, neither = Steps(), Steps(), Steps()
    with caplog.at_level("INFO", "unimatch"):
        fit(make_method(kind, labeled_first=0.6, **options), max_steps=5, callbacks=[both])
    assert "the first 3 of 5 steps train on labelled images alone" in caplog.text
    fit(make_method(kind, loss_weight=0, **options), max_steps=5, callbacks=[labeled])
    fit(make_method(kind, **options), max_steps=5, callbacks=[neither])
    for step in range(3):
        for key, value in labeled.students[step].items():
            torch.testing.assert_close(both.students[step][key], value, atol=2e-5, rtol=1e-4)
        assert both.losses[step].keys() == {"train/loss", "train/loss_x"}
        assert both.losses[step]["train/loss"] == pytest.approx(both.losses[step]["train/loss_x"] / 2)
    weight = next(key for key in both.students[0] if key.startswith("decoder") and key.endswith("weight"))
    for other in (labeled.students[4], neither.students[4]):
        assert (both.students[4][weight] - other[weight]).abs().max() > 1e-4
    assert {"train/loss_s", "train/mask_ratio"} <= both.losses[3].keys()


@pytest.mark.parametrize("step", [4, 8])
def test_a_run_that_begins_with_labels_alone_resumes_to_the_same_end(tmp_path, step):
    keep = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=4)
    whole, resumed = make_method(labeled_first=0.5), make_method(labeled_first=0.5)
    fit(whole, max_steps=12, enable_checkpointing=True, callbacks=[keep])
    fit(resumed, max_steps=12, resume=tmp_path / f"step={step}.ckpt")
    assert_same(snapshot(resumed), snapshot(whole))
