import os
import re
import signal
from contextlib import nullcontext
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from helpers.support import SMALL, at_night
from unimatch import disk
from unimatch.callbacks import plan
from unimatch.callbacks.plan import Plan, part_of, time_loading
from unimatch.callbacks.step_cost import Cost, Costs
from unimatch.methods import UniMatchV2
from unimatch.run import main


def test_a_batch_is_cut_or_repeated():
    batch = {"labeled": {"index": torch.arange(2)}, "unlabeled": {"index": torch.arange(6)}}
    assert part_of(batch, 1)["unlabeled"]["index"].tolist() == [0, 1, 2]
    assert part_of(batch, 3)["labeled"]["index"].tolist() == [0, 1, 0]
    assert part_of(batch, 3)["unlabeled"]["index"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]


def test_the_plan_is_printed_and_nothing_is_trained(tmp_path, monkeypatch, capsys):
    arguments = [*SMALL, "plan=true", "plan_memory=8", "trainer=cpu", f"hydra.run.dir={tmp_path}/run"]
    arguments.append("trainer.val_check_interval=4")
    monkeypatch.setitem(disk.unwritten, tmp_path / "before", "what a sweep's job before could not write")
    monkeypatch.setattr("sys.argv", ["run", *arguments, "trainer.max_epochs=-1", "trainer.max_steps=123"])
    main()
    text = capsys.readouterr().out
    told = re.search(
        r"The training, 123 steps, takes about [\d.]+ (s|minutes) on 1 x cpu, [\d.]+ s of it for (\d+) evaluations\.",
        text,
    )
    assert told is not None
    assert int(told[2]) == 31  # the last one after three steps
    assert re.search(r"It needs 0\.\d\d GB of memory", text)
    fits = re.search(r"datamodule.batch_size=(\d+) fits into 95% of 8 GB", text)
    assert fits is not None
    assert 10 < int(fits[1]) < 10_000
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_time_to_load_a_batch_is_measured_while_loading_goes_on(workers, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("unimatch.callbacks.plan.time.perf_counter", lambda: next(clock))
    assert time_loading(["first", "second", "third", "fourth", "fifth"], workers) == ("first", 1.0)
    assert time_loading(["only"], workers) == ("only", 0.0)


@pytest.mark.parametrize(("batches", "images"), [(3, 10), (2, 8)])
def test_an_evaluation_takes_the_time_of_its_images(batches, images, monkeypatch):
    clock = count()
    monkeypatch.setattr(plan, "now", lambda device: next(clock))
    same = SimpleNamespace(batch_to_device=lambda batch: batch, forward_context=nullcontext)
    loader = SimpleNamespace(dataset=list(range(10)))
    datamodule = SimpleNamespace(
        val_dataloader=lambda: loader, on_before_batch_transfer=lambda batch, index: batch, evaluation_batch=4
    )
    trainer = SimpleNamespace(datamodule=datamodule, strategy=same, precision_plugin=same, num_val_batches=[batches])
    method = SimpleNamespace(eval=int, train=int, validation_step=lambda batch, index: None, device=None)
    method.evaluated_models = {"student": object(), "teacher": object()}
    assert plan.seconds_of_evaluation(trainer, method) == images
    assert method.encode_once is False
    monkeypatch.setattr(plan, "share_encoder", lambda models: len(models) == 2)
    plan.seconds_of_evaluation(trainer, method)
    assert method.encode_once is True  # as in the training


@pytest.mark.nightly
@pytest.mark.parametrize("augment", ["workers", at_night("device")])
def test_the_plan_measures_the_batches_of_training(augment, tmp_path, monkeypatch):
    seen, trained = [], []

    def measure(trainer, method, batch):
        seen.append(batch)
        return Cost(1.0, 1.0, 1.0)

    losses = UniMatchV2.losses
    monkeypatch.setattr("unimatch.callbacks.plan.measure", measure)
    monkeypatch.setattr(
        UniMatchV2, "losses", lambda self, batch, *more: trained.append(batch) or losses(self, batch, *more)
    )
    for more in (["plan=true"], ["trainer.max_steps=1", "callbacks=none"]):
        arguments = [*SMALL, *more, "datamodule.batch_size=4", f"datamodule.augment={augment}", "trainer=debug"]
        monkeypatch.setattr("sys.argv", ["run", *arguments, f"hydra.run.dir={tmp_path}/run"])
        main()
    assert [len(batch["labeled"]["index"]) for batch in seen] == [2, 3, 4]  # and the whole batch is timed
    planned, real = seen[-1], trained[0]
    assert {name: part.keys() for name, part in planned.items()} == {name: part.keys() for name, part in real.items()}
    assert torch.equal(planned["labeled"]["image"], real["labeled"]["image"])  # normalised once


def test_a_signal_ends_a_plan_with_its_status(tmp_path, monkeypatch, capfd):
    def measure(trainer, method, batch):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("unimatch.callbacks.plan.measure", measure)
    monkeypatch.setattr("sys.argv", ["run", *SMALL, "plan=true", "trainer=debug", f"hydra.run.dir={tmp_path}/run"])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest ignore it
    try:
        with pytest.raises(SystemExit, match="130"):
            main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert "unimatch: SIGINT: ended, and nothing was written" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.nightly
def test_a_plan_asks_for_no_smaller_batch_than_training(tmp_path, monkeypatch, capsys):
    # Of one image of 32 pixels the encoder makes one pixel, which batch normalisation cannot take.
    arguments = [*SMALL, "encoder=timm", "encoder.name=resnet10t", "encoder.weights=null", "datamodule.crop=32"]
    arguments += [
        "method=supervised",
        "datamodule.batch_size=2",
        "trainer=cpu",
        "plan=true",
        f"hydra.run.dir={tmp_path}/r",
    ]
    monkeypatch.setattr("sys.argv", ["run", *arguments])
    main()
    assert "A step of 1 x 2 labelled images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("device", "workers", "each"), [("cpu", 0, 5.0), ("cpu", 2, 5.0), ("cuda", 0, 5.0), ("cuda", 2, 3.0)]
)
def test_the_time_is_that_of_steps_loading_and_evaluations(device, workers, each):
    """Two batches a step, of 1.5 s each, loaded in 1 s each: on a GPU beside the steps, by processes of their own."""
    method = SimpleNamespace(device=torch.device(device), student=torch.nn.Linear(1, 1))
    trainer = SimpleNamespace(estimated_stepping_batches=10, accumulate_grad_batches=2, world_size=1)
    plan = Plan(memory=8)
    plan.loading = 1.0
    report = plan.describe(trainer, method, 2, Costs(2, Cost(1, 1, 1.5), Cost(1, 1, 2.0)), workers, (3, 7.0))
    assert plan.hours * 3600 == pytest.approx(10 * each + 7)
    assert "7 s of it for 3 evaluations" in report
    assert ("With loading, a step takes 5 s: its images take 2 s to load" in report) is (each == 5)
    assert "labels alone" not in report
    method.labeled_first = 0.3333
    report = plan.describe(trainer, method, 2, Costs(2, Cost(1, 1, 1.5), Cost(1, 1, 2.0)), workers, (3, 7.0))
    assert "counts every step as a whole one; the first 33%, on labels alone, take less." in report
