"""``plan=true``: what a training will take, from a few steps, instead of the training."""

import contextlib
import logging
import math
import statistics
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from typing_extensions import override

from unimatch.images.pictures import spread_evenly
from unimatch.methods.base import Method
from unimatch.tasks.shared_encoder import share_encoder
from unimatch.trainer import parts_in_batch

log = logging.getLogger("unimatch")

GB = 1e9
HEADROOM = 0.95
"""The share of a device's memory that is counted on."""
TIMED = 3
"""Steps that are timed, of each size, and validation images."""
PATIENCE = 60.0
"""Seconds that steps of a whole batch may take; of slower ones the time is told from the small batches."""


class Plan(Callback):
    """Takes five steps with two labelled images, five with three, and says what the whole training will take.

    Memory and operations grow in a straight line with the batch, which the two sizes give. Time does not: the
    training's own batch is timed, where it fits and is quick. On a GPU, memory is what PyTorch's allocator gave out, on
    a CPU the sum of all living tensors, without the libraries' own buffers. Time is the median of the last three steps
    on this device, that of loading a batch, and for evaluations the mean of three validation images; without what the
    processes tell each other.

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
        batch, self.loading = load(datamodule.train_dataloader(), datamodule.workers)
        batch = batch[0] if isinstance(batch, tuple) else batch
        batch = datamodule.on_before_batch_transfer(batch, 0)
        batch = trainer.strategy.batch_to_device(batch)  # which calls the hook after the transfer too
        pl_module.parts_at_once = 1  # the training ends after it
        own = datamodule.batch_size * parts_in_batch(trainer)
        least = min(own, 2)  # batch normalisation may need two images
        small, large = (measure(trainer, pl_module, part_of(batch, count)) for count in (least, least + 1))
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
        costs: "Costs",
        workers: int,
        evaluations: tuple[int, float],
    ) -> str:
        """Returns the report.

        Args:
            trainer: the plan's.
            method: the training's.
            batch_size: labelled images of a batch.
            costs: of a step.
            workers: processes that load them.
            evaluations: how many there are, and the seconds of all of them.
        """
        models = sum(p.numel() for p in method.student.parameters())
        trained = sum(p.numel() for p in method.student.parameters() if p.requires_grad)
        steps, turns = int(trainer.estimated_stepping_batches), trainer.accumulate_grad_batches
        own = costs.at(batch_size)
        seconds = turns * own.seconds
        loading = turns * self.loading
        beside = workers > 0 and method.device.type != "cpu"  # where steps and loading share no processors
        each = max(seconds, loading) if beside else seconds + loading
        count, evaluating = evaluations
        total = steps * each + evaluating
        self.hours = total / 3600
        per_image = max(costs.at(costs.least + 1).memory - costs.at(costs.least).memory, 1.0)
        capacity = self.memory * GB if self.memory is not None else device_memory(method.device)
        device = f"{trainer.world_size} x {method.device}"
        lines = [
            f"The student has {models / 1e6:.1f}M parameters, of which {trained / 1e6:.1f}M are trained; the teacher "
            "has as many.",
            f"A step of {turns} x {batch_size} labelled images takes about {duration(seconds)} and "
            f"{turns * own.operations / 1e12:.3g} TFLOP for each process.",
            f"It needs {own.memory / GB:.2f} GB of memory, {per_image / GB:.2f} GB of it for each labelled "
            "image and its unlabelled ones.",
            f"The training, {steps} steps, takes about {duration(total)} on {device}, {duration(evaluating)} of it for "
            f"{count} {'evaluation' if count == 1 else 'evaluations'}.",
        ]
        if each > seconds:
            lines.append(
                f"With loading, a step takes {duration(each)}: its images take {duration(loading)} to load "
                f"(datamodule.workers={workers}). More workers, on idle processors, make that less."
            )
        if capacity is not None:
            fits = int((HEADROOM * capacity - (costs.at(costs.least).memory - costs.least * per_image)) // per_image)
            fits //= parts_in_batch(trainer)
            size = f"datamodule.batch_size={fits} fits" if fits >= 1 else "Not even datamodule.batch_size=1 fits"
            lines.append(f"{size} into {HEADROOM:.0%} of {capacity / GB:.0f} GB.")
        else:
            lines.append("Give plan_memory=GB to learn which batch fits into a GPU's memory.")
        return "\n".join(lines)


class Cost(NamedTuple):
    """What a step takes."""

    operations: float
    """Floating-point operations."""
    memory: float
    """Bytes, at most at any moment."""
    seconds: float


@dataclass(frozen=True)
class Costs:
    """What a step takes with any number of labelled images, from measured steps.

    >>> costs = Costs(2, Cost(10, 20, 1.0), Cost(15, 22, 1.2), own=(8, Cost(39, 33, 1.5)))
    >>> costs.at(4), costs.at(8).seconds
    (Cost(operations=20, memory=24, seconds=1.4), 1.5)
    """

    least: int
    """The smallest measured number of labelled images."""
    small: Cost
    """Of so many images."""
    large: Cost
    """Of one more."""
    own: tuple[int, Cost] | None = None
    """The training's own number of images with its costs, if it was measured too."""

    def at(self, images: int) -> Cost:
        """Returns the costs with so many labelled images: as measured, or on the line through the two smallest."""
        if self.own is not None and images == self.own[0]:
            return self.own[1]
        more = images - self.least
        return Cost(*(a + more * max(b - a, 0) for a, b in zip(self.small, self.large, strict=True)))


