"""Labels CamVid in rounds with a simulated annotator: six photos, then six more in each round, up to thirty.

    nice -n 19 python benchmarks/rounds.py DATA WEIGHTS --out runs/rounds --results rounds.jsonl

``DATA`` holds ``camvid/``, ``WEIGHTS`` is a DINOv2 ViT-S/14, which is not trained. The first six are chosen by
``unimatch.select``, the others by ``unimatch.round`` with the model of the round before; for comparison, photos are
also drawn at random. The annotator gives each photo its true mask. Each round trains a new labelled-only model, as
``benchmarks/select_trained.py`` does, and is scored on the same images. Trainings that are already in the results file
are skipped, and what was interrupted is continued: just repeat the command. ``--table`` prints the results so far.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from select_trained import add_result, arguments, call, lay_out, load, read_results, scale_of, score, train

STAGES = (6, 12, 18, 24, 30)


def begin(way: Path, truth: Path, labelled: list[str]) -> Path:
    """Make the folder as it is when these photos are labelled: what lies in it is made anew."""
    root = way / "photos"
    shutil.rmtree(root, ignore_errors=True)
    for part in ("val", "test"):
        shutil.copytree(truth / part, root / part, symlinks=True)
    shutil.copy(truth / "classes.txt", root)
    shutil.copytree(truth / "images", root / "unlabeled", symlinks=True)
    annotate(root, truth, labelled)
    return root


def annotate(root: Path, truth: Path, names: list[str]) -> None:
    """Give photos their true masks."""
    for name in names:
        for kind in ("images", "masks"):
            (root / kind).mkdir(exist_ok=True)
        (root / "unlabeled" / name).rename(root / "images" / name)
        shutil.copy(truth / "masks" / f"{Path(name).stem}.png", root / "masks")


def chosen(way: Path, n: int, weights: Path, features: Path) -> list[str]:
    """Return the next photos that our commands choose, in the folder of a way."""
    out = way / f"choice{n}"
    common = (f"dataset.root={way / 'photos'}", f"n={n - previous(n)}", f"features={features}", f"out={out}")
    if (out / "selected.txt").is_file():
        pass
    elif previous(n) == 0:
        call("select", *common, "encoder=vits", f"encoder.weights={weights.resolve()}", "hand_over=none")
    else:
        call("round", *common, f"checkpoint={way / f'run{previous(n)}'}/checkpoints/last.ckpt", "to=cvat")
    return [Path(line).name for line in (out / "selected.txt").read_text().splitlines()]


def previous(n: int) -> int:
    """Return how many photos the stage before has; 0 for the first."""
    return max((stage for stage in STAGES if stage < n), default=0)


def table(lines: list[dict]) -> str:
    """Return a line for each stage: our choice, and the draws' mean and spread."""
    rows = [f"{'photos':>6} {'part':5} {'select':>7} {'random':>14}"]
    for n in sorted({line["n"] for line in lines}):
        for part in ("val", "test", "mean"):
            ours = [score(line, part) for line in lines if (line["n"], line["way"]) == (n, "select")]
            draws = np.array([score(line, part) for line in lines if line["n"] == n and line["way"] != "select"])
            spread = f"{draws.mean():5.1f} ± {draws.std(ddof=1):.1f}" if len(draws) > 1 else ""
            rows.append(f"{n:>6} {part:5} {f'{ours[0]:.1f}' if ours else '':>7} {spread:>14}")
    return "\n".join(rows)


def main() -> None:
    """Do what is not done yet, and print the table."""
    parser = arguments(__doc__, "runs/rounds", "benchmarks/rounds.jsonl")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--ways", nargs="+", help="select, random0, ...; by default all")
    parser.add_argument("--stages", nargs="+", type=int, choices=STAGES, default=list(STAGES))
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    truth = options.out / "truth"
    ways = options.ways or ["select", *(f"random{draw}" for draw in range(options.draws))]
    for name in () if options.table else ways:
        if not (truth / "classes.txt").is_file():
            lay_out(load("camvid", options.root), truth, "camvid")
        pool, way = sorted(path.name for path in (truth / "images").iterdir()), options.out / name
        labelled: list[str] = []
        for n in options.stages:
            line = next((f for f in read_results(options.results) if (f["way"], f["n"]) == (name, n)), None)
            print(f"{name}, {n} photos: {'done' if line else 'to do'}", flush=True)
            if line is not None:
                labelled = line["photos"]
                continue
            root = begin(way, truth, labelled)
            if name == "select":
                new = chosen(way, n, options.weights, options.out / "features")
            else:
                order = np.random.default_rng(int(name.removeprefix("random"))).permutation(len(pool))
                new = [pool[index] for index in order[len(labelled) : n]]
            annotate(root, truth, new)
            labelled = [*labelled, *new]
            found = train(root, way / f"run{n}", options.weights, options, *scale_of("camvid"))
            add_result(options.results, {"way": name, "n": n, **found, "photos": labelled})
    print(table(read_results(options.results)))
    print(json.dumps([{k: f[k] for k in ("way", "n", "val", "test")} for f in read_results(options.results)]))


if __name__ == "__main__":
    main()
