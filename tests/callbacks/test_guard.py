"""Numbers that are not finite stop a run or are left out exactly; a run that learns nothing is warned of."""

from itertools import pairwise
from types import SimpleNamespace

import lightning
import pytest
import torch

import unimatch
from helpers.support import at_night
from unimatch.callbacks import CheckpointFiles, Checkpoints, Guard
from unimatch.callbacks import guard as guard_module
from unimatch.checkpoints.files import read_checkpoint
from unimatch.errors import ConfigError, NumericalError


class Poisoned(unimatch.UniMatchV2):
    """Some batches hold an image that is not finite: it spoils loss, gradients and running statistics."""

    bad = ()  # (epoch, batch) of them

    def losses(self, batch, generator):
        if (self.current_epoch, self.batch_number) in self.bad:
            batch["labeled"]["image"][0, 0, 0, 0] = float("nan")
        return super().losses(batch, generator)

    def training_step(self, batch, batch_idx):
        self.batch_number = batch_idx
        return super().training_step(batch, batch_idx)


class Look(lightning.Callback):
    """The whole state after each optimizer step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *arguments):
        weights = {key: value.clone() for key, value in pl_module.state_dict().items()}
        moments = [value.clone() for state in trainer.optimizers[0].state.values() for value in state.values()]
        self.seen.append((weights, moments))


def fit(folder, guard, *, bad=(), max_steps=6, tau=0.1, callbacks=(), method=None, **options):
    torch.manual_seed(0)
    model = unimatch.SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    method = method or Poisoned(model, tau=tau, learning_rate=1e-3, decoder_multiplier=1, ema_decay=0.5)
    method.bad = bad
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        val_check_interval=options.pop("val_check_interval", 100),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=[guard, *callbacks, Checkpoints(folder, every_n_steps=1)],
        plugins=[CheckpointFiles()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    data = unimatch.data.digits(labeled=4, train=12, val=2, size=32)
    trainer.fit(method, unimatch.SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=0))
    return method, trainer


def same(first, second):
    weights = all(torch.equal(first[0][key], value) for key, value in second[0].items())
    return weights and all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))


def test_a_run_stops_at_the_step_with_its_batch_saved_and_the_last_checkpoint_sound(tmp_path):
    with pytest.raises(NumericalError, match=r"step 5: the loss or a gradient is not finite.*nonfinite.*learning_rate"):
        fit(tmp_path, Guard(tmp_path), bad=[(1, 1)], max_steps=9)
    saved = torch.load(tmp_path / "nonfinite" / "step=5_process=0.pt", weights_only=True)
    (batch,) = saved["batches"]
    assert (saved["step"], batch["epoch"], batch["batch"]) == (5, 1, 1)
    assert torch.isnan(batch["tensors"]["labeled"]["image"]).sum() == 1
    assert set(batch["tensors"]["unlabeled"]) >= {"weak", "strong1", "strong2", "valid", "box1", "box2", "index"}
    assert all(len(names) == 2 and all(isinstance(name, str) for name in names) for names in batch["names"].values())
    checkpoint = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == 5  # steps 0 to 4
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


def test_a_skipped_step_changes_nothing_but_the_count(tmp_path):
    look, guard = Look(), Guard(tmp_path, on_nan="skip")
    _, trainer = fit(tmp_path, guard, bad=[(0, 2), (1, 1)], callbacks=[look])
    assert trainer.global_step == 6
    changed = [not same(after, before) for before, after in pairwise(look.seen)]
    assert changed == [True, False, True, True, False]
    assert all(value.isfinite().all() for value in look.seen[-1][0].values())
    assert guard.skipped == 2
    assert trainer.callback_metrics["train/skipped"] == 2
    state = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["callbacks"]["Guard"]
    resumed = Guard(tmp_path)
    resumed.load_state_dict(state)
    assert resumed.skipped == 2


def test_with_accumulation_the_whole_step_is_skipped(tmp_path):
    look, guard = Look(), Guard(tmp_path, on_nan="skip")
    fit(tmp_path, guard, bad=[(0, 2)], callbacks=[look], max_steps=4, accumulate_grad_batches=2)
    after = look.seen[1::2]  # every second batch ends a step
    assert [not same(b, a) for a, b in pairwise(after)] == [False, True, True]
    assert guard.skipped == 1


@pytest.mark.nightly
def test_skipping_many_in_a_row_is_no_help(tmp_path, monkeypatch):
    monkeypatch.setattr(guard_module, "MOST_SKIPPED_IN_A_ROW", 3)
    with pytest.raises(NumericalError, match="3 steps in a row"):
        fit(tmp_path, Guard(tmp_path, on_nan="skip"), bad=[(0, 1), (0, 2), (0, 3), (1, 0)], max_steps=9)
    guard = Guard(tmp_path, on_nan="skip")
    fit(tmp_path, guard, bad=[(0, 0), (0, 1), (0, 3), (1, 0)], max_steps=9)
    assert guard.skipped == 4


@pytest.mark.nightly
def test_the_guard_changes_no_bit(tmp_path):
    looks = [Look() for _ in range(3)]
    for look, guard in zip(looks, (lightning.Callback(), Guard(tmp_path), Guard(tmp_path, on_nan="skip")), strict=True):
        fit(tmp_path, guard, callbacks=[look], max_steps=3)
    assert same(looks[0].seen[-1], looks[1].seen[-1])
    assert same(looks[0].seen[-1], looks[2].seen[-1])


@pytest.mark.parametrize(("tau", "warned"), [(1.0, True), at_night(0.0, False)])
def test_pseudo_labels_that_are_never_confident_are_warned_of_once(tau, warned, tmp_path, caplog):
    fit(tmp_path, Guard(tmp_path, idle_steps=3), tau=tau, max_steps=8)
    assert caplog.text.count("no pseudo label has been confident since step 1") == int(warned)
    assert ("method.tau too high" in caplog.text) is warned


@pytest.mark.parametrize("collapsed", [True, at_night(False)])
def test_a_teacher_that_predicts_one_class_is_warned_of_at_its_second_evaluation(collapsed, tmp_path, caplog):
    torch.manual_seed(0)
    model = unimatch.SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    method = Poisoned(model, tau=0.1, learning_rate=1e-12, decoder_multiplier=1, ema_decay=0.5)
    with torch.no_grad():
        for part in (method.student, method.teacher.model):
            classify = part.decoder.classify[2]
            classify.weight.normal_().mul_(0 if collapsed else 100)
            classify.bias.zero_()[3] = float(collapsed)
    fit(tmp_path, Guard(tmp_path), method=method, max_steps=6, val_check_interval=2)
    assert caplog.text.count("at step 4 the teacher predicts class 3 for every pixel") == int(collapsed)
    assert caplog.text.count("for every pixel") == int(collapsed)


def test_a_classifier_that_predicts_one_class_is_told_of_images(tmp_path, monkeypatch, caplog):
    model = unimatch.ClassificationModel("wrn_28_2", 3, image_size=8, options={"blocks": 1, "width": 1})
    method, guard = unimatch.Supervised(model), Guard(tmp_path)
    method.counts = {"teacher": {"confusion": torch.tensor([[0, 2, 0], [0, 1, 0], [0, 0, 0]])}}
    monkeypatch.setattr(guard_module, "evaluates_training", lambda trainer: True)
    for step in (2, 4):
        guard.on_validation_end(SimpleNamespace(global_step=step, is_global_zero=True), method)
    assert "at step 4 the teacher predicts class 1 for every image." in caplog.text
    assert "mask" not in caplog.text


def test_settings_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^idle_steps=-1: must be at least 1"):
        Guard(tmp_path, idle_steps=-1)
    with pytest.raises(ConfigError, match=r"^on_nan=ignore: must be one of stop, skip"):
        Guard(tmp_path, on_nan="ignore")
