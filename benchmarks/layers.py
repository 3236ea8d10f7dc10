"""Layers on a CPU, PyTorch's and ours: GFLOP/s of the forward and backward pass, milliseconds of a softmax.

OMP_NUM_THREADS=2 python benchmarks/layers.py
OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/layers.py --json layers.json
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine
from torch import nn

from unimatch.speed.cross_entropy_by_rows import over_classes
from unimatch.speed.onednn import use_onednn

LINEAR = [(384, 1152), (384, 384), (384, 1536), (1536, 384)]
"""Of ViT-S; 1,086 tokens."""
POINTWISE = [(192, 672, 12), (672, 112, 6), (24, 144, 24), (96, 24, 24), (40, 240, 12)]
"""Of EfficientNet-Lite0, 12 images: channels before and after, height and width."""


def seconds(function: Callable[[], object]) -> float:
    """The median of 30 calls."""
    function()
    times = []
    for _ in range(30):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def both(layer: nn.Module, x: torch.Tensor, flop: float) -> list[float]:
    """GFLOP/s of PyTorch's layer and of ours."""
    ours = copy.deepcopy(layer)
    use_onednn(nn.Sequential(ours))
    x.requires_grad_()
    slope = torch.randn_like(layer(x))
    return [flop / seconds(lambda m=module: m(x).backward(slope)) / 1e9 for module in (layer, ours)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: dict[str, list[float]] = {}
    for before, after in LINEAR:
        x = torch.randn(3, 362, before)
        rows[f"linear {before} to {after}, GFLOP/s"] = both(nn.Linear(before, after), x, 6 * 1086 * before * after)
    for before, after, side in POINTWISE:
        x = torch.randn(12, before, side, side).to(memory_format=torch.channels_last)
        layer = nn.Conv2d(before, after, 1, bias=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rows[f"1 x 1 {before} to {after}, GFLOP/s"] = both(layer, x, 6 * 12 * side**2 * before * after)
    for classes in (11, 21):
        logits = torch.randn(4, 96, 96, classes)
        times = [
            seconds(lambda x=logits: torch.softmax(x, -1)),
            seconds(lambda x=logits: over_classes(torch.softmax, x)),
        ]
        rows[f"softmax of {classes} classes, ms"] = [1000 * t for t in times]
    print(f"{torch.get_num_threads()} threads{'':28s}PyTorch    ours")
    for name, (plain, found) in rows.items():
        print(f"{name:36s}{plain:8.1f}{found:8.1f}")
    if options.json:
        result: dict[str, Any] = {"machine": machine(), "rows": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
