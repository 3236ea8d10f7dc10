"""Milliseconds of a compiled upsampling, forward and backward, with PyTorch's gradient and with ours without scatter.

    OMP_NUM_THREADS=1 python benchmarks/upsampling.py
    python benchmarks/upsampling.py --device cuda --images 12 --features 128 --side 148

It also prints the bytes that our gradient must move: the fine gradient is read, a tensor of half its rows or columns is
written and read in float32, and the coarse gradient is written. If ours takes clearly longer than moving these bytes,
merging its two passes into one kernel would pay.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from machine import machine
from timing import Clock
from torch import Tensor

from unimatch.speed.upsampling import Upsample


def plain(x: Tensor, size: tuple[int, int]) -> Tensor:
    """PyTorch's."""
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def compiled(
    function: Callable[[Tensor, tuple[int, int]], Tensor], size: tuple[int, int]
) -> Callable[[Tensor], Tensor]:
    """Between two other operations, as in the decoder."""
    return torch.compile(lambda x: function(torch.relu(x), size).square().sum())


def main() -> None:
    """Measure by turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--side", type=int, default=76, help="side before upsampling; twice as long after")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clock = Clock(torch.device(options.device))
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    maps = torch.randn(options.images, options.features, options.side, options.side, device=clock.device, dtype=dtype)
    maps = maps.to(memory_format=torch.channels_last).requires_grad_()
    size = (2 * options.side, 2 * options.side)
    sides = {"plain": compiled(plain, size), "ours": compiled(Upsample.apply, size)}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(33):
        for side, work in sides.items():
            start = clock.now()
            work(maps).backward()
            times[side].append(1000 * (clock.now() - start))
    medians = {side: statistics.median(values[3:]) for side, values in times.items()}  # the first ones compile
    print("  ".join(f"{side} {value:.2f} ms" for side, value in medians.items()))
    print(f"ours / plain: {medians['ours'] / medians['plain']:.2f}")
    cells = options.images * options.features * options.side**2  # coarse ones
    moved = cells * (4 * dtype.itemsize + 2 * 4 * 2 + dtype.itemsize)
    print(f"our gradient moves {moved / 2**20:.0f} MiB at least: {1000 * moved / 4.8e12:.2f} ms at 4.8 TB/s, an H200's")
    if options.json:
        found = {"machine": machine(), "ms": medians, "gradient bytes": moved}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
