"""``trainer.parts_at_once=auto``: as many parts of a step in one batch as the GPU's memory holds."""

import copy
import gc
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unimatch.speed.apply import speed_up
from unimatch.trainer import Trainer, parts_of

if TYPE_CHECKING:
    from unimatch.methods.base import Method

log = logging.getLogger("unimatch")

HEADROOM = 0.9
"""The share of a GPU's memory that training may take."""


def most_that_fit(method: "Method", trainer: Trainer) -> int:
    """Finds how many parts of a step the memory of the device holds at once, by taking a step with a copy of the model.

    Args:
        method: set up, and not yet on its device.
        trainer: with ``parts_at_once=auto``.

    Returns:
        The largest divisor of the parts of a step that fits, in every process; 1 where the device is no GPU.
    """
    device, parts = trainer.strategy.root_device, parts_of(trainer)
    if parts == 1 or device.type != "cuda":
        return 1
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
    batch = next(iter(datamodule.train_dataloader()))
    part = batch[0] if isinstance(batch, tuple) else batch
    most = next(count for count in divisors(parts) if count == 1 or fits(method, trainer, datamodule, part, count))
    return int(trainer.strategy.reduce(torch.tensor(most, device=device), reduce_op="min"))


def divisors(number: int) -> list[int]:
    """Returns the numbers that divide another, the largest first.

    >>> divisors(12)
    [12, 6, 4, 3, 2, 1]
    """
    return [count for count in range(number, 0, -1) if number % count == 0]


def fits(method: "Method", trainer: Trainer, datamodule: Any, part: dict[str, dict[str, Tensor]], count: int) -> bool:
    """Tells whether a whole step of so many parts fits, and leaves the method as it is."""
    device = trainer.strategy.root_device
    peak = peak_of(method, trainer, datamodule, part, count)
    gc.collect()  # the copy's modules refer to each other
    torch.cuda.empty_cache()  # or the next try would find this one's memory reserved
    capacity = torch.cuda.get_device_properties(device).total_memory
    held = "out of memory" if peak is None else f"{peak / 1e9:.1f} GB"
    log.info("trainer.parts_at_once=auto: a step with %d parts at once: %s of %.1f GB", count, held, capacity / 1e9)
    return peak is not None and peak <= HEADROOM * capacity


def peak_of(
    method: "Method", trainer: Trainer, datamodule: Any, part: dict[str, dict[str, Tensor]], count: int
) -> int | None:
    """Returns the most bytes that a copy of the method reserves in a step of so many parts; None without the room."""
    device = trainer.strategy.root_device
    torch.cuda.reset_peak_memory_stats(device)
    try:
        tried = copy.deepcopy(method).to(device)
        tried.trainer = trainer  # Lightning's copies have none
        step(tried, datamodule, part, count)
    except torch.OutOfMemoryError:
        return None
    return int(torch.cuda.max_memory_reserved(device))


def step(method: "Method", datamodule: Any, part: dict[str, dict[str, Tensor]], count: int) -> None:
    """Takes two steps of so many parts, the second with the optimiser's state in memory, the encoder unlocked."""
    method.parts_at_once = count
    if method.student.unlock_after:
        method.student.unlock()
        method.teacher.keep_apart()
    method.train()
    speed_up(method, method.device)
    optimizer = method.build_optimizer(fused=False)
    batch: Any = {
        name: {key: torch.cat([value] * count).to(method.device) for key, value in fields.items()}
        for name, fields in part.items()
    }  # with what says which images were replaced, which nothing here counts
    batch = datamodule.on_after_batch_transfer(batch, 0)
    for _ in range(2):
        with method.trainer.precision_plugin.forward_context():
            losses = method.losses(batch, method.step_generator(0))
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.teacher.update(method.student, 1)
