"""``trainer.parts_at_once=auto``: finds how many parts of a step fit into the GPU's memory in one batch."""

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
    """Finds how many parts of a step fit into the device's memory at once, by trying steps with copies of the method.

    Args:
        method: set up, and not yet on its device.
        trainer: with ``parts_at_once=auto``.

    Returns:
        The largest divisor of the number of parts that fits in every process; 1 if the device is not a GPU.
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
    """Returns the divisors of a number, the largest first.

    >>> divisors(12)
    [12, 6, 4, 3, 2, 1]
    """
    return [count for count in range(number, 0, -1) if number % count == 0]


def fits(method: "Method", trainer: Trainer, datamodule: Any, part: dict[str, dict[str, Tensor]], count: int) -> bool:
    """Tells whether a whole step with ``count`` parts at once fits; the method itself is not changed."""
    device = trainer.strategy.root_device
    peak = peak_memory(method, trainer, datamodule, part, count)
    gc.collect()  # the copy's modules refer to each other
    torch.cuda.empty_cache()  # or the next trial would find this one's memory reserved
    capacity = torch.cuda.get_device_properties(device).total_memory
    held = "out of memory" if peak is None else f"{peak / 1e9:.1f} GB"
    log.info("trainer.parts_at_once=auto: a step with %d parts at once: %s of %.1f GB", count, held, capacity / 1e9)
    return peak is not None and peak <= HEADROOM * capacity


def peak_memory(
    method: "Method", trainer: Trainer, datamodule: Any, part: dict[str, dict[str, Tensor]], count: int
) -> int | None:
    """Returns the peak of GPU memory in bytes while a copy trains with ``count`` parts at once; None if it runs out."""
    device = trainer.strategy.root_device
    torch.cuda.reset_peak_memory_stats(device)
    try:
        trial = copy.deepcopy(method).to(device)
        trial.trainer = trainer  # which Lightning leaves out of copies
        take_two_steps(trial, datamodule, part, count)
    except torch.OutOfMemoryError:
        return None
    return int(torch.cuda.max_memory_reserved(device))


def take_two_steps(method: "Method", datamodule: Any, part: dict[str, dict[str, Tensor]], count: int) -> None:
    """Takes two steps with ``count`` parts at once and the encoder unlocked.

    The second one has the optimiser's state in memory too.
    """
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
    }
    batch = datamodule.on_after_batch_transfer(batch, 0)
    for _ in range(2):
        with method.trainer.precision_plugin.forward_context():
            losses = method.losses(batch, method.step_generator(0))
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.teacher.update(method.student, 1)
