"""``trainer.global_batch``: the same step on any number of processes."""

import math
import os
import subprocess
import sys

import lightning
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Timer
from omegaconf import OmegaConf

import unimatch
from helpers.fits import QUIET
from helpers.support import rest_nightly
from unimatch import ConfigError, SegmentationModel, SemiSupervisedDataModule, Trainer, UniMatchV2
from unimatch.data.loading.samplers import TrainSampler
from unimatch.trainer import check_settings


def make_method(**options):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    return UniMatchV2(model, tau=0.1, learning_rate=1e-2, decoder_multiplier=2.0, ema_decay=0.5, **options)


def make_data():
    data = unimatch.data.digits(labeled=4, train=28, val=2, size=32)  # 24 unlabelled images
    return SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=0)


def train(method=None, *, resume=None, **options):
    trainer = Trainer(**{**QUIET, "global_batch": 8, "limit_val_batches": 0, **options})
    method = method or make_method()
    trainer.fit(method, make_data(), ckpt_path=resume)
    return method, trainer


class Steps(lightning.Callback):
    """Counts of batches, optimizer steps, teacher updates and evaluations, and the learning rates."""

    def __init__(self):
        self.batches, self.rates, self.evaluated, self.updates = 0, [], [], 0

    def on_fit_start(self, trainer, pl_module):
        update = pl_module.teacher.update

        def counted(*arguments):
            self.updates += 1
            update(*arguments)

        pl_module.teacher.update = counted

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches += 1

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_validation_end(self, trainer, pl_module):
        self.evaluated.append(trainer.global_step)


