"""Steps per second for several numbers of processes, and for several lengths of the unlabelled list.

    OMP_NUM_THREADS=1 python benchmarks/scale.py processes 1 2 --json processes.json
    OMP_NUM_THREADS=1 python benchmarks/scale.py lists 1000 1000000 --json lists.json
    python benchmarks/scale.py processes 1 2 4 8 --accelerator gpu --precision bf16-mixed --encoder vits --crop 518
        --batch 4 --workers 8 --steps 100   (the same line)

Trains UniMatch V2 with random weights. ``processes`` starts one training for each number, with DDP and the same number
of images per process, and reports the speed of a step as a share of the speed of one process. ``lists`` trains in one
process, by turns with lists of each length, which repeat the same 200 images of 640 x 480, and reports steps a second,
memory and the time until the first step. Speeds are medians over steps, without the first ones.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lists import make_images, memory
from machine import machine

import unimatch
from unimatch.data.catalog import COCO
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePairs

WARM_UP = 3
QUIET: dict[str, Any] = {
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""A trainer that trains and does nothing else."""


class Clock(lightning.Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the time, once the device has done the step."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def result(self) -> dict[str, float]:
        """Seconds of a step, and until the first was done."""
        steps = [after - before for before, after in zip(self.times, self.times[1:], strict=False)][WARM_UP:]
        return {"step": statistics.median(steps), "first": self.times[0] - self.started}


def train(options: argparse.Namespace, data: unimatch.SegmentationData, devices: int) -> dict[str, float]:
    """One short training."""
    clock = Clock()
    torch.manual_seed(0)
    model = unimatch.SegmentationModel(options.encoder, data.info.num_classes, weights=None)
    module = unimatch.SemiSupervisedDataModule(
        data, crop=options.crop, batch_size=options.batch, workers=options.workers
    )
    trainer = unimatch.Trainer(
        accelerator=options.accelerator,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=options.precision,
        max_steps=options.steps + WARM_UP + 1,
        callbacks=[clock],
        **QUIET,
    )
    trainer.fit(unimatch.UniMatchV2(model), module)
    return clock.result()


def made(root: Path, length: int) -> unimatch.SegmentationData:
    """A data set whose unlabelled list has so many lines."""
    masks = [(str(root / f"{i}.jpg"), str(root / f"{i}.png")) for i in range(200)]
    lines = FilePairs([(masks[i % 100][0], None) for i in range(length)])
    sources = [
        FileSource(FilePairs(masks[:100]), COCO),
        FileSource(lines, COCO),
        FileSource(FilePairs(masks[100:]), COCO),
    ]
    return unimatch.SegmentationData(COCO, *sources)


def of_processes(options: argparse.Namespace) -> list[dict[str, float]]:
    """A row for each number of processes, each measured in a program of its own."""
    rows = []
    for count in options.counts:
        words = [sys.executable, __file__, "one", str(count), *sys.argv[2 + len(options.counts) :]]
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            subprocess.run([*words, "--json", file.name], check=True)
            rows.append({"processes": count, **json.loads(Path(file.name).read_text())})
    alone = rows[0]["step"]
    return [{**row, "steps_per_second": 1 / row["step"], "share_of_one": alone / row["step"]} for row in rows]


def of_lists(options: argparse.Namespace) -> list[dict[str, float]]:
    """A row for each length, measured by turns."""
    found: dict[int, list[dict[str, float]]] = {length: [] for length in options.counts}
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder))
        for _ in range(options.rounds):
            for length in options.counts:
                row = train(options, made(Path(folder), length), 1)
                found[length].append({**row, "memory_mib": memory()["VmRSS"]})
    return [
        {
            "length": length,
            "steps_per_second": 1 / statistics.median(row["step"] for row in rows),
            "slowest": 1 / max(row["step"] for row in rows),
            "fastest": 1 / min(row["step"] for row in rows),
            "first_step_seconds": statistics.median(row["first"] for row in rows),
            "memory_mib": statistics.median(row["memory_mib"] for row in rows),
        }
        for length, rows in found.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["processes", "lists", "one"], help="one: what `processes` starts")
    parser.add_argument("counts", type=int, nargs="+", help="numbers of processes, or lengths")
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="steps of each training that are measured")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of turns, for lists")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if options.what == "one":
        data = unimatch.data.digits(labeled=64, train=64 + 1000 * options.counts[0], val=8, size=options.crop)
        row = train(options, data, options.counts[0])
        if options.json and lightning.pytorch.utilities.rank_zero_only.rank == 0:
            options.json.write_text(json.dumps(row))
        return
    rows = of_processes(options) if options.what == "processes" else of_lists(options)
    for row in rows:
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "options": vars(options), "rows": rows}, default=str))


if __name__ == "__main__":
    main()