def duration(seconds: float) -> str:
    """Says how long something takes, in the unit that people use for it.

    >>> [duration(seconds) for seconds in (0.25, 59, 90, 5400, 1e6)]
    ['0.25 s', '59 s', '1.5 minutes', '1.5 hours', '11.6 days']
    """
    units = ((86400, "days"), (3600, "hours"), (60, "minutes"))
    for length, unit in units:
        if seconds >= length * (2 if unit == "days" else 1):
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s"


def load(loader: Any, workers: int) -> tuple[Any, float]:
    """Returns the first batch of a loader, and how many seconds it takes to load one while it goes on loading.

    Each process loads a batch, so that those of all processes come together: two from each are drawn, and the second
    ones timed.
    """
    together = max(workers, 1)
    first, times = None, []
    for batch in islice(loader, 2 * together):
        first = batch if first is None else first
        times.append(time.perf_counter())
    timed = times[together - 1 :]
    return first, (timed[-1] - timed[0]) / (len(timed) - 1) if len(timed) > 1 else 0.0


def measure(trainer: Trainer, method: Method, batch: Any) -> Cost:
    """Returns the operations of a first step, the highest bytes of a second, the median seconds of three more."""
    optimizer: Any = method.build_optimizer()
    size = len(batch["labeled"]["index"])

    def step(what: str) -> None:
        log.info("a step of %d labelled images, for its %s", size, what)
        with trainer.precision_plugin.forward_context():
            losses = method.losses(batch, method.step_generator(0))
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.teacher.update(method.student, 1)

    custom = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_of_shapes,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_of_shapes,
    }
    torch.compiler.set_stance("force_eager")  # compiled code does not say what it counts
    with FlopCounterMode(display=False, custom_mapping=custom) as counter:
        step("operations")
    torch.compiler.set_stance("default")
    weights = sum(t.numel() * t.element_size() for t in [*method.parameters(), *method.buffers()])
    with peak_bytes(method, optimizer) as found:
        step("memory")
    times = []
    for _ in range(TIMED):
        started = now(method.device)
        step("time")
        times.append(now(method.device) - started)
    for parameter in method.student.parameters():
        parameter.grad = None
    return Cost(float(counter.get_total_flops()), weights + found[0], statistics.median(times))


