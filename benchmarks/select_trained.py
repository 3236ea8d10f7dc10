"""Trains on the photos that ``unimatch.select`` chooses and on random ones, and compares the scores.

    nice -n 19 python benchmarks/select_trained.py DATA WEIGHTS --out runs/select --results select_trained.jsonl

``DATA`` holds ``camvid/`` and ``nuclei/``, ``WEIGHTS`` is a DINOv2 ViT-S/14, which is not trained. Six and twelve
photos of CamVid are labelled, and eight of the nuclei. Nothing else differs between the trainings: labelled-only, two
images per step, one seed. Every third validation and every sixth test image of CamVid is scored, and all images of the
nuclei. The trainings follow each other on one thread. Trainings that are already in the results file are skipped, and
an interrupted one continues from its last checkpoint: just repeat the command. ``--list`` prints the trainings that
remain, ``--table`` the results so far.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import unimatch
from unimatch.data.sources.base import SegmentationData, Source

EVERY = {"camvid": {"val": 3, "test": 6}, "nuclei": {"val": 1, "test": 1}}
"""Every how many images of a part are scored."""

COUNTS = {"camvid": (6, 12), "nuclei": (8,)}
"""How many photos are labelled."""

DRAWS = 10

COMMON = (
    *("encoder=vits", "encoder.freeze=true", "method=supervised", "method.ema_decay=0.99"),
    *("recipe.batch_size=2", "recipe.supervised_batch_size=2", "trainer.max_epochs=-1"),
    *("trainer.check_val_every_n_epoch=null", "trainer.num_sanity_val_steps=0", "datamodule.workers=1"),
    *("checkpoint.every_minutes=3", "callbacks.pictures=null", "callbacks.report=null"),
)


@dataclass(frozen=True)
class Training:
    """One training."""

    data: str
    n: int
    choice: str
    """``select``, or the number of a random draw."""

    @property
    def name(self) -> str:
        """Tells it apart in the results and below the folder of runs."""
        return f"{self.data}_{self.n}_{self.choice}"


def plan(data: Sequence[str]) -> Iterator[Training]:
    """The trainings in order: of each number of photos our choice first."""
    for name in data:
        for n in COUNTS[name]:
            for choice in ("select", *map(str, range(DRAWS))):
                yield Training(name, n, choice)


def load(name: str, root: Path) -> SegmentationData:
    """Return a data set with all its training images labelled."""
    return unimatch.data.camvid(root / name) if name == "camvid" else unimatch.data.folder(root / name)


def lay_out(data: SegmentationData, folder: Path, name: str) -> None:
    """Write ``images/ masks/`` and the scored part of ``val/`` and ``test/``: links, and masks of ids and 255."""
    write_part(data.labeled, folder, 1)
    for part, step in EVERY[name].items():
        write_part(getattr(data, part), folder / part, step)
    (folder / "classes.txt").write_text("\n".join(data.info.classes) + "\n")  # last: it says that all is there


def write_part(source: Source, folder: Path, step: int) -> None:
    """Write every ``step``-th image of a part, and its mask."""
    for index in range(0, len(source), step):
        photo = Path(source.name(index))
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        link = folder / "images" / photo.name
        link.unlink(missing_ok=True)
        link.symlink_to(photo.resolve())
        Image.fromarray(source.mask(index)).save(folder / "masks" / f"{photo.stem}.png")


def train(
    root: Path, run_dir: Path, weights: Path, options: argparse.Namespace, *overrides: str
) -> dict[str, float | int | str]:
    """Train on a folder, or go on, and return the teacher's mIoU on validation and test, in percent.

    ``options`` has ``steps``, ``rate`` and ``crop``.
    """
    steps, rate, crop = options.steps, options.rate, options.crop
    words = [
        *(*COMMON, "dataset=folder", f"dataset.root={root.resolve()}", "dataset.allow_outside=true"),
        *(f"encoder.weights={weights.resolve()}", f"recipe.learning_rate={rate:g}", f"trainer.max_steps={steps}"),
        f"recipe.crop={crop}",
        *(f"trainer.val_check_interval={steps}", f"hydra.run.dir={run_dir}", "resume=auto", *overrides),
    ]
    call("run", *words)
    test = run_dir / "test.json"
    call("evaluate", f"checkpoint={run_dir}/checkpoints/last.ckpt", "split=test", "models=[teacher]", f"output={test}")
    last = json.loads((run_dir / "evaluations.jsonl").read_text().splitlines()[-1])
    summary = json.loads((run_dir / "summary.json").read_text())
    return {
        "val": last["teacher"]["miou"],
        "test": json.loads(test.read_text())["teacher"]["miou"],
        "steps": steps,
        "rate": rate,
        "crop": crop,
        "seconds": summary["seconds"],
    }


def call(command: str, *words: str) -> None:
    """Run a command of ours on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", f"unimatch.{command}", *words], check=True, env=environment)


