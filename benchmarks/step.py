"""A training step compared with a plain one, by turns in one process: time, rate, share of the peak rate, memory.

    OMP_NUM_THREADS=2 python benchmarks/step.py --encoder vits --batch 1 --crop 266 --pairs 15
    python benchmarks/step.py --encoder vits --batch 2 --crop 518 --classes 150 --pairs 0
    OMP_NUM_THREADS=2 python benchmarks/step.py --batch 1 --authors CHECKOUT
    python benchmarks/step.py --device cuda --encoder vitb --batch 4 --precision bf16 --compile --turn 5
    python benchmarks/step.py --device cuda --encoder vitb --precision bf16 --compile --parts 4 --no-baseline
    python benchmarks/step.py --device cuda --encoder vitb --precision bf16 --compile --compile-blocks --no-baseline

The plain step (``benchmarks/plain_step.py``) is eager float32 on the same weights, images and random draws. The peak
rate is that of matrix products. Memory is the peak above the models' weights during two steps, gradients and optimiser
state included, each side in a process of its own: on a GPU what the allocator gave out, on a CPU resident memory.
Weights are random, and the threshold is set so that about half of the pseudo labels count. With ``--parts`` a step has
that many parts of ``--batch`` images in one batch (``trainer.parts_at_once``). The first step includes compiling.
PyTorch keeps compiled code (``TORCHINDUCTOR_CACHE_DIR``), so only an empty folder shows the whole time. With
``--compile-mode reduce-overhead`` each compiled part is a CUDA graph. On a GPU, one more step counts how often the host
waits for the device.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from authors import SIZES, AuthorsStep, difference
from inputs import METHODS, make_batch, make_method
from machine import machine
from plain_step import PlainStep
from timing import Clock
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from unimatch.methods import Method, semi_supervised
from unimatch.methods.parts_in_batch import StepGenerator
from unimatch.speed import cross_entropy_by_rows
from unimatch.speed.apply import speed_up
from unimatch.speed.compile import LOSSES_ON, compile_model

OVERHEAD = ("pseudo labels", "CutMix", "losses", "losses' backward", "teacher update")
"""The parts that are no network."""


class OurStep:
    """A step as Lightning takes it."""

    def __init__(self, method: Method, options: argparse.Namespace) -> None:
        self.method, self.optimizer, self.compiled = method, method.build_optimizer(), options.compile
        speed_up(method, method.device)
        self.autocast: Any = contextlib.nullcontext
        if options.precision == "bf16":
            self.autocast = lambda: torch.autocast(method.device.type, torch.bfloat16)
        if options.compile:
            how = {"blocks": options.compile_blocks, "mode": options.compile_mode, "backend": options.backend}
            for who, model in (("student", method.student), ("teacher", method.teacher.model)):
                compile_model(model, who, **how)
            if not options.plain_losses:
                LOSSES_ON.add("cuda")

    def __call__(self, batch: Any, generator: torch.Generator, iteration: int) -> torch.Tensor:
        """One step; the loss, on the device."""
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        with self.autocast():
            losses = self.method.losses(batch, generator)
        self.optimizer.zero_grad()
        self.backward(losses.total)
        self.update()
        self.method.teacher.update(self.method.student, iteration)
        return losses.total.detach()

    def backward(self, total: torch.Tensor) -> None:
        """Of the whole loss."""
        total.backward()

    def update(self) -> None:
        """Of the student."""
        self.optimizer.step()

    def watch(self, clock: Clock) -> None:
        """Time its parts."""
        method = self.method
        clock.wrap(method.teacher, "coarse", "teacher")
        clock.wrap(method.student, "encode", "student")
        clock.wrap(method.student, "decode", "student")
        clock.wrap(semi_supervised, "label_and_confidence", "pseudo labels")
        if hasattr(method, "cutmixed"):
            clock.wrap(method, "cutmixed", "CutMix")
            clock.wrap(method, "consistency", "losses")
        clock.wrap(method, "criterion", "losses")
        clock.wrap(cross_entropy_by_rows.CrossEntropyPerPixel, "backward", "losses' backward")
        clock.wrap(self, "backward", "backward")
        clock.wrap(self, "update", "optimiser")
        clock.wrap(method.teacher, "update", "teacher update")


def seconds_of(step: Any, batch: Any, clock: Clock, iteration: int, steps: int = 1) -> tuple[float, float]:
    """How long a step takes, of some in a row, and the loss of the last."""
    method: Method | None = getattr(step, "method", None)
    parts = 1 if method is None else method.parts_at_once
    generator = StepGenerator.seeded([iteration * parts + part for part in range(parts)], clock.device)
    start = clock.now()
    for _ in range(steps):
        loss = step(batch, generator, iteration)
    return (clock.now() - start) / steps, float(loss)


def host_waits(step: OurStep, batch: Any, device: torch.device) -> int | None:
    """How often the host waits for the device in a step; None where there is no GPU."""
    if device.type != "cuda":
        return None
    count = step.method.parts_at_once
    generator = StepGenerator.seeded(list(range(count)), device)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step(batch, generator, 1)
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def kernels(step: Any, batch: Any, clock: Clock, steps: int = 3) -> None:
    """Print the device's time of a step, and the kernels with the largest parts in it."""
    cuda = clock.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiled:
        for i in range(steps):
            seconds_of(step, batch, clock, i)
    spent = "self_device_time_total" if cuda else "self_cpu_time_total"
    rows = sorted(profiled.key_averages(), key=lambda row: -getattr(row, spent))
    total = sum(getattr(row, spent) for row in rows)
    print(f"on the {clock.device.type}: {total / 1000 / steps:.2f} ms a step; kernels:")
    for row in rows[:20]:
        print(f"{getattr(row, spent) / 1000 / steps:9.2f} ms {row.count / steps:7.1f} x {row.key[:90]}")


