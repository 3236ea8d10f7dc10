"""Run directories: of a training that all tests share, and made by hand."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image


def run_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, arguments: Callable[[Path], list[str]]
) -> Iterator[Path]:
    """Yields the directory of one run of ``unimatch.run`` for all processes of pytest. Tests that write copy it.

    The arguments are made from a new folder, where data can be written; what is printed is there in ``stdout.txt``.
    """
    from unimatch.run import main

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    run_dir, made = folder / "run", folder / "made.json"
    with FileLock(f"{folder}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
            folder.mkdir()
            with pytest.MonkeyPatch.context() as patch, (folder / "stdout.txt").open("w") as printed:
                patch.setattr(sys, "argv", ["unimatch.run", *arguments(folder), f"hydra.run.dir={run_dir}"])
                with redirect_stdout(printed):
                    main()
            for handler in [h for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]:
                logging.getLogger().removeHandler(handler)  # or what other tests log would go into run.log
                handler.close()
            made.write_text(json.dumps(times(run_dir)))
    yield run_dir
    assert times(run_dir) == json.loads(made.read_text()), f"a test wrote into the {name} run that all tests read"


def times(folder: Path) -> dict[str, int]:
    """When each file was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


HOSTILE = ["<script>document.title='caught'</script>", '"><img src=x onerror="document.title=1">', "a&b", "tree"]


def make_run(
    place: Path, *, classes=HOSTILE, seed=0, evaluations=3, method="unimatch_v2", offset=0.0, examples=True
) -> Path:
    """What a run of ``steps`` 100 an evaluation leaves, with scores that rise."""
    place.mkdir(parents=True)
    lines = []
    for i in range(1, evaluations + 1):
        iou = {name: None if j == 1 else 10.0 * i + j % 50 + offset for j, name in enumerate(classes)}
        miou = sum(v for v in iou.values() if v is not None) / sum(v is not None for v in iou.values())
        scores = {"miou": miou, "pixel_accuracy": 80.0, "iou": iou}
        pseudo = {"share": 50.0, "accuracy": 90.0, "share_mean": 40.0, "accuracy_mean": 80.0}
        pseudo |= {"class_share": dict.fromkeys(classes, 12.5 * i), "class_accuracy": dict.fromkeys(classes)}
        lines.append({"step": 100 * i, "epoch": i, "student": scores, "teacher": scores, "pseudo_label": pseudo})
    last = lines[-1]
    summary = {
        "method": method, "dataset": "folder", "encoder": "tiny", "seed": seed, "labeled": 8, "unlabeled": 16,
        "split": None, "steps": 100 * evaluations, "epochs": evaluations, "finished": True,
        "teacher/miou": last["teacher"]["miou"], "student/miou": last["student"]["miou"],
        "teacher/miou_best": last["teacher"]["miou"], "student/miou_best": last["student"]["miou"],
        "best_step": 100 * evaluations, "teacher/iou": last["teacher"]["iou"], "student/iou": last["student"]["iou"],
        "bad_images": [], "seconds": 250.0, "seconds_evaluating": 50.0, "images_per_second": 12.0,
        "peak_memory_mb": 900, "processes": 1, "device": "cpu", "precision": "32-true", "versions": {"python": "3"},
        "git_revision": None,
    }  # fmt: skip
    (place / "summary.json").write_text(json.dumps(summary))
    (place / "config.json").write_text(json.dumps({"seed": seed, "method": {"_target_": method, "tau": 0.95}}))
    (place / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [f"{i},{1 / (i + 1)},{1 / (i + 1)},0.01,{i / 1000},0.001\n" for i in range(0, 100 * evaluations, 2)]
    header = "step,train/loss,train/loss_x,train/loss_s,train/mask_ratio,lr/encoder\n"
    (place / "metrics.csv").write_text(header + "".join(rows))
    if examples:
        add_examples(place, classes)
    return place


def add_examples(place: Path, classes: list[str]) -> None:
    """A confusion matrix, two validation images, an unlabelled one and a row of views."""
    import torch

    from unimatch.images.colors import told_apart
    from unimatch.report.examples import write_confusion
    from unimatch.report.layers import class_layer, confidence_layer, error_layer

    counts = np.eye(len(classes), dtype=int) * 90 + 10
    counts[1] = 0
    write_confusion(place / "confusion.csv", torch.tensor(counts), classes)
    folder = place / "examples"
    folder.mkdir()
    Image.new("RGB", (64, 48), "red").save(folder / "a.jpg")
    cells = [{"caption": HOSTILE[0], "file": "a.jpg"}, {"caption": "b", "file": "../../secret.png"}]
    row = {"title": HOSTILE[1], "cells": cells}
    palette = told_apart([[i % 256, 2 * i % 256, 7] for i in range(len(classes))])
    last = len(classes) - 1
    truth = np.zeros((48, 64), np.uint8)
    truth[:, 32:] = last
    predicted = truth.T.repeat(2, 1)[:48, :64] // max(last, 1) * last
    drawn = {
        "truth": class_layer(truth, palette),
        "teacher": class_layer(predicted, palette),
        "errors": error_layer(truth, predicted, palette),
        "confidence": confidence_layer(np.linspace(0, 1, 48 * 64).reshape(48, 64)),
    }
    for name, layer in drawn.items():
        layer.save(folder / f"{name}.png", transparency=layer.info["transparency"])
    layers = {name: f"{name}.png" for name in drawn}
    photos = [["image", "a.jpg"], ["elsewhere", "../../secret.png"]]
    example = {"title": HOSTILE[1], "present": sorted({0, last}), "photos": photos, "layers": layers}
    other = {**example, "title": "worst", "layers": {**layers, "no such layer": "a.jpg"}}
    row["cells"].append({"caption": "c", "file": "a.jpg", "mask": "teacher.png"})
    content = {"step": 300, "classes": classes, "palette": palette, "validation": [example, other]}
    content |= {"unlabeled": [{**example, "title": "least certain"}], "views": [row]}
    (folder / "examples.json").write_text(json.dumps(content))
