"""Warns if a processor computes much more slowly in half precision than in float32."""

import logging
import time
from functools import cache

import torch

log = logging.getLogger("unimatch")

SLOWER = 2.0
"""How many times slower than float32 is worth a warning."""

TYPES = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "16": torch.float16, "float16": torch.float16}
"""Half precisions by our names, and by what stands before the dash in Lightning's, such as ``bf16-mixed``."""


def warn_of_slow_half(device: torch.device, precision: str | int) -> None:
    """Warns if ``precision`` is a half precision in which this CPU is much slower than in float32."""
    dtype = TYPES.get(str(precision).partition("-")[0])
    if device.type != "cpu" or dtype is None:
        return
    ratio = seconds_of(dtype) / seconds_of(torch.float32)
    if ratio > SLOWER:
        log.warning(
            "precision=%s: this processor has no instructions for %s and takes %.0f times as long for a matrix product "
            "as in float32; choose float32 (trainer.precision=32-true in a training)",
            precision,
            str(dtype).removeprefix("torch."),
            ratio,
        )


@cache
def seconds_of(dtype: torch.dtype) -> float:
    """Returns the seconds that a product of 256 x 256 matrices takes on the CPU, the shortest of three."""
    matrix, times = torch.ones(256, 256, dtype=dtype), []
    for _ in range(4):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        times.append(time.perf_counter() - started)
    return min(times[1:])  # the first product is a warm-up
