import csv
from collections import Counter
from pathlib import Path

import pytest

from unimatch.published import find_published, published

REFERENCE = Path(__file__).parents[1].parent / "shared" / "reference" / "published_runs.csv"


def run(dataset="pascal", split="183", encoder="vitb", method="unimatch_v2", experiment=None):
    return {"dataset": dataset, "split": split, "encoder": encoder, "method": method, "experiment": experiment}


@pytest.mark.parametrize(
    ("summary", "settings", "source", "miou"),
    [
        (run(), {}, "table01", 87.92),
        (run(split="92", encoder="vits", method="supervised"), {}, "table01", 66.98),
        (run("cityscapes", "1_16"), {"method.tau": "0.950"}, "table02", 83.6),
        (run("ade20k", "1_8", method="fixmatch"), {}, "table05", 49.51),
        (run(), {"model.freeze": "true"}, "table07", None),
        (run("coco", "1_128"), {"method.tau": "0.9"}, "figure05", 59.59),
        (run("cityscapes", "1_4"), {"method.loss_weight": "2.0"}, "figure06", 84.9),
        (run(method="fixmatch"), {}, "table05", 87.37),
        (run(method="fixmatch", experiment="table11"), {}, "table11", 86.65),
        (run(split="92"), {"method.pseudo_labels_from": '"student"'}, "table10", 83.5),
    ],
)
def test_a_run_finds_its_published_row(summary, settings, source, miou):
    row = find_published(summary, settings)
    assert row.source == source
    assert miou is None or row.miou == miou


@pytest.mark.parametrize(
    ("summary", "settings"),
    [
        (run("camvid"), {}),
        (run(split="12"), {}),
        (run(), {"method.tau": "0.5"}),
        (run(), {"method.tau": "0.9", "method.loss_weight": "2.0"}),
        (run("ade20k", "all"), {}),
    ],
)
def test_other_runs_find_none(summary, settings):
    assert find_published(summary, settings) is None


def test_rows_are_told_apart_by_what_identifies_them():
    keys = Counter(
        (r.source in ("table11", "table13"), r.dataset, r.split, r.encoder, r.method, r.setting) for r in published()
    )
    assert max(keys.values()) == 1


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the table of published runs is not here")
def test_every_published_segmentation_run_is_in_the_table():
    with REFERENCE.open() as file:
        theirs = [
            r
            for r in csv.DictReader(file)
            if not r["experiment"].startswith(("table14", "table15", "table16", "table17"))
        ]
    ours = Counter((row.teacher, row.student) for row in published())
    number = {"": None}
    assert ours == Counter(
        (number.get(r["best_teacher"], r["best_teacher"] and float(r["best_teacher"])), float(r["best_student"]))
        for r in theirs
    )
