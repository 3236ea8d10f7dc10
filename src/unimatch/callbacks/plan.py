"""Estimates what a training will take from a few steps, in place of the training: ``plan=true``."""

import contextlib
import logging
import math
import statistics
import time
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from unimatch.callbacks.step_cost import TIMED, Costs, measure, now
from unimatch.images.pictures import spread_evenly
from unimatch.methods.base import Method
from unimatch.tasks.shared_encoder import share_encoder
from unimatch.trainer import parts_in_batch

log = logging.getLogger("unimatch")

GB = 1e9
HEADROOM = 0.95
"""The share of a device's memory that a training may fill."""
PATIENCE = 60.0
"""Seconds that the steps with a whole batch may take; if they would take longer, their time is extrapolated."""


class Plan(Callback):
    """Takes five steps with two labelled images and five with three, and reports what the whole training will take.

    Memory and operations grow linearly with the batch, so that the two sizes give them. Time does not: the training's
    own batch is timed, if it fits into memory and is quick enough. On a GPU, memory is what PyTorch's allocator has
    handed out; on a CPU it is the sum of all living tensors, without the libraries' own buffers. Times are measured on
    this device: the median of three steps, the loading of a batch, and the mean of three validation images. What the
    processes send one another is left out.

    Args:
        memory: GB of the device that the training is meant for; None for this one's, if it is a GPU.
    """

    def __init__(self, memory: float | None = None) -> None:
        self.memory = memory
        self.report = ""
        self.hours = 0.0
        self.loading = 0.0  # seconds for a batch

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        batch, self.loading = time_loading(datamodule.train_dataloader(), datamodule.workers)
        batch = batch[0] if isinstance(batch, tuple) else batch
        batch = datamodule.on_before_batch_transfer(batch, 0)
        batch = trainer.strategy.batch_to_device(batch)  # calls the hook after the transfer too
        pl_module.parts_at_once = 1  # never set back: the training ends here
        own = datamodule.batch_size * parts_in_batch(trainer)
        least = min(own, 2)  # batch normalisation may need two images
        small = measure(trainer, pl_module, part_of(batch, least))
        large = measure(trainer, pl_module, part_of(batch, least + 1))
        costs = Costs(least, small, large)
        here = device_memory(pl_module.device)
        fits = here is None or costs.at(own).memory <= HEADROOM * here
        quick = (2 + TIMED) * costs.at(own).seconds < PATIENCE
        if trainer.strategy.broadcast(fits and quick and own > least + 1):  # all processes or none
            with contextlib.suppress(torch.OutOfMemoryError):
                costs = replace(costs, own=(own, measure(trainer, pl_module, part_of(batch, own))))
        evaluations = evaluations_of(trainer)
        evaluating = evaluations * seconds_of_evaluation(trainer, pl_module) if evaluations else 0.0
        self.report = self.describe(trainer, pl_module, own, costs, datamodule.workers, (evaluations, evaluating))
        trainer.should_stop = True

    def describe(
        self,
        trainer: Trainer,
        method: Method,
        batch_size: int,
        costs: Costs,
        workers: int,
        evaluations: tuple[int, float],
    ) -> str:
        """Returns the report, and sets ``hours``.

        Args:
            trainer: the plan's.
            method: the training's.
            batch_size: labelled images of a batch.
            costs: of a step with one batch.
            workers: loading processes.
            evaluations: their number, and the seconds that all of them take.
        """
        models = sum(p.numel() for p in method.student.parameters())
        trained = sum(p.numel() for p in method.student.parameters() if p.requires_grad)
        steps, accumulated = int(trainer.estimated_stepping_batches), trainer.accumulate_grad_batches
        own = costs.at(batch_size)
        computing = accumulated * own.seconds
        loading = accumulated * self.loading
        overlaps = workers > 0 and method.device.type != "cpu"  # on a CPU both compete for the same cores
        seconds = max(computing, loading) if overlaps else computing + loading
        count, evaluating = evaluations
        total = steps * seconds + evaluating
        self.hours = total / 3600
        per_image = max(costs.at(costs.least + 1).memory - costs.at(costs.least).memory, 1.0)
        device = f"{trainer.world_size} x {method.device}"
        lines = [
            f"The student has {models / 1e6:.1f}M parameters, of which {trained / 1e6:.1f}M are trained; the teacher "
            "has as many.",
            f"A step of {accumulated} x {batch_size} labelled images takes about {duration(computing)} and "
            f"{accumulated * own.operations / 1e12:.3g} TFLOP for each process.",
            f"It needs {own.memory / GB:.2f} GB of memory, {per_image / GB:.2f} GB of it for each labelled "
            "image and its unlabelled ones.",
            f"The training, {steps} steps, takes about {duration(total)} on {device}, {duration(evaluating)} of it for "
            f"{count} {'evaluation' if count == 1 else 'evaluations'}.",
        ]
        if share := getattr(method, "labeled_first", 0):
            lines.append(f"That counts every step as a whole one; the first {share:.0%}, on labels alone, take less.")
        if seconds > computing:
            lines.append(
                f"With loading, a step takes {duration(seconds)}: its images take {duration(loading)} to load "
                f"(datamodule.workers={workers}). More workers, on idle processors, make that less."
            )
        capacity = self.memory * GB if self.memory is not None else device_memory(method.device)
        if capacity is not None:
            without_images = costs.at(costs.least).memory - costs.least * per_image
            fits = int((HEADROOM * capacity - without_images) // per_image) // parts_in_batch(trainer)
            size = f"datamodule.batch_size={fits} fits" if fits >= 1 else "Not even datamodule.batch_size=1 fits"
            lines.append(f"{size} into {HEADROOM:.0%} of {capacity / GB:.0f} GB.")
        else:
            lines.append("Give plan_memory=GB to learn which batch fits into a GPU's memory.")
        return "\n".join(lines)


def duration(seconds: float) -> str:
    """Returns a duration as text, in the largest unit that suits it.

    >>> [duration(seconds) for seconds in (0.25, 59, 90, 5400, 1e6)]
    ['0.25 s', '59 s', '1.5 minutes', '1.5 hours', '11.6 days']
    """
    for least, length, unit in ((2 * 86400, 86400, "days"), (3600, 3600, "hours"), (60, 60, "minutes")):
        if seconds >= least:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s"


def time_loading(loader: Any, workers: int) -> tuple[Any, float]:
    """Returns a loader's first batch, and the seconds in which it yields one once all its processes are busy.

    Each process loads whole batches, so that the first ones of all processes arrive together: two from each process are
    drawn, and the second ones are timed.
    """
    together = max(workers, 1)
    first, times = None, []
    for batch in islice(loader, 2 * together):
        first = batch if first is None else first
        times.append(time.perf_counter())
    timed = times[together - 1 :]
    return first, (timed[-1] - timed[0]) / (len(timed) - 1) if len(timed) > 1 else 0.0


def evaluations_of(trainer: Trainer) -> int:
    """Returns how many evaluations a training has, including the one at its end."""
    if not sum(map(int, trainer.num_val_batches)):
        return 0
    batches = int(trainer.estimated_stepping_batches) * trainer.accumulate_grad_batches
    between = (trainer.val_check_batch or math.inf) * (trainer.check_val_every_n_epoch or 1)
    return math.ceil(batches / between)


def seconds_of_evaluation(trainer: Trainer, method: Method) -> float:
    """Returns how long student and teacher take for a process's validation images, estimated from a few of them."""
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
    images = datamodule.val_dataloader().dataset
    method.eval()
    method.encode_once = share_encoder([*method.evaluated_models.values()])
    torch.compiler.set_stance("force_eager")  # compiling for an image's size takes longer than predicting the image
    times = []
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        for i in spread_evenly(len(images), TIMED):
            batch = trainer.strategy.batch_to_device(datamodule.on_before_batch_transfer([images[i]], 0))
            log.info("a validation image, for its time")
            method.validation_step(batch, 0)  # not timed: the first image of a size may take longer
            started = now(method.device)
            method.validation_step(batch, 0)
            times.append(now(method.device) - started)
    torch.compiler.set_stance("default")
    method.train()
    evaluated = sum(map(int, trainer.num_val_batches)) * datamodule.evaluation_batch
    return statistics.mean(times) * min(len(images), evaluated)


def part_of(batch: Any, labeled: int) -> Any:
    """Returns a batch cut to a number of labelled images and their share of the others; too few are repeated."""
    have = len(batch["labeled"]["index"])

    def cut(tensor: Tensor) -> Tensor:
        count = labeled * (len(tensor) // have)
        return torch.cat([tensor] * math.ceil(count / len(tensor)))[:count]

    return {name: {key: cut(value) for key, value in part.items()} for name, part in batch.items()}


def device_memory(device: torch.device) -> int | None:
    """Returns how many bytes a GPU has; None for a CPU."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
