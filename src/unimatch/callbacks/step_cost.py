"""Measures what a training step takes: operations, memory and seconds."""

import logging
import statistics
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from lightning import Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from unimatch.methods.base import Method

log = logging.getLogger("unimatch")

TIMED = 3
"""How many steps of each size are timed."""


class Cost(NamedTuple):
    """What a step takes."""

    operations: float
    """Floating-point operations."""
    memory: float
    """Peak memory in bytes."""
    seconds: float


@dataclass(frozen=True)
class Costs:
    """What a step takes with any number of labelled images, extrapolated from measured steps.

    >>> costs = Costs(2, Cost(10, 20, 1.0), Cost(15, 22, 1.2), own=(8, Cost(39, 33, 1.5)))
    >>> costs.at(4), costs.at(8).seconds
    (Cost(operations=20, memory=24, seconds=1.4), 1.5)
    """

    least: int
    """The smallest measured number of labelled images."""
    small: Cost
    """With that number of images."""
    large: Cost
    """With one image more."""
    own: tuple[int, Cost] | None = None
    """The training's own number of images and its cost, if that was measured too."""

    def at(self, images: int) -> Cost:
        """Returns the cost with a number of labelled images: as measured, or on the line through the two smallest."""
        if self.own is not None and images == self.own[0]:
            return self.own[1]
        more = images - self.least
        return Cost(*(a + more * max(b - a, 0) for a, b in zip(self.small, self.large, strict=True)))


def measure(trainer: Trainer, method: Method, batch: Any) -> Cost:
    """Takes steps with a batch: one to count operations, one for the peak memory, :data:`TIMED` for the median time."""
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

    fused_on_cpu = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_of_shapes,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_of_shapes,
    }
    torch.compiler.set_stance("force_eager")  # the counter does not see into compiled code
    with FlopCounterMode(display=False, custom_mapping=fused_on_cpu) as counter:
        step("operations")
    torch.compiler.set_stance("default")
    memory = peak_bytes(lambda: step("memory"), method, optimizer)
    times = []
    for _ in range(TIMED):
        started = now(method.device)
        step("time")
        times.append(now(method.device) - started)
    for parameter in method.student.parameters():
        parameter.grad = None
    return Cost(float(counter.get_total_flops()), memory, statistics.median(times))


def peak_bytes(step: Callable[[], None], method: Method, optimizer: Any) -> float:
    """Takes a step and returns its peak memory in bytes, with weights, optimizer state and gradients.

    On a GPU it is what PyTorch's allocator has handed out; on a CPU the sum of all living tensors.
    """
    if method.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        return float(torch.cuda.max_memory_allocated())
    weights = [*method.parameters(), *method.buffers()]
    state = [value for values in optimizer.state.values() for value in values.values() if isinstance(value, Tensor)]
    gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    live = LiveBytes(weights)
    for tensor in [*state, *gradients]:
        live.count(tensor)
    with live:
        step()
    return float(live.peak + sum(tensor.numel() * tensor.element_size() for tensor in weights))


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations create, as long as they live.

    Args:
        known: tensors that are not counted.
    """

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and counts the tensors that it has created."""
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


def now(device: torch.device) -> float:
    """Waits until the device has finished its work, and returns the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def sdpa_of_shapes(query: Any, key: Any, value: Any, *arguments: Any, **options: Any) -> int:
    """Counts the operations of the CPU's fused attention, which PyTorch's counter does not know."""
    return sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]


def sdpa_backward_of_shapes(gradient: Any, query: Any, key: Any, value: Any, *arguments: Any, **options: Any) -> int:
    """Counts the operations of the backward pass of :func:`sdpa_of_shapes`."""
    return sdpa_backward_flop_count(gradient, query, key, value)  # type: ignore[no-untyped-call]
