"""Trains the runs in the tables of docs/few_labels.md, on real photographs with DINOv2, one after the other.

    nice -n 19 python benchmarks/proof.py DATA WEIGHTS --runs RUNS --results benchmarks/proof.jsonl --plan rate frozen

``DATA`` holds ``camvid/`` and ``nuclei/``, ``WEIGHTS`` is a DINOv2 ViT-S/14. The runs follow each other on one thread.
Runs that are already in the results file are skipped, and an interrupted run continues from its last checkpoint: just
repeat the command. ``--list`` only prints the runs that remain.

    python benchmarks/proof.py DATA WEIGHTS --gpu --at-once 6 --plan trained labels methods

    python benchmarks/proof.py DATA WEIGHTS --gpu --at-once 6 --plan recipe --seeds 3 4 5

With ``--gpu`` the encoder is trained too, in bfloat16, with crops of 322, 4 + 4 images and 3,000 steps, and
``--at-once`` runs are trained side by side. Each training evaluates whole validation images three times.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
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
    "trainer.max_epochs=-1",
    "trainer.check_val_every_n_epoch=null",
    "trainer.num_sanity_val_steps=0",
    "datamodule.workers=1",
    "checkpoint.every_minutes=3",
]
GPU = ["trainer=gpu", "recipe.crop=322", "recipe.batch_size=4", "recipe.supervised_batch_size=4"]
"""In place of what :data:`SETTINGS` says of these."""
GPU_STEPS = 3000


OPTIONS = {
    "tau": ("method.tau=0.8",),
    "dice": ("method.dice=1",),
    "unlock": ("encoder.unlock_after=150",),  # beside those whose encoder is trained from the first step on
    "balanced": ("method.class_weights=balanced",),
    "rare": ("datamodule.rare_class_temperature=0.05",),
    "reliable": ("datamodule.held_out=auto", "method.thresholds=reliable"),
    "first": ("method.labeled_first=0.3333",),
    "first_sixth": ("method.labeled_first=0.1667",),
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
    recipe: str | None = None  # with its own rate and decay
    gpu: bool = False

    @property
    def name(self) -> str:
        """The run directory's name, which holds all that tells runs apart."""
        labels = "all" if self.labeled is None else self.labeled
        encoder = "frozen" if self.frozen else "trained"
        return (
            ("gpu_" if self.gpu else "")
            + f"{self.data}_{labels}_{self.method}_{encoder}_{self.recipe or f'{self.rate:g}'}_{self.steps}"
            + f"_seed{self.seed}"
            + (f"_{self.option}" if self.option else "")
        )

    def overrides(self, data: Path, weights: Path) -> list[str]:
        """The command's settings."""
        own = {word.partition("=")[0] for word in GPU} if self.gpu else set()
        rate = ["method.ema_decay=0.99", f"recipe.learning_rate={self.rate:g}"]
        if self.recipe is not None:
            own, rate = own | {"recipe.scale"}, [f"recipe={self.recipe}"]
        return [
            *(word for word in SETTINGS[self.data] if word.partition("=")[0] not in own),
            *(GPU if self.gpu else ()),
            *COMMON,
            *rate,
            f"dataset.root={data / self.data}",
            f"encoder.weights={weights}",
            f"encoder.freeze={str(self.frozen).lower()}",
            f"method={self.method}",
            f"dataset.labeled={'null' if self.labeled is None else self.labeled}",
            f"dataset.split_seed={self.seed}",
            f"seed={self.seed}",
            f"trainer.max_steps={self.steps}",
            f"trainer.val_check_interval={max(1, self.steps // (3 if self.gpu else 2))}",
            *OPTIONS.get(self.option or "", ()),
        ]


OF_PSEUDO_LABELS = ("tau", "reliable", "first", "first_sixth")
"""Those that need unlabelled images; the others are judged without any, which is cheaper."""


FEW = {"camvid": 12, "nuclei": 8}
"""How many labelled images are few, by data set."""
PAIR = ("supervised", "unimatch_v2")
OF_RECIPES = (("supervised", "few_labels"), ("unimatch_v2", "few_labels"), ("unimatch_v2", "paper"))
"""What the recipe for few labels is compared with: itself without unlabelled images, and the paper's, as long."""


def plan(names: list[str], data: list[str], methods: list[str], seeds: list[int]) -> Iterator[Run]:
    """The runs of the named parts, in order, on these data sets; ``methods`` are those of the parts that compare."""
    for name in names:
        if name == "rate":  # length and rate are found on labelled-only
            for rate in (5e-5, 2.5e-5):
                yield Run("camvid", 12, "supervised", 0, rate)
        elif name in ("frozen", "trained"):
            for of, seed, method in product(data, seeds, methods):
                yield Run(of, FEW[of], method, seed, frozen=name == "frozen")
        elif name == "limit":  # what all labels give
            for of in data:
                yield Run(of, None, "supervised", 0, frozen=False)
        elif name == "labels":
            for labeled, seed, method in product((24, None), seeds, methods):
                yield Run("camvid", labeled, method, seed)
        elif name == "recipe":
            for of, seed, (method, recipe) in product(data, seeds, OF_RECIPES):
                yield Run(of, FEW[of], method, seed, recipe=recipe)
        elif name in OPTIONS:
            method = PAIR[name in OF_PSEUDO_LABELS]
            for of, seed in product(data, seeds):
                yield Run(of, FEW[of], method, seed, frozen=name != "unlock", option=name)
        else:
            for of, seed, method in product(data, seeds, ("supervised_strong", "fixmatch", "unimatch_v1")):
                yield Run(of, FEW[of], method, seed)


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


def train(run: Run, options: argparse.Namespace) -> None:
    """Train, or go on with it, and write its line."""
    run_dir = options.runs / run.name
    overrides = run.overrides(options.data.resolve(), options.weights.resolve())
    words = [sys.executable, "-m", "unimatch.run", *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*words, f"hydra.run.dir={run_dir}", "resume=auto"], check=True, env=environment)
    with options.results.open("a") as file:
        file.write(json.dumps({"name": run.name, **result_of(run_dir)}) + "\n")


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/proof"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/proof.jsonl"))
    parts = ("rate", "frozen", "trained", "limit", "labels", "methods", "recipe", *OPTIONS)
    parser.add_argument("--plan", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--data-sets", nargs="+", choices=list(FEW), default=list(FEW))
    parser.add_argument("--methods", nargs="+", choices=PAIR, default=list(PAIR))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--option", choices=OPTIONS, help="add it to the runs with pseudo labels, and leave out others")
    parser.add_argument("--only", default="", help="leave out runs whose name does not contain this")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    runs = plan(options.plan, options.data_sets, options.methods, options.seeds)
    if options.gpu:
        runs = (replace(run, gpu=True, frozen=False, steps=GPU_STEPS) for run in runs)
    if options.steps is not None:
        runs = (replace(run, steps=options.steps) for run in runs)
    if options.option is not None:
        runs = (replace(run, option=options.option) for run in runs if run.method != "supervised")
    runs = (run for run in runs if options.only in run.name)
    lines = options.results.read_text().splitlines() if options.results.is_file() else []
    done = {json.loads(line)["name"] for line in lines}
    to_do = dict[str, Run]()
    for run in runs:
        print(f"{run.name}: {'done' if run.name in done else 'to do'}", flush=True)
        if run.name not in done:
            to_do[run.name] = run
    if not options.list:
        with ThreadPoolExecutor(options.at_once) as together:
            for _ in together.map(partial(train, options=options), to_do.values()):
                pass


if __name__ == "__main__":
    main()
