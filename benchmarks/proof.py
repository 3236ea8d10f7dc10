"""Trains the table of docs/few_labels.md on real photographs with a real DINOv2 encoder, run by run.

    nice -n 19 python benchmarks/proof.py DATA WEIGHTS --runs RUNS --results benchmarks/proof.jsonl --plan rate frozen

``DATA`` holds ``camvid/`` and ``nuclei/``, ``WEIGHTS`` is a DINOv2 ViT-S/14. Runs follow each other on one thread. What
is in the results file is left out, and a run that was interrupted goes on from its last checkpoint: start the same
command again. ``--list`` only says what is to be done.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

SETTINGS = {
    "camvid": [
        "dataset=camvid",
        "recipe.crop=196",
        "recipe.scale=[0.75,1.5]",
        "recipe.batch_size=2",
        "recipe.supervised_batch_size=2",
    ],
    "nuclei": [
        "dataset=folder",
        "recipe.crop=196",
        "recipe.batch_size=2",
        "recipe.supervised_batch_size=2",
    ],
}
COMMON = [
    "encoder=vits",
    "method.ema_decay=0.99",
    "trainer.max_epochs=-1",
    "trainer.check_val_every_n_epoch=null",
    "trainer.num_sanity_val_steps=0",
    "datamodule.workers=1",
    "checkpoint.every_minutes=3",
]


OPTIONS = {
    "tau": ("method.tau=0.8",),
    "dice": ("method.dice=1",),
    "balanced": ("method.class_weights=balanced",),
    "rare": ("datamodule.rare_class_temperature=0.05",),
    "reliable": ("datamodule.held_out=auto", "method.thresholds=reliable"),
}
"""What may help beyond the paper, by a short name, and its settings."""


@dataclass(frozen=True)
class Run:
    """One training of the table."""

    data: str
    labeled: int | None
    method: str
    seed: int
    rate: float = 2.5e-5  # 53.1 in the plan "rate", and 51.4 with twice that
    steps: int = 1500
    frozen: bool = True
    option: str | None = None

    @property
    def name(self) -> str:
        """The run directory's name, which holds all that tells runs apart."""
        labels = "all" if self.labeled is None else self.labeled
        encoder = "frozen" if self.frozen else "trained"
        return f"{self.data}_{labels}_{self.method}_{encoder}_{self.rate:g}_{self.steps}_seed{self.seed}" + (
            f"_{self.option}" if self.option else ""
        )

    def overrides(self, data: Path, weights: Path) -> list[str]:
        """The command's settings."""
        return [
            *SETTINGS[self.data],
            *COMMON,
            f"dataset.root={data / self.data}",
            f"encoder.weights={weights}",
            f"encoder.freeze={str(self.frozen).lower()}",
            f"method={self.method}",
            f"dataset.labeled={'null' if self.labeled is None else self.labeled}",
            f"dataset.split_seed={self.seed}",
            f"seed={self.seed}",
            f"recipe.learning_rate={self.rate:g}",
            f"trainer.max_steps={self.steps}",
            f"trainer.val_check_interval={max(1, self.steps // 2)}",
            *OPTIONS.get(self.option or "", ()),
        ]


OF_PSEUDO_LABELS = ("tau", "reliable")
"""Those that need unlabelled images; the others are judged without any, which is cheaper."""


def plan(names: list[str], seeds: list[int]) -> Iterator[Run]:
    """The runs of the named parts, in order."""
    pair = ("supervised", "unimatch_v2")
    for name in names:
        if name == "rate":  # length and rate are found on labelled-only
            for rate in (5e-5, 2.5e-5):
                yield Run("camvid", 12, "supervised", 0, rate)
        elif name in ("frozen", "trained"):
            for seed, method in product(seeds, pair):
                yield Run("camvid", 12, method, seed, frozen=name == "frozen")
        elif name == "labels":
            for labeled, seed, method in product((24, None), seeds, pair):
                yield Run("camvid", labeled, method, seed)
        elif name == "nuclei":
            for seed, method in product(seeds, pair):
                yield Run("nuclei", 8, method, seed)
        elif name in OPTIONS:
            for seed in seeds:
                yield Run("camvid", 12, pair[name in OF_PSEUDO_LABELS], seed, option=name)
        else:
            for seed, method in product(seeds, ("supervised_strong", "fixmatch", "unimatch_v1")):
                yield Run("camvid", 12, method, seed)


def result_of(run_dir: Path) -> dict[str, object]:
    """What a finished run found: last and best evaluation, and how long it took."""
    summary = json.loads((run_dir / "summary.json").read_text())
    last = json.loads((run_dir / "evaluations.jsonl").read_text().splitlines()[-1])
    return {
        "teacher_last": last["teacher"]["miou"],
        "teacher_best": summary["teacher/miou_best"],
        "student_last": last["student"]["miou"],
        "teacher_classes": last["teacher"]["iou"],
        "steps": summary["steps"],
        "seconds": summary["seconds"],
    }


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/proof"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/proof.jsonl"))
    parts = ("rate", "frozen", "trained", "labels", "nuclei", "methods", *OPTIONS)
    parser.add_argument("--plan", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    lines = options.results.read_text().splitlines() if options.results.is_file() else []
    done = {json.loads(line)["name"] for line in lines}
    for run in plan(options.plan, options.seeds):
        print(f"{run.name}: {'done' if run.name in done else 'to do'}", flush=True)
        if run.name in done or options.list:
            continue
        run_dir = options.runs / run.name
        overrides = run.overrides(options.data.resolve(), options.weights.resolve())
        words = [sys.executable, "-m", "unimatch.run", *overrides]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([*words, f"hydra.run.dir={run_dir}", "resume=auto"], check=True, env=environment)
        with options.results.open("a") as file:
            file.write(json.dumps({"name": run.name, **result_of(run_dir)}) + "\n")
        done.add(run.name)


if __name__ == "__main__":
    main()
