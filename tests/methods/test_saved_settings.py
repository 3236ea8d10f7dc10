"""``load_from_checkpoint``: a method with its settings out of a checkpoint."""

import lightning
import numpy as np
import pytest
import torch
from torch import nn

import unimatch
from helpers.fits import assert_same, snapshot
from helpers.support import at_night
from unimatch import ConfigError, FixMatch, SegmentationModel, SemiSupervisedDataModule, UniMatchV2, WeightsError
from unimatch.checkpoints.content import METHOD, Run, write
from unimatch.methods.saved_settings import settings_of
from unimatch.models.descriptions import describe_model


def small(**options):
    return SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8), **options)


def written(path, method):
    """A file with what load_from_checkpoint reads of a checkpoint."""
    checkpoint = {"state_dict": method.state_dict()}
    write(checkpoint, describe_model(method.student))
    write(checkpoint, settings_of(method))
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A method after a training with two evaluations, and its checkpoint."""
    task = unimatch.Segmentation(unimatch.Inference("sliding", window=32), absent="zero")
    method = UniMatchV2(small(), tau=0.25, learning_rate=np.float64(1e-3), ema_decay=0.5, task=task)
    data = unimatch.data.digits(labeled=8, train=24, val=2, size=48)
    trainer = quiet_trainer(max_steps=4, val_check_interval=2, check_val_every_n_epoch=None)
    trainer.fit(method, SemiSupervisedDataModule(data, crop=32, batch_size=2, workers=0))
    path = tmp_path_factory.mktemp("trained") / "trained.ckpt"
    trainer.save_checkpoint(path)
    return method, path, data


def quiet_trainer(**options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return lightning.Trainer(accelerator="cpu", num_sanity_val_steps=0, **quiet, **options)


def test_weights_and_settings_come_back(trained):
    method, path, _ = trained
    again = UniMatchV2.load_from_checkpoint(path)
    for key, value in method.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert (again.tau, again.learning_rate, again.teacher.decay) == (0.25, 1e-3, 0.5)
    assert again.task.inference == method.task.inference
    assert again.task.absent == "zero"
    assert UniMatchV2.load_from_checkpoint(str(path), map_location="cpu", tau=0.75).tau == 0.75
    assert UniMatchV2.load_from_checkpoint(path, map_location="meta").device == torch.device("meta")
    for wrong in (lambda storage, place: storage, {"cuda:0": "cpu"}, "gpu"):
        with pytest.raises(ConfigError, match=r"^map_location=.*must be a device, such as cpu"):
            UniMatchV2.load_from_checkpoint(path, map_location=wrong)


def test_every_setting_of_a_task_comes_back(tmp_path):
    model = unimatch.ChangeModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8))
    task = unimatch.ChangeDetection(absent="zero", ignored="wrong")
    again = UniMatchV2.load_from_checkpoint(written(tmp_path / "x.ckpt", UniMatchV2(model, task=task)))
    assert (again.task.absent, again.task.ignored) == ("zero", "wrong")


def test_a_frozen_encoder_comes_back_as_it_was(tmp_path):
    for options in ({"freeze": True}, {"unlock_after": 7}):
        again = UniMatchV2.load_from_checkpoint(written(tmp_path / "x.ckpt", UniMatchV2(small(**options))))
        assert (again.student.freeze, again.student.unlock_after) == tuple(
            options.get(n, 0) for n in ("freeze", "unlock_after")
        )
        assert not any(parameter.requires_grad for parameter in again.student.encoder.parameters())


def test_a_new_training_starts_at_its_beginning(trained):
    method, path, data = trained
    again = UniMatchV2.load_from_checkpoint(path)
    assert (again.evaluations, again.start, again.evaluated_after) == ([], (0, 0), 0)
    trainer = quiet_trainer(max_steps=1, limit_val_batches=0)
    trainer.fit(again, SemiSupervisedDataModule(data, crop=32, batch_size=2, workers=0))
    assert trainer.global_step == 1
    assert len(method.evaluations) == 2


def test_what_concerns_training_alone_comes_back(tmp_path):
    path = written(tmp_path / "a.ckpt", UniMatchV2(small(freeze=True)))
    again = UniMatchV2.load_from_checkpoint(path)
    assert not any(parameter.requires_grad for parameter in again.student.encoder.parameters())
    assert not again.train().student.encoder.training


def test_a_run_of_before_tells_its_settings_by_its_configuration(trained, tmp_path):
    _, path, _ = trained
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint[METHOD]
    settings = {"_target_": "unimatch.UniMatchV2", "tau": 0.75, "learning_rate": 0.5}
    rule = {"_target_": "unimatch.Inference", "mode": "sliding", "window": 40}
    write(checkpoint, Run(config={"method": settings, "inference": rule, "task": {"absent": "zero"}}))
    torch.save(checkpoint, tmp_path / "old.ckpt")
    again = UniMatchV2.load_from_checkpoint(tmp_path / "old.ckpt")
    assert (again.tau, again.learning_rate) == (0.75, 0.5)
    assert (again.task.inference.window, again.task.absent) == (40, "zero")
    with pytest.raises(ConfigError, match="was written by UniMatchV2"):
        FixMatch.load_from_checkpoint(tmp_path / "old.ckpt")


class Renamed(UniMatchV2):
    """A constructor of its own, and hyperparameters that hold a module."""

    def __init__(self, model, threshold):
        super().__init__(model, tau=threshold)
        self.save_hyperparameters()


class Whole(UniMatchV2):
    """Makes its model itself."""

    def __init__(self, classes=3, more=None):
        super().__init__(SegmentationModel("tiny", classes))


def test_a_subclass_comes_back_by_its_own_arguments(tmp_path):
    method = Renamed(small(), threshold=0.3)
    assert Renamed.load_from_checkpoint(written(tmp_path / "a.ckpt", method)).tau == 0.3
    assert (
        Whole.load_from_checkpoint(written(tmp_path / "b.ckpt", Whole(classes=4, more={"a": [1]}))).student.num_classes
        == 4
    )
    quiet_trainer(max_steps=1).fit(method, plain_batches())
    method.trainer.save_checkpoint(tmp_path / "c.ckpt")
    assert Renamed.load_from_checkpoint(tmp_path / "c.ckpt").tau == 0.3


def plain_batches():
    data = unimatch.data.digits(labeled=4, train=8, val=1, size=48)
    return SemiSupervisedDataModule(data, crop=32, batch_size=2, workers=0)


@pytest.mark.parametrize(
    ("before", "given"),
    [
        ({}, {"thresholds": "reliable"}),
        at_night({"thresholds": "reliable"}, {"thresholds": "fixed"}),
        ({"distribution_alignment": "uniform"}, {"distribution_alignment": "none"}),
        ({"class_weights": [1.0, 2.0, 3.0]}, {"class_weights": None}),
        at_night({"class_weights": [1.0, 2.0, 3.0]}, {"dice": 0.5}),
    ],
)
def test_another_setting_than_before_has_a_state_of_its_own(before, given, tmp_path):
    method = UniMatchV2(SegmentationModel("tiny", 3), **before)
    again = UniMatchV2.load_from_checkpoint(written(tmp_path / "a.ckpt", method), **given)
    assert_same(snapshot(again.student), snapshot(method.student))
    assert again.given == {**method.given, **given, "model": again.given["model"]}


class Scaled(nn.Module):
    """A criterion with a weight of the classes, which is given, and a parameter, which is learnt."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits, labels):
        return self.scale * nn.functional.cross_entropy(logits, labels, self.weight, ignore_index=255)


