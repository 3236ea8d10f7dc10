"""Milliseconds of two decoder convolutions, channels last, forward and backward: compiled, and PyTorch's own.

    python benchmarks/layout.py --device cuda

PyTorch 2.13 and later may compile the backward pass of convolutions with other layouts (pytorch issue 189239). Then the
compiled ones take clearly longer than PyTorch's own, and compiled training should use PyTorch 2.12 or older.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch
from machine import machine
from timing import Clock
from torch import nn


def main() -> None:
    """Measure by turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--side", type=int, default=148)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--backend", default="inductor", help="of torch.compile; aot_eager only makes graphs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    clock, wide = Clock(device), options.features
    convolutions = [nn.Conv2d(wide, wide, 3, padding=1) for _ in range(2)]
    layers = nn.Sequential(convolutions[0], nn.GELU(), convolutions[1]).to(device, memory_format=torch.channels_last)
    maps = torch.randn(options.images, wide, options.side, options.side, device=device)
    maps = maps.to(memory_format=torch.channels_last).requires_grad_()
    sides = {"plain": layers, "compiled": torch.compile(layers, backend=options.backend)}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds + 3):
        for side, work in sides.items():
            start = clock.now()
            with torch.autocast(device.type, torch.bfloat16):
                result = work(maps)
            result.float().square().sum().backward()
            times[side].append(1000 * (clock.now() - start))
    medians = {side: statistics.median(values[3:]) for side, values in times.items()}  # the first ones compile
    ratio = medians["compiled"] / medians["plain"]
    print("  ".join(f"{side} {value:.2f} ms" for side, value in medians.items()), f"  compiled / plain: {ratio:.2f}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "ms": medians, "ratio": ratio}, indent=2) + "\n")


if __name__ == "__main__":
    main()
