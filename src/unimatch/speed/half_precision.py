"""Says so where a processor is slower in half precision than in float32, which is no fault and no news elsewhere."""

import logging
import time
from functools import cache

import torch

log = logging.getLogger("unimatch")

SLOWER = 2.0
"""How much slower is worth a warning."""

TYPES = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "16": torch.float16, "float16": torch.float16}
"""By the names of ours, and by Lightning's before the dash: ``bf16-mixed``."""


def warn_of_slow_half(device: torch.device, precision: str | int) -> None:
    """Warns of a half precision that this CPU computes much more slowly than float32."""
    dtype = TYPES.get(str(precision).partition("-")[0])
    if device.type != "cpu" or dtype is None:
        return
    if (ratio := seconds_of(dtype) / seconds_of(torch.float32)) > SLOWER:
        name = str(dtype).removeprefix("torch.")
        log.warning(
            "precision=%s: this processor has no instructions for %s and takes %.0f times as long for a matrix product "
            "as in float32; choose float32 (trainer.precision=32-true in a training)",
            *(precision, name, ratio),
        )


@cache
def seconds_of(dtype: torch.dtype) -> float:
    """Returns how long a product of 256 x 256 matrices takes on the CPU, the shortest of three times."""
    matrix, times = torch.ones(256, 256, dtype=dtype), []
    for _ in range(4):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        times.append(time.perf_counter() - started)
    return min(times[1:])  # without the first, which prepares
