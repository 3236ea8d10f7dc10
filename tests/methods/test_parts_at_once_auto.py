"""``trainer.parts_at_once=auto``."""

import logging
import weakref
from types import SimpleNamespace

import pytest
import torch

import unimatch
from helpers.fits import QUIET
from helpers.support import at_night
from unimatch import SegmentationModel, SemiSupervisedDataModule, Trainer, UniMatchV2
from unimatch.methods import parts_at_once_auto
from unimatch.methods.parts_at_once_auto import divisors, fits, most_that_fit, take_two_steps

DATA = unimatch.data.digits(labeled=6, train=38, val=2, size=32)


def fit(parts_at_once="auto", *, frozen=True):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    method = UniMatchV2(model, tau=0.1, learning_rate=1e-2, freeze_batch_statistics=frozen)
    trainer = Trainer(**QUIET, limit_val_batches=0, global_batch=8, parts_at_once=parts_at_once, max_steps=1)
    trainer.fit(method, datamodule=SemiSupervisedDataModule(DATA, crop=16, batch_size=2, workers=0))
    return method, trainer


def test_without_a_gpu_there_is_one_part_at_a_time(caplog):
    with caplog.at_level(logging.INFO, logger="unimatch"):
        method, trainer = fit()
    assert (method.parts_at_once, trainer.accumulate_grad_batches) == (1, 4)
    assert "trainer.parts_at_once=auto: 1" in caplog.text


def test_where_parts_stay_alone_the_log_says_why(caplog):
    with caplog.at_level(logging.INFO, logger="unimatch"):
        assert fit(frozen=False)[0].parts_at_once == 1
    assert "trainer.parts_at_once=auto: 1, because BatchNorm would normalise" in caplog.text


@pytest.mark.parametrize(("fitting", "most"), [({4, 2}, 4), ({2}, 2), (set(), 1)])
def test_the_most_that_fit_are_taken(monkeypatch, fitting, most):
    tried = []

    def fits(method, trainer, datamodule, part, count):
        tried.append(count)
        assert len(part["labeled"]["image"]) == 2
        return count in fitting

    class Gpu:
        type = "cuda"

    def found(method, trainer):
        device = trainer.strategy.root_device
        monkeypatch.setattr(type(trainer.strategy), "root_device", Gpu(), raising=False)
        monkeypatch.setattr(torch, "tensor", lambda value, **_: value)
        try:
            return most_that_fit(method, trainer)
        finally:
            monkeypatch.undo()
            assert trainer.strategy.root_device == device

    monkeypatch.setattr(parts_at_once_auto, "fits", fits)
    monkeypatch.setattr("unimatch.methods.parts_at_once.most_that_fit", found)
    method, trainer = fit()
    assert (method.parts_at_once, trainer.accumulate_grad_batches) == (most, 4 // most)
    assert tried == [count for count in (4, 2) if count >= max(most, 2)]


@pytest.mark.parametrize(("held", "fitting"), [(80, True), (95, False), at_night(None, False)])
def test_whole_steps_of_a_copy_are_tried(held, fitting, monkeypatch):
    method, trainer = fit(1)
    method.train()  # as setup leaves it
    part = next(iter(trainer.datamodule.train_dataloader()))[0]
    before = {key: value.clone() for key, value in method.state_dict().items()}
    tried, shapes, learnt, freed = [], [], [], []

    def watched(copied, *arguments):
        tried.append(weakref.ref(copied))
        copied.student.encoder.register_forward_pre_hook(lambda module, inputs: shapes.append(len(inputs[0])))
        take_two_steps(copied, *arguments)
        learnt.append(any(not torch.equal(value, before[key]) for key, value in copied.state_dict().items()))
        if held is None:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(parts_at_once_auto, "take_two_steps", watched)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(tried[0]() is None))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: held)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=100))
    assert fits(method, trainer, trainer.datamodule, part, 4) is fitting
    assert shapes.count(4 * (2 + 2 + 2)) == 2  # labelled images and both strong views of all parts, in two steps
    assert learnt == freed == [True]  # the copy is gone before the cache is emptied
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


def test_divisors():
    assert divisors(4) == [4, 2, 1]
    assert divisors(1) == [1]
