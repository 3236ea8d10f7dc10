"""The updates of the optimiser and the teacher: as in training, and both in one compiled call, by turns.

    OMP_NUM_THREADS=2 python benchmarks/update.py --encoder tiny --rounds 3
    python benchmarks/update.py --device cuda --encoder vitb

In training, AdamW is PyTorch's fused kernel, and the teacher is one call for all tensors. Together they must move at
least 36 bytes per weight: the weight, its gradient, two moments and the teacher's weight are read, and all but the
gradient are written. The rate at which these bytes are moved is printed beside that of a copy. In the compiled call,
learning rates and the teacher's share are tensors, since changing numbers would be compiled anew.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine
from timing import Clock
from torch import Tensor

from unimatch.methods import UniMatchV2
from unimatch.methods.teacher import tensors
from unimatch.models import SegmentationModel

BYTES = 36
"""A weight's, as said above."""


class AsTrained:
    """The fused optimiser, then the teacher."""

    def __init__(self, method: UniMatchV2) -> None:
        self.method, self.optimizer = method, method.build_optimizer()

    def __call__(self, iteration: int) -> None:
        """One step of both."""
        self.optimizer.step()
        self.method.teacher.update(self.method.student, iteration)


class Together:
    """AdamW written with one operation for all tensors of a group, and the teacher's average, in one compiled call."""

    def __init__(self, method: UniMatchV2, backend: str) -> None:
        self.method, self.optimizer = method, method.build_optimizer()
        self.optimizer.step()  # makes the moments
        device = method.device
        self.groups = []
        for group in self.optimizer.param_groups:
            states = [self.optimizer.state[weight] for weight in group["params"]]
            moments = [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")]
            self.groups.append((group, group["params"], *moments))
        self.steps = 1
        pairs = zip(tensors(method.teacher.model), tensors(method.student), strict=True)
        self.averages, self.values = map(list, zip(*(p for p in pairs if p[0].is_floating_point()), strict=True))
        self.numbers = torch.zeros(4, device=device)
        self.compiled = torch.compile(self.update, backend=backend, dynamic=False)

    def __call__(self, iteration: int) -> None:
        """One step of both; the numbers that change are copied to the device together."""
        self.steps += 1
        decay = min(1 - 1 / (iteration + 1), self.method.teacher.decay)
        numbers = [group["lr"] for group, *_ in self.groups]
        numbers += [1 - beta**self.steps for beta in self.optimizer.param_groups[0]["betas"]]
        self.numbers = torch.tensor([*numbers, 1 - decay]).to(self.numbers.device, non_blocking=True)
        with torch.no_grad():
            self.compiled(self.numbers, [[weight.grad for weight in weights] for _, weights, *_ in self.groups])

    def update(self, numbers: Tensor, gradients: list[list[Tensor]]) -> None:
        """AdamW (Loshchilov and Hutter, algorithm 2) of each group, then the average."""
        *rates, correction1, correction2, share = numbers.unbind()
        for (group, weights, first, second), slopes, rate in zip(self.groups, gradients, rates, strict=True):
            beta1, beta2 = group["betas"]
            torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
            torch._foreach_lerp_(first, slopes, 1 - beta1)
            torch._foreach_mul_(second, beta2)
            torch._foreach_addcmul_(second, slopes, slopes, 1 - beta2)
            width = torch._foreach_sqrt(second)
            torch._foreach_div_(width, correction2.sqrt())
            torch._foreach_add_(width, group["eps"])
            step = torch._foreach_div(first, width)
            torch._foreach_mul_(step, rate / correction1)
            torch._foreach_sub_(weights, step)
        apart = torch._foreach_sub(self.values, self.averages)
        torch._foreach_mul_(apart, share)
        torch._foreach_add_(self.averages, apart)


def make(encoder: str, device: torch.device) -> UniMatchV2:
    """A method with random weights, each of which has a gradient of its weight's layout."""
    torch.manual_seed(0)
    method = UniMatchV2(SegmentationModel(encoder, 21, weights=None)).to(device)
    for weight in method.student.parameters():
        weight.grad = torch.randn_like(weight)
    return method


def main() -> None:
    """Measure by turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="vitb")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--turn", type=int, default=5, help="steps in a row before waiting for the device")
    parser.add_argument("--backend", default="inductor", help="of torch.compile; aot_eager only makes graphs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.rounds < 1 or options.turn < 1:
        parser.error("--rounds and --turn: at least 1")
    device = torch.device(options.device)
    clock = Clock(device)
    sides: dict[str, Any] = {"as trained": AsTrained(make(options.encoder, device))}
    sides["as trained"].optimizer.step()  # as the other has done
    sides["together"] = Together(make(options.encoder, device), options.backend)
    first, apart = {}, []
    for iteration in range(3):
        for side, step in sides.items():
            start = clock.now()
            step(iteration + 1)
            first.setdefault(side, clock.now() - start)
        apart.append(difference(*(side.method for side in sides.values())))
    times = {side: measured(step, clock, options.rounds, options.turn) for side, step in sides.items()}
    weights = sum(weight.numel() for weight in sides["together"].method.student.parameters())
    rates = {side: BYTES * weights / statistics.median(taken) for side, (taken, _) in times.items()}
    copied = copy_rate(weights, clock)
    print(f"{options.encoder}, {weights / 1e6:.1f} million weights, {device}; a copy moves {copied / 1e9:.0f} GB/s")
    for side, (taken, host) in times.items():
        print(
            f"{side:12s}{1000 * statistics.median(taken):8.2f} ms a step, {rates[side] / 1e9:6.0f} GB/s, "
            f"{1000 * statistics.median(host):6.2f} ms of the host; the first took {first[side]:.1f} s"
        )
    print(f"largest difference of a weight after each of three steps, of its tensor's largest: {max(apart):.1e}")
    if options.json:
        result = {"machine": machine(), "options": {key: str(value) for key, value in vars(options).items()}}
        result |= {"seconds": times, "first": first, "bytes/s": rates, "copy bytes/s": copied, "difference": apart}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measured(step: Callable[[int], None], clock: Clock, rounds: int, turn: int) -> tuple[list[float], list[float]]:
    """Seconds of a step, of some in a row, and those that the host takes to order it."""
    taken, host = [], []
    for _ in range(rounds):
        start = clock.now()
        for _ in range(turn):
            step(1000)
        ordered = time.perf_counter()
        taken.append((clock.now() - start) / turn)
        host.append((ordered - start) / turn)
    return taken, host


def difference(ours: UniMatchV2, theirs: UniMatchV2) -> float:
    """The largest of any weight, of student and teacher, as a share of its tensor's largest."""
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    with torch.no_grad():
        return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-6)) for a, b in pairs)


def copy_rate(weights: int, clock: Clock) -> float:
    """Bytes a second, read and written, of a large copy: the best of ten."""
    source = torch.zeros(weights, device=clock.device)
    target, times = torch.empty_like(source), []
    for _ in range(10):
        start = clock.now()
        target.copy_(source)
        times.append(clock.now() - start)
    return 8 * weights / min(times)


if __name__ == "__main__":
    main()