def evaluations_of(trainer: Trainer) -> int:
    """Returns how many evaluations a training has, the one at its end included."""
    if not sum(map(int, trainer.num_val_batches)):
        return 0
    batches = int(trainer.estimated_stepping_batches) * trainer.accumulate_grad_batches
    between = (trainer.val_check_batch or math.inf) * (trainer.check_val_every_n_epoch or 1)
    return math.ceil(batches / between)


def seconds_of_evaluation(trainer: Trainer, method: Method) -> float:
    """Returns how long student and teacher take for a process's validation images, from a few of them."""
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
    images = datamodule.val_dataloader().dataset
    method.eval()
    method.encode_once = share_encoder([*method.evaluated_models.values()])
    torch.compiler.set_stance("force_eager")  # to compile for an image's size takes longer than to predict it
    times = []
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        for i in spread_evenly(len(images), TIMED):
            batch = trainer.strategy.batch_to_device(datamodule.on_before_batch_transfer([images[i]], 0))
            log.info("a validation image, for its time")
            method.validation_step(batch, 0)  # the first of its size may take longer
            started = now(method.device)
            method.validation_step(batch, 0)
            times.append(now(method.device) - started)
    torch.compiler.set_stance("default")
    method.train()
    evaluated = sum(map(int, trainer.num_val_batches)) * datamodule.evaluation_batch
    return statistics.mean(times) * min(len(images), evaluated)


@contextlib.contextmanager
def peak_bytes(method: Method, optimizer: Any) -> Iterator[list[float]]:
    """Measures the most bytes alive inside, above the weights; the list that it yields holds the number afterwards."""
    found: list[float] = []
    if method.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        weights = sum(t.numel() * t.element_size() for t in [*method.parameters(), *method.buffers()])
        yield found
        found.append(torch.cuda.max_memory_allocated() - weights)
        return
    state = [value for values in optimizer.state.values() for value in values.values() if isinstance(value, Tensor)]
    gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    live = LiveBytes([*method.parameters(), *method.buffers()])
    for tensor in [*state, *gradients]:
        live.count(tensor)
    with live:
        yield found
    found.append(float(live.peak))


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations make, while they live, but of those known before."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and counts the tensors that it has made."""
        before = {tensor.untyped_storage()._cdata for tensor in args if isinstance(tensor, Tensor)}
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, lambda t: None if t.untyped_storage()._cdata in before else self.count(t), result)
        return result

    def count(self, tensor: Tensor) -> None:
        """Counts a tensor until its memory is freed."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())

    def free(self, key: int, size: int) -> None:
        """Stops counting a tensor whose memory is freed."""
        self.seen.discard(key)
        self.now -= size


def part_of(batch: Any, labeled: int) -> Any:
    """Returns a batch of so many labelled images and their share of the others; too few images are repeated."""
    have = len(batch["labeled"]["index"])

    def cut(tensor: Tensor) -> Tensor:
        count = labeled * (len(tensor) // have)
        return torch.cat([tensor] * -(-count // len(tensor)))[:count]

    return {name: {key: cut(value) for key, value in part.items()} for name, part in batch.items()}


def device_memory(device: torch.device) -> int | None:
    """Returns how many bytes a GPU has; None for a CPU."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def now(device: torch.device) -> float:
    """Returns the time in seconds, once the device has done all work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def sdpa_of_shapes(query: Any, key: Any, value: Any, *arguments: Any, **options: Any) -> int:
    """Counts the CPU's fused attention, which PyTorch's counter does not know."""
    return sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]


def sdpa_backward_of_shapes(gradient: Any, query: Any, key: Any, value: Any, *arguments: Any, **options: Any) -> int:
    """Counts the backward pass of :func:`sdpa_of_shapes`."""
    return sdpa_backward_flop_count(gradient, query, key, value)  # type: ignore[no-untyped-call]
