import copy
import logging
import subprocess
import sys
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint

import unimatch
from helpers.slow_methods import make_batch, make_semi_supervised, slow_pseudo_labels
from helpers.support import at_night, rest_nightly
from unimatch import ConfigError, FixMatch, SegmentationModel, SemiSupervisedDataModule, UniMatchV1, UniMatchV2
from unimatch.images.tensors import normalize, to_tensor
from unimatch.methods.losses import consistency_loss
from unimatch.methods.reliability import (
    CANDIDATES,
    NEVER,
    Reliability,
    candidate_thresholds,
    class_thresholds,
    poor_classes,
)

CLASSES, TAU = 3, 0.6

confidences = st.one_of(
    st.floats(0, 1, width=32), st.sampled_from(candidate_thresholds(TAU).tolist()), st.just(1.0), st.just(TAU)
)
labelled_pixels = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), confidences, st.one_of(st.integers(0, CLASSES - 1), st.just(255))),
    min_size=1,
    max_size=25,
)


def counted(*batches):
    metric = Reliability(CLASSES, TAU)
    for pixels in batches:
        label, confidence, truth = (torch.tensor(column).view(1, 1, -1) for column in zip(*pixels, strict=True))
        metric.update(label, confidence, truth)
    return metric.compute()


def slow_reliability(pixels):
    """By loops over pixels, classes and candidates."""
    tau, candidates = np.float32(TAU), candidate_thresholds(TAU).numpy()
    known = [(q, np.float32(c), y) for q, c, y in pixels if y != 255]

    def percent(hits):
        return 100 * sum(hits) / len(hits) if hits else None

    def threshold(k):
        mine = [(c, q == y) for q, c, y in known if q == k and c >= tau]
        if not mine:
            return float(tau)
        for t in candidates:
            passed = [right for c, right in mine if c >= t]
            if passed and sum(passed) / len(passed) >= TAU:
                return float(t)
        return None

    return {
        "reliability": percent([q == y for q, c, y in known if c >= tau]),
        "coverage": percent([c >= tau for _, c, _ in known]),
        "class_reliability": [percent([y == k for q, c, y in known if q == k and c >= tau]) for k in range(CLASSES)],
        "class_coverage": [percent([c >= tau for _, c, y in known if y == k]) for k in range(CLASSES)],
        "class_threshold": [threshold(k) for k in range(CLASSES)],
    }