def scale_of(data: str) -> list[str]:
    """Return the range of sizes that a data set is trained at."""
    return ["recipe.scale=[0.75,1.5]"] if data == "camvid" else []


def read_results(path: Path) -> list[dict]:
    """Return the lines of a results file; none where there is none."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def add_result(path: Path, line: dict) -> None:
    """Add a line to a results file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def table(lines: list[dict]) -> str:
    """Return a line for each number of photos: our choice, the draws' mean and spread, and how many it is above."""
    rows = []
    for data, n in sorted({(line["data"], line["n"]) for line in lines}):
        of = [line for line in lines if (line["data"], line["n"]) == (data, n)]
        ours = next((line for line in of if line["choice"] == "select"), None)
        draws = [line for line in of if line["choice"] != "select"]
        for part in ("val", "test", "mean"):
            values = np.array([score(line, part) for line in draws])
            if ours is not None and len(values) > 1:
                above = int((values < score(ours, part)).sum())
                rows.append(
                    f"{data:7} n={n:<3} {part:5} select {score(ours, part):5.1f}   random {values.mean():5.1f} ± "
                    f"{values.std(ddof=1):.1f}   above {above} of {len(values)}"
                )
    return "\n".join(rows)


def score(line: dict, part: str) -> float:
    """Return the mIoU of a part, or the mean of both."""
    return (line["val"] + line["test"]) / 2 if part == "mean" else line[part]


def choose(training: Training, data: SegmentationData, weights: Path, out: Path) -> list[str]:
    """Return the names of the photos of a training."""
    files = [Path(data.labeled.name(index)) for index in range(len(data.labeled))]
    if training.choice != "select":
        order = np.random.default_rng(int(training.choice)).permutation(len(files))
        return [files[index].name for index in order[: training.n]]
    from unimatch.models import build_encoder
    from unimatch.selection import EncoderDescriber

    encoder = build_encoder("vits", str(weights)).eval()
    found = unimatch.select(files, training.n, describer=EncoderDescriber(encoder, "vits"), features=out / "features")
    return [path.name for path in found.chosen]


def arguments(description: str | None, out: str, results: str) -> argparse.ArgumentParser:
    """Return what the benchmarks that train on chosen photos have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--results", type=Path, default=Path(results))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=2.5e-5)
    parser.add_argument("--crop", type=int, default=196, help="side of the crops, a multiple of 14")
    parser.add_argument("--table", action="store_true")
    return parser


def main() -> None:
    """Do what is not done yet, and print the table."""
    parser = arguments(__doc__, "runs/select", "benchmarks/select_trained.jsonl")
    parser.add_argument("--data", nargs="+", choices=list(COUNTS), default=list(COUNTS))
    parser.add_argument("--only", nargs="+", help="names of trainings, as --list prints them")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    for training in () if options.table else plan(options.data):
        done = training.name in {line["name"] for line in read_results(options.results)}
        if options.only and training.name not in options.only:
            continue
        print(f"{training.name}: {'done' if done else 'to do'}", flush=True)
        if done or options.list:
            continue
        data, root = load(training.data, options.root), options.out / training.data
        if not (root / "classes.txt").is_file():
            lay_out(data, root, training.data)
        photos = choose(training, data, options.weights, options.out)
        labeled = options.out / f"{training.name}.txt"
        labeled.write_text("".join(f"images/{name} masks/{Path(name).stem}.png\n" for name in photos))
        overrides = [f"dataset.labeled_list={labeled.resolve()}", *scale_of(training.data)]
        run_dir = options.out / training.name
        found = train(root, run_dir, options.weights, options, *overrides)
        facts = {"name": training.name, "data": training.data, "n": training.n, "choice": training.choice}
        add_result(options.results, {**facts, **found, "photos": photos})
    print(table(read_results(options.results)))


if __name__ == "__main__":
    main()