def test_weights_of_classes_are_those_that_are_given(tmp_path):
    model = SegmentationModel("tiny", 2)
    path = written(tmp_path / "a.ckpt", UniMatchV2(model, class_weights=[1.0, 3.0]))
    assert UniMatchV2.load_from_checkpoint(path).criterion.weight.tolist() == [1, 3]
    assert UniMatchV2.load_from_checkpoint(path, class_weights=[1.0, 9.0]).criterion.weight.tolist() == [1, 9]
    method = UniMatchV2(model, criterion=Scaled([1.0, 3.0]))
    method.criterion.criterion.scale.data.fill_(0.5)
    again = UniMatchV2.load_from_checkpoint(written(tmp_path / "b.ckpt", method), criterion=Scaled([1.0, 9.0]))
    kept = again.criterion.criterion
    assert (kept.weight.tolist(), kept.scale.item()) == ([1, 9], 0.5)


def test_what_cannot_come_back_is_said(trained, tmp_path):
    _, path, _ = trained
    with pytest.raises(ConfigError, match=r"was written by UniMatchV2; call UniMatchV2\.load"):
        FixMatch.load_from_checkpoint(path)
    with pytest.raises(ConfigError, match=r"taw=1: UniMatchV2 has no such argument; did you mean tau"):
        UniMatchV2.load_from_checkpoint(path, taw=1)
    with pytest.raises(WeightsError, match="does not hold the weights of this model"):
        UniMatchV2.load_from_checkpoint(path, model=SegmentationModel("tiny", 11))
    checkpoint = torch.load(path, weights_only=True)
    for broken in ({"name": 1}, {**checkpoint[METHOD], "settings": []}):
        torch.save({**checkpoint, METHOD: broken}, tmp_path / "broken.ckpt")
        with pytest.raises(WeightsError, match="unimatch_method cannot be understood"):
            UniMatchV2.load_from_checkpoint(tmp_path / "broken.ckpt")