@given(labelled_pixels, st.integers(1, 9))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_reliability_and_thresholds_equal_a_loop_at_any_partition(pixels, size):
    expected = slow_reliability(pixels)
    for found in (counted(pixels), counted(*(pixels[i : i + size] for i in range(0, len(pixels), size)))):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if key == "class_threshold":  # exactly, once they are float32 again
                assert [v if v is None else np.float32(v) for v in found[key]] == value
            else:
                assert found[key] == pytest.approx(value, abs=1e-9), key


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=CANDIDATES), st.floats(0, 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_threshold_is_the_smallest_with_which_enough_are_right(counts, tau):
    right, wrong = np.zeros((2, CANDIDATES), int)
    for place, (r, w) in enumerate(counts):
        right[place * CANDIDATES // len(counts)], wrong[place * CANDIDATES // len(counts)] = r, w
    found = float(class_thresholds(torch.tensor(right)[None], torch.tensor(wrong)[None], tau)[0])
    candidates = candidate_thresholds(tau).tolist()
    enough = [
        t for i, t in enumerate(candidates) if (n := right[i:].sum() + wrong[i:].sum()) and right[i:].sum() / n >= tau
    ]
    assert found == (candidates[0] if not sum(map(sum, counts)) else min(enough, default=NEVER))
    assert found >= np.float32(tau)


def test_candidates_begin_at_tau_and_never_fall():
    for tau in (0.0, 0.5, 0.95, 0.999, 1.0):
        found = candidate_thresholds(tau)
        assert found[0] == torch.tensor(tau)
        assert (found.diff() >= 0).all()
        assert found[-1] <= 1


def test_nineteen_of_twenty_are_enough_for_095():
    metric = Reliability(2, 0.95)
    metric.update(torch.ones(1, 20).long(), torch.full((1, 20), 0.97), torch.arange(20)[None].clamp(max=1))
    found = metric.compute()
    assert found["class_reliability"] == [None, 95]
    assert poor_classes(found, 0.95)[0] == []
    assert found["class_threshold"] == [float(f"{np.float32(0.95):.9g}")] * 2


def test_images_that_another_process_counts_do_not_count():
    metric = Reliability(CLASSES, TAU)
    ones = torch.ones(1, 4, dtype=torch.int64)
    metric.update(ones, ones.float(), ones)
    before = metric.compute()
    metric.update(ones, ones.float(), ones - 1, counts=False)
    assert metric.compute() == before
    assert before["class_threshold"][0] == pytest.approx(TAU)  # without a pixel: nothing speaks against tau


@pytest.mark.parametrize(
    ("kind", "labels_from"),
    [(UniMatchV2, "teacher"), at_night(UniMatchV1, "student"), at_night(FixMatch, "teacher")],
)
def test_each_class_has_its_threshold_in_every_method(kind, labels_from):
    method = make_semi_supervised(
        kind, thresholds="reliable", tau=0.3, pseudo_labels_from=labels_from, cutmix_partner="reversed"
    )
    batch = make_batch(4)
    own = torch.tensor([0.3, NEVER, 0.9, 0.45])
    method.thresholds.copy_(own)
    losses = method.losses(batch, torch.Generator().manual_seed(0))
    q, c = losses.pseudo.label, losses.pseudo.confidence
    passed = sum(float(c[i]) >= float(own[q[i]]) for i in np.ndindex(*q.shape))
    assert float(losses.parts["mask_ratio"]) == pytest.approx(passed / q.numel())
    assert 0 < passed < (c >= 0.3).sum()
    # And in the loss: where no label counts, the unlabelled images weigh nothing.
    method.thresholds.fill_(NEVER)
    losses = method.losses(batch, torch.Generator().manual_seed(0))
    assert losses.parts["loss_s"] == losses.parts.get("loss_fp", 0) == 0
    method.thresholds.fill_(0.3)
    same = make_semi_supervised(kind, tau=0.3, pseudo_labels_from=labels_from, cutmix_partner="reversed")
    found, expected = (m.losses(batch, torch.Generator().manual_seed(0)).total for m in (method, same))
    if not (kind is UniMatchV1 or labels_from == "student"):  # there the passes before have moved the statistics
        assert torch.equal(found, expected)
    assert "thresholds" not in same.state_dict()


def test_the_loss_of_labels_with_thresholds_of_their_own_equals_a_loop():
    source = torch.Generator().manual_seed(0)
    logits, confidence = torch.randn(2, 4, 5, 6, generator=source), torch.rand(2, 5, 6, generator=source)
    label = torch.randint(4, (2, 5, 6), generator=source)
    own = torch.tensor([0.2, 0.5, NEVER, 0.9])
    total = 0.0
    for b, i, j in np.ndindex(2, 5, 6):
        k = label[b, i, j]
        if confidence[b, i, j] >= own[k]:
            total += float(logits[b, :, i, j].logsumexp(0) - logits[b, k, i, j])
    found = consistency_loss(logits, label, confidence, torch.ones(2, 5, 6, dtype=torch.bool), own[label])
    assert float(found) == pytest.approx(total / 60, rel=1e-5)


def make_method(**options):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    classifier = model.decoder.classify[2]
    with torch.no_grad():  # each class is predicted somewhere
        logits = copy.deepcopy(model).eval()(torch.randn(2, 3, 32, 32)).transpose(0, 1).flatten(1)  # (C, N)
        mean, spread = logits.mean(1), logits.std(1)
        classifier.weight.div_(spread.view(-1, 1, 1, 1))
        classifier.bias.sub_(mean).div_(spread)
    return UniMatchV2(model, **{"learning_rate": 1e-3, "decoder_multiplier": 1.0, "ema_decay": 0.5, **options})


def fit(method, *, resume=None, labeled=6, held_out=3, **options):
    trainer = lightning.Trainer(
        **{
            "accelerator": "cpu", "logger": False, "enable_checkpointing": "callbacks" in options,
            "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
            "max_steps": 5, "val_check_interval": 2, "check_val_every_n_epoch": None, **options,
        }
    )  # fmt: skip
    data = unimatch.data.digits(labeled=labeled, train=30, val=2, size=32)
    module = SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=0, held_out=held_out)
    trainer.fit(method, module, ckpt_path=resume)
    return trainer, module


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose pseudo labels are sometimes wrong, with checkpoints between its evaluations and at them."""
    folder = tmp_path_factory.mktemp("reliability")
    keep = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=True)
    threshold = 0.85
    method = make_method(tau=threshold, thresholds="reliable")
    trainer, module = fit(method, callbacks=[keep])
    return folder, threshold, method, trainer, module


def test_what_is_measured_is_the_teachers_prediction_of_the_held_out_images(trained):
    _, threshold, method, trainer, module = trained
    pixels = []
    held_out = module.data.held_out
    for index in range(len(held_out)):
        labels, confidence = slow_pseudo_labels(method.teacher.model, normalize(to_tensor(held_out.image(index))[None]))
        truth = held_out.mask(index).ravel().tolist()
        pixels += zip(labels.flatten().tolist(), confidence.flatten().tolist(), truth, strict=True)
    found = method.evaluations[-1].pseudo
    sure = [(q, y) for q, c, y in pixels if c >= threshold]
    assert 0 < len(sure) < len(pixels)
    assert found["coverage"] == pytest.approx(100 * len(sure) / len(pixels))
    assert found["reliability"] == pytest.approx(100 * sum(q == y for q, y in sure) / len(sure))
    assert float(trainer.callback_metrics["pseudo_label/reliability"]) == pytest.approx(found["reliability"])
    used = [NEVER if value is None else value for value in found["class_threshold"]]
    assert torch.equal(method.thresholds, torch.tensor(used))
    assert any(threshold < value < NEVER for value in used), used


@pytest.mark.parametrize("step", rest_nightly([3, 4], [3]))
def test_a_resumed_run_has_the_same_thresholds_and_ends_with_the_same_bits(trained, step):
    folder, threshold, uninterrupted, *_ = trained
    method = make_method(tau=threshold, thresholds="reliable")
    fit(method, resume=folder / f"step={step}.ckpt")
    assert [e.pseudo for e in method.evaluations] == [e.pseudo for e in uninterrupted.evaluations]
    for key, value in uninterrupted.state_dict().items():
        assert torch.equal(method.state_dict()[key], value), key


def test_another_fit_begins_with_tau(trained):
    folder, threshold, method, trainer, _ = trained
    again = UniMatchV2.load_from_checkpoint(folder / "step=5.ckpt")
    found = method.evaluations[1].pseudo["class_threshold"]  # the checkpoint was written before the last evaluation
    assert again.thresholds.tolist() == torch.tensor([NEVER if t is None else t for t in found]).tolist()
    again.trainer = trainer
    again.setup("fit")
    assert again.thresholds.tolist() == [np.float32(threshold)] * 11


def test_reliable_thresholds_without_held_out_images_are_refused():
    with pytest.raises(ConfigError, match=r"thresholds=reliable: .* set datamodule\.held_out=auto"):
        fit(make_method(thresholds="reliable"), held_out=None)
    with pytest.raises(ConfigError, match="thresholds=on: must be one of fixed, reliable"):
        make_method(thresholds="on")


def test_confident_and_wrong_is_warned_of_once(caplog):
    with caplog.at_level(logging.WARNING, "unimatch"):
        method = make_method(tau=0.05, learning_rate=1e-30)  # every label passes, and nothing changes
        fit(method)
    said = [record.getMessage() for record in caplog.records if "held-out" in record.getMessage()]
    assert len(method.evaluations) == 3
    assert len(said) == 1
    assert said[0].startswith("pseudo labels on 3 held-out images: with a confidence of at least 0.05, ")


RANKS = """
import sys
import torch
sys.path[:0] = sys.argv[3:]
from test_reliability import fit, make_method

# Nothing is learned, so that any number of processes measures the same model.
method = make_method(tau=0.8, thresholds="reliable", learning_rate=1e-30, freeze_batch_statistics=True)
trainer, _ = fit(method, devices=int(sys.argv[2]), strategy="ddp" if sys.argv[2] != "1" else "auto", max_steps=2)
torch.save([method.evaluations[-1].pseudo, method.thresholds], f"{sys.argv[1]}/{sys.argv[2]}_{trainer.global_rank}.pt")
"""


@pytest.mark.nightly
def test_two_processes_measure_as_one_does(tmp_path):
    (tmp_path / "train.py").write_text(RANKS)
    here = Path(__file__).parent
    for processes in ("1", "2"):
        command = [sys.executable, "train.py", str(tmp_path), processes, str(here), str(here.parent)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    one, *two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1"))
    for found, thresholds in two:
        keys = [key for key in one[0] if "reliability" in key or "coverage" in key or "threshold" in key]
        assert {key: found[key] for key in keys} == {key: one[0][key] for key in keys}
        assert torch.equal(thresholds, one[1])