@given(
    st.integers(1, 60), st.integers(1, 4), st.sampled_from([(4, 1), (2, 2), (1, 4)]), st.integers(0, 5), st.booleans()
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_part_holds_the_same_samples_at_any_number_of_processes(length, batch_size, shape, epoch, resumed):
    def parts(world, turns):
        """(step, part) -> its samples."""
        found = {}
        for rank in range(world):
            sampler = TrainSampler(
                length, batch_size, seed=3, stream="unlabeled", parts=turns, num_replicas=world, rank=rank
            )
            sampler.set_epoch(epoch)
            keys = list(sampler)
            assert len(keys) == len(sampler)
            for i in range(len(keys) // batch_size):
                step, turn = divmod(i, turns)
                found[step, turn * world + rank] = keys[i * batch_size : (i + 1) * batch_size]
        return found

    found = parts(*shape)
    assert found == parts(4, 1)
    assert len(found) == -(-length // 4) // batch_size * 4  # as many steps as on four processes


def test_steps_schedules_evaluations_and_the_teacher_count_optimizer_steps():
    steps = Steps()
    _, trainer = train(
        callbacks=[steps], max_epochs=2, val_check_interval=1, check_val_every_n_epoch=None, limit_val_batches=1
    )
    # 24 unlabelled images are 3 steps of 4 parts of 2.
    assert (trainer.accumulate_grad_batches, trainer.global_step, steps.batches, steps.updates) == (4, 6, 24, 6)
    assert steps.evaluated == [1, 2, 3, 4, 5, 6]
    expected = [(1 - max(step - 1, 0) / 6) ** 0.9 * 1e-2 for step in range(6)]
    assert steps.rates == pytest.approx(expected)
    steps = Steps()
    assert train(callbacks=[steps], max_steps=4)[1].global_step == 4
    assert steps.batches == 16


class Save(lightning.Callback):
    def __init__(self, path):
        self.path = path

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 2 and not self.path.exists():
            trainer.save_checkpoint(self.path)


@pytest.mark.nightly
def test_a_run_is_resumed_exactly(tmp_path):
    whole, _ = train(max_steps=5, callbacks=[Save(tmp_path / "step2.ckpt")])
    resumed, _ = train(max_steps=5, resume=tmp_path / "step2.ckpt")
    expected = whole.state_dict()
    assert [key for key, value in resumed.state_dict().items() if not torch.equal(value, expected[key])] == []


@pytest.mark.parametrize("global_batch", [0, 3, 7])
def test_a_batch_that_the_processes_cannot_share_is_refused(global_batch):
    with pytest.raises(ConfigError, match=rf"^global_batch={global_batch}: must be a multiple of 2"):
        train(max_steps=1, global_batch=global_batch)


def test_two_ways_to_say_it_are_refused():
    with pytest.raises(ConfigError, match="give one of the two"):
        Trainer(global_batch=8, accumulate_grad_batches=2)


def test_a_step_larger_than_an_epoch_is_refused():
    with pytest.raises(ConfigError, match=r"trainer\.global_batch=26: an epoch of 24 images"):
        train(max_steps=1, global_batch=26)


@pytest.mark.nightly
def test_the_learning_rate_is_scaled_only_when_asked_and_that_is_said(caplog):
    for reference, factor, said in (
        (None, 1, "the learning rate is the same for any number of them, see method.reference_batch"),
        (16, 0.5, "multiplied by 8 / 16 = 0.5"),
        (4, 2, "multiplied by 8 / 4 = 2"),
    ):
        caplog.clear()
        steps = Steps()
        with caplog.at_level("INFO", logger="unimatch"):
            train(make_method(reference_batch=reference), callbacks=[steps], max_steps=1)
        assert steps.rates == [pytest.approx(factor * 1e-2)]
        assert "an optimizer step has 8 labelled images (2 at once, 4 times before the step); " in caplog.text
        assert said in caplog.text
    with pytest.raises(ConfigError, match="reference_batch=0"):
        train(make_method(reference_batch=0), max_steps=1)


SAME = """
import copy, sys, torch, lightning, unimatch

def vector(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])

class Keep(lightning.Callback):
    def __init__(self, path):
        self.path, self.batches, self.content = path, [], {}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.batches.append((batch_idx, batch))

    def on_before_optimizer_step(self, trainer, module, optimizer):
        if trainer.global_step == 0:
            self.content["gradient"] = vector(p.grad for p in module.student.parameters() if p.grad is not None)
            if trainer.world_size == 1:  # one big batch: the mean of its parts' losses, and one backward pass
                held = [p for p in module.student.parameters() if p.grad is not None]
                losses = [module.losses(batch, module.step_generator(i)).total for i, batch in self.batches]
                assert len(losses) == 4
                whole = torch.autograd.grad(torch.stack(losses).mean(), held)
                self.content["big"] = vector(whole)

    def on_train_end(self, trainer, module):
        self.content |= {"student": vector(module.student.parameters()), "steps": trainer.global_step}
        self.content["teacher"] = vector(module.teacher.model.parameters())
        torch.save(self.content, f"{self.path}{trainer.global_rank}.pt")

def train(world, path):
    torch.manual_seed(0)
    model = unimatch.SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    method = unimatch.UniMatchV2(
        model, tau=0.1, learning_rate=1e-2, decoder_multiplier=1, ema_decay=0.5, optimizer="sgd",
        freeze_batch_statistics=True,
    )
    data = unimatch.data.digits(labeled=6, train=38, val=4, size=32)
    trainer = unimatch.Trainer(
        accelerator="cpu", devices=world, strategy="ddp_fork" if world > 1 else "auto", global_batch=8, max_steps=3,
        limit_val_batches=0, num_sanity_val_steps=0, callbacks=[Keep(path)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(method, unimatch.SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=0))

for world in map(int, sys.argv[1:]):
    train(world, f"world{world}_")
"""


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by fork")
@pytest.mark.parametrize("several", rest_nightly([2, 4], [2]))
def test_gradients_are_those_of_one_big_batch_on_one_and_several_processes(several, tmp_path):
    (tmp_path / "train.py").write_text(SAME)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "train.py", str(several), "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {world: torch.load(tmp_path / f"world{world}_0.pt", weights_only=True) for world in (1, several)}
    big = found[1]["big"]
    assert big.abs().max() > 1e-3
    for world, content in found.items():
        assert content["steps"] == 3
        assert (content["gradient"] - big).norm() / big.norm() < 1e-6, world
        for model in ("student", "teacher"):
            torch.testing.assert_close(content[model], found[1][model], rtol=1e-5, atol=1e-6)
    for rank in range(1, several):  # and every process has the same
        other = torch.load(tmp_path / f"world{several}_{rank}.pt", weights_only=True)
        assert torch.equal(other["student"], found[several]["student"])
        assert torch.equal(other["teacher"], found[several]["teacher"])


SHARDED = """
import os, sys, torch, lightning, unimatch
from lightning.pytorch.strategies import ModelParallelStrategy
from unimatch.callbacks import CheckpointFiles, Guard
from unimatch.methods.sharding import whole
from pathlib import Path

class Keep(lightning.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 2 and name == "sharded":
            divided = [whole(p) is not p for m in (module.student, module.teacher.model) for p in m.parameters()]
            assert all(divided)
            trainer.save_checkpoint("step2.ckpt")

    def on_train_end(self, trainer, module):
        state = {key: whole(value).detach().clone() for key, value in module.state_dict().items()}
        if trainer.is_global_zero:
            torch.save(state, f"{name}.pt")

def train():
    torch.manual_seed(0)
    tiny = {"depth": 4, "embed_dim": 24, "img_size": 32, "num_heads": 3}
    decoder = {"features": 8, "out_channels": (8, 8, 8, 8)}
    model = unimatch.SegmentationModel("vit_tiny_patch16_224", 11, weights=None, **decoder, options=tiny)
    method = unimatch.UniMatchV2(
        model, tau=0.1, learning_rate=1e-3, decoder_multiplier=1, ema_decay=0.5, optimizer="sgd"
    )
    strategy = "auto"
    if name != "one":
        strategy = ModelParallelStrategy(2, 1, save_distributed_checkpoint=False, process_group_backend="gloo")
    trainer = unimatch.Trainer(
        accelerator="cpu", devices=1 if name == "one" else 2, strategy=strategy, global_batch=4, max_steps=4,
        val_check_interval=2, check_val_every_n_epoch=None, num_sanity_val_steps=0,
        callbacks=[Keep(), Guard(Path("."))], plugins=[CheckpointFiles()], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    data = unimatch.SemiSupervisedDataModule(
        unimatch.data.digits(labeled=6, train=38, val=3, size=32), crop=32, batch_size=2, workers=0
    )
    trainer.fit(method, data, ckpt_path="step2.ckpt" if name == "resumed" else None)

for name in sys.argv[1:]:
    train()
"""


@pytest.mark.slow
@pytest.mark.nightly
def test_fsdp2_trains_as_one_process_does_and_is_resumed(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(SHARDED)
    done = subprocess.run(
        [sys.executable, "train.py", "sharded", "resumed"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "one"])
    exec(SHARDED, {"__name__": "train"})
    sharded, resumed, one = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("sharded", "resumed", "one")
    )
    checkpoint = torch.load(tmp_path / "step2.ckpt", weights_only=True)  # whole, as any other
    assert checkpoint["state_dict"].keys() == one.keys()
    for key, value in one.items():
        assert checkpoint["state_dict"][key].shape == value.shape
        torch.testing.assert_close(sharded[key], value, rtol=1e-5, atol=1e-6, msg=key)
        assert torch.equal(resumed[key], sharded[key]), key


@pytest.mark.parametrize(
    ("options", "told"),
    [
        *(
            ({"precision": name}, f"precision={name}: must be one of 32-true, bf16-mixed")
            for name in ("bf16-true", "64")
        ),
        ({"overfit_batches": 0.5}, "overfit_batches=0.5: is not a setting of a run; dataset.labeled=N"),
        ({"fast_dev_run": True}, "fast_dev_run=True: is not a setting of a run; trainer=debug"),
        ({"limit_val_batches": 0}, "limit_val_batches=0: must be above 0"),
        ({"limit_train_batches": 0.0}, "limit_train_batches=0.0: must be above 0"),
        ({"max_epochs": 0}, "max_epochs=0: must be at least 1, or -1"),
        ({"max_steps": -5}, "max_steps=-5: must be at least 1, or -1"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches=0: must be at least 1"),
        ({"num_nodes": 0}, "num_nodes=0: must be at least 1"),
        ({"log_every_n_steps": -1}, "log_every_n_steps=-1: must be at least 0"),
        ({"gradient_clip_val": -1.0}, "gradient_clip_val=-1.0: must be a number, at least 0"),  # else none in silence
        ({"gradient_clip_val": ""}, "gradient_clip_val=: must be a number or null"),
        ({"gradient_clip_val": [1]}, "gradient_clip_val=\\[1\\]: must be a number or null"),
        ({"devices": 10**20}, "devices=100000000000000000000: must be at most 65536"),
        ({"num_nodes": 10**20}, "num_nodes=100000000000000000000: must be at most 65536"),
        ({"gradient_clip_val": math.nan}, "gradient_clip_val=nan: must be a number, at least 0"),
        ({"accelerator": "gpu"}, "accelerator=gpu: PyTorch finds no GPU here; trainer=cpu trains"),
        ({"accelerator": "cuda"}, "accelerator=cuda: PyTorch finds no GPU here"),
    ],
)
def test_settings_with_which_no_run_could_be_are_refused_before_anything_is_loaded(options, told, monkeypatch):
    monkeypatch.setattr("unimatch.trainer.CUDAAccelerator.auto_device_count", lambda: 0)
    monkeypatch.setattr("unimatch.trainer.MPSAccelerator.is_available", lambda: False)
    check_settings({"precision": 32, "accelerator": "cpu", "overfit_batches": 0.0, "limit_val_batches": None})
    check_settings({"max_steps": "x", "num_nodes": "x", "log_every_n_steps": "x"})  # kinds are checked elsewhere
    with pytest.raises(ConfigError, match=f"^{told}"):
        check_settings(options)


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr("unimatch.trainer.CUDAAccelerator.auto_device_count", lambda: 2)
    for devices in (2, "auto", [1]):
        check_settings({"accelerator": "cuda", "devices": devices})
    with pytest.raises(ConfigError, match=r"devices=4: PyTorch finds 2 GPU\(s\) here; trainer.devices=auto"):
        check_settings({"accelerator": "cuda", "devices": 4})


@pytest.mark.parametrize("options", [{"devices": "two"}, {"strategy": "nope"}, {"val_check_interval": 1.5}])
def test_what_lightning_refuses_is_one_message(options):
    with pytest.raises(ConfigError, match="the trainer cannot be made: .*" + next(iter(options))):
        Trainer(accelerator="cpu", **options)


def test_a_callback_that_waits_for_what_nothing_logs_is_one_line(monkeypatch):
    def fit(*arguments, **options):
        raise RuntimeError("Early stopping conditioned on metric `val_loss` which is not available. Pass in\nmore")

    monkeypatch.setattr(lightning.Trainer, "fit", fit)
    with pytest.raises(ConfigError, match=r"^this cannot be trained: Early stopping .* Pass in$"):
        Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).fit(None)


def test_an_accelerator_whose_library_is_absent_is_one_line():
    with pytest.raises(ConfigError, match=r"^the trainer cannot be made: .*torch_xla"):
        Trainer(accelerator="tpu", logger=False)


def test_a_time_may_be_any_mapping():
    trainer = Trainer(max_time=OmegaConf.create({"minutes": 2}), **QUIET)
    assert [timer.time_remaining() for timer in trainer.callbacks if isinstance(timer, Timer)] == [120]


def test_one_callback_needs_no_list():
    callback = Steps()
    assert callback in Trainer(compile=True, callbacks=callback, **QUIET).callbacks


def test_loaders_that_do_not_say_their_batch_size_are_refused():
    data = make_data()
    with pytest.raises(ConfigError, match=r"^global_batch=8: is divided by the data module's batch_size, and there is"):
        Trainer(global_batch=8, max_steps=1, **QUIET).fit(make_method(), data.train_dataloader())