def matmul_peak(device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """Operations a second of a large matrix product, the best of ten."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(10):
        start = clock.now()
        for _ in range(5):
            a @ b
        times.append((clock.now() - start) / 5)
    return 2 * n**3 / min(times)


def flops(options: argparse.Namespace, device: torch.device) -> float:
    """Of a plain step, counted at 1 + 1 images: it has no operation that the counter does not know."""
    batch = make_batch(options, device, 1)
    step = PlainStep(make_method(options, device, batch), Clock(device))
    with FlopCounterMode(display=False) as counter:
        step(batch, torch.Generator(device).manual_seed(0), 0)
    return float(counter.get_total_flops()) * options.batch * options.parts


def memory(options: argparse.Namespace, device: torch.device) -> int:
    """Bytes above the weights, at the highest point of two steps of one side."""
    batch = make_batch(options, device, options.batch * options.parts)
    method, clock = make_method(options, device, batch), Clock(device)
    step: Any = OurStep(method, options) if options.memory == "ours" else PlainStep(method, clock)
    if options.memory == "authors":
        step = AuthorsStep(method, clock, options.authors)
    if options.memory != "ours":
        del method.student, method.teacher  # it has copies of these
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = resident("VmRSS")
    for iteration in range(2):
        seconds_of(step, batch, clock, iteration)
    return (torch.cuda.max_memory_allocated() if device.type == "cuda" else resident("VmHWM")) - before


def resident(field: str) -> int:
    """Bytes, from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def memory_of_both(sides: list[str]) -> dict[str, int]:
    """Each side in a process of its own; freed memory goes back to the system at once, so that it is not counted."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    found = {}
    for side in sides:
        command = [sys.executable, __file__, *sys.argv[1:], "--memory", side]
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[side] = int(output.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="unimatch_v2")
    parser.add_argument("--encoder", default="vits")
    parser.add_argument("--batch", type=int, default=4, help="labelled images, and as many unlabelled ones")
    parser.add_argument("--crop", type=int, default=518)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument(
        "--precision", choices=("32", "bf16"), default="32", help="on our side; the baseline is float32"
    )
    parser.add_argument("--compile", action="store_true", help="compile our side with torch.compile")
    parser.add_argument("--compile-blocks", action="store_true", help="compile a transformer's blocks one by one")
    parser.add_argument(
        "--compile-mode",
        choices=("default", "max-autotune-no-cudagraphs", "reduce-overhead", "max-autotune"),
        default="default",
    )
    parser.add_argument("--backend", default="inductor", help="of torch.compile; aot_eager only makes graphs")
    parser.add_argument("--plain-losses", action="store_true", help="compile only the networks, not the losses")
    parser.add_argument(
        "--checkpointing", action="store_true", help="gradient checkpointing in the encoders of both sides"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of timed steps, by turns; 0: only memory")
    parser.add_argument("--turn", type=int, default=1, help="steps of a side in a row before it waits for the device")
    parser.add_argument(
        "--profile", action="store_true", help="also list the kernels that take most of our step's time"
    )
    parser.add_argument("--limit-gib", type=float, help="GPU memory that may be used, to imitate a smaller GPU")
    parser.add_argument("--parts", type=int, default=1, help="parts of a step in one batch; needs --no-baseline")
    parser.add_argument(
        "--authors", type=Path, metavar="CHECKOUT", help="use the network of the authors' repository in the plain step"
    )
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", choices=("ours", "plain", "authors"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.turn < 1:
        parser.error("--turn: at least 1")
    if options.authors and (options.method not in ("unimatch_v2", "supervised") or options.encoder not in SIZES):
        parser.error(f"--authors: of unimatch_v2 and supervised, with {', '.join(SIZES)}")
    if options.parts < 1 or (options.parts > 1 and not options.no_baseline):
        parser.error("--parts: at least 1, and with --no-baseline")
    if not options.compile and (options.compile_blocks or options.compile_mode != "default" or options.plain_losses):
        parser.error("--compile-blocks, --compile-mode and --plain-losses: need --compile")
    device = torch.device(options.device)
    if options.limit_gib is not None:
        if device.type != "cuda":
            parser.error("--limit-gib: only a GPU's memory can be limited")
        torch.cuda.set_per_process_memory_fraction(
            options.limit_gib * 2**30 / torch.cuda.get_device_properties(device).total_memory
        )
    if options.memory:
        print(memory(options, device))
        return
    result: dict[str, Any] = {"machine": machine(), "options": {k: str(v) for k, v in vars(options).items()}}
    images = options.batch * options.parts * (1 if options.method == "supervised" else 2)
    print(
        f"{options.method}, {options.encoder}, {images} images of {options.crop} px, {options.classes} classes, ",
        end="",
    )
    print(f"{device}, {torch.get_num_threads()} threads; ours in {options.precision}{', compiled' * options.compile}")
    sides = ["ours"] if options.no_baseline else ["ours", "plain" if options.authors is None else "authors"]
    if options.pairs:
        result |= times(options, device, sides, images)
    if not options.no_memory:
        peak = memory_of_both(sides)
        result["bytes above weights"] = peak
        row = "".join(f"{peak[side] / 2**20:12.0f}" for side in sides)
        print(
            f"{'MiB above weights':22s}{row}"
            + (f"   ratio {peak['ours'] / peak[sides[1]]:.3f}" if len(sides) > 1 else "")
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def times(options: argparse.Namespace, device: torch.device, sides: list[str], images: int) -> dict[str, Any]:
    """Measure both sides by turns, then the parts of each; print the table."""
    clock = Clock(device)
    work = flops(options, device)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    plain = matmul_peak(device, torch.float32, clock)
    peaks = {"ours": matmul_peak(device, dtype, clock), "plain": plain, "authors": plain}
    batch = make_batch(options, device, options.batch * options.parts)
    method = make_method(options, device, batch)
    steps: dict[str, Any] = {}
    if "plain" in sides:
        steps["plain"] = PlainStep(method, clock)
    if "authors" in sides:
        steps["authors"] = AuthorsStep(method, clock, options.authors)
        furthest = difference(steps["authors"], method, batch["unlabeled"]["weak"])
        print(f"the networks' logits differ by {furthest:.1e} of the largest")
    steps["ours"] = OurStep(method, options)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    losses: dict[str, list[float]] = {side: [] for side in sides}
    warm = 3 if device.type == "cuda" or options.compile else 1
    for i in range(warm + options.pairs):
        for side in sides if i % 2 else sides[::-1]:
            taken, loss = seconds_of(steps[side], batch, clock, i, options.turn if i >= warm else 1)
            seconds[side].append(taken)
            losses[side].append(loss)
    waits = host_waits(steps["ours"], batch, device)
    steps["ours"].watch(clock)
    clock.on = True
    parts: dict[str, dict[str, float]] = {}
    repeats = max(3, options.pairs // 3)
    for side in sides:
        clock.seconds.clear()
        for i in range(repeats):
            seconds_of(steps[side], batch, clock, warm + options.pairs + i)
        parts[side] = {part: value / repeats for part, value in clock.seconds.items()}
        if "losses' backward" in parts[side]:
            parts[side]["backward"] -= parts[side]["losses' backward"]
    clock.on = False
    if options.profile:
        kernels(steps["ours"], batch, clock)
    median = {side: statistics.median(seconds[side][warm:]) for side in sides}
    rows = {
        "ms": {side: 1000 * median[side] for side in sides},
        "images/s": {side: images / median[side] for side in sides},
        "TFLOP/s": {side: work / median[side] / 1e12 for side in sides},
        "% of the matrix peak": {side: 100 * work / median[side] / peaks[side] for side in sides},
        "s of the 1st step": {side: seconds[side][0] for side in sides},
        "loss of the 1st step": {side: losses[side][0] for side in sides},
    }
    rows |= {f"  ms {part}": {s: 1000 * parts[s].get(part, 0.0) for s in sides} for part in parts["ours"]}
    print(f"{work / 1e12:.3f} TFLOP a step; matrix peak {peaks['ours'] / 1e12:.3f} TFLOP/s ({options.precision})")
    print(f"{'':22s}" + "".join(f"{side:>12s}" for side in sides))
    for name, row in rows.items():
        print(f"{name:22s}" + "".join(f"{row[side]:12.{5 if 'loss of' in name else 2}f}" for side in sides))
    overhead = sum(parts["ours"].get(part, 0.0) for part in OVERHEAD) / sum(parts["ours"].values())
    print(f"{' + '.join(OVERHEAD)}: {100 * overhead:.1f}% of the parts' sum")
    if waits is not None:
        print(f"the host waited {waits} times for the device in our step")
    found = {
        "host waits": waits,
        "flops": work,
        "peaks": peaks,
        "rows": rows,
        "overhead": overhead,
        "seconds": seconds,
        "losses": losses,
    }
    if len(sides) > 1:
        ratios = [a / b for a, b in zip(seconds["ours"][warm:], seconds[sides[1]][warm:], strict=True)]
        found |= {"ratio": statistics.median(ratios), "ratios": ratios}
        span = f"median of {len(ratios)} pairs, {min(ratios):.3f} to {max(ratios):.3f}"
        print(f"time of ours / {sides[1]}: {found['ratio']:.3f} ({span})")
    return found


if __name__ == "__main__":
    main()
