import csv
from collections import Counter

import pytest

from helpers.places import SHARED
from unimatch.report.published import NEEDS_EXPERIMENT, find_published, published

REFERENCE = SHARED / "reference" / "published_runs.csv"


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
        (run("coco", "all", "vits", "supervised"), {"trainer.max_epochs": "40"}, "table04", 62.66),
        (run("levir", "5%", experiment="table14"), {"method.pseudo_labels_from": '"student"'}, "table14", 83.25),
        (run("whu", "40%", "vits", "supervised", "table14"), {}, "table14", 82.59),
        (
            run("svhn", None, "wrn_28_2", experiment="table17"),
            {"dataset.labeled_per_class": "4", "dataset.split_seed": "2"},
            "table17",
            98.2,
        ),
    ],
)
def test_a_run_finds_its_published_row(summary, settings, source, miou):
    row = find_published(summary, settings)
    assert row.source == source
    assert miou is None or row.score == miou


@pytest.mark.parametrize(
    ("summary", "settings"),
    [
        (run("camvid"), {}),
        (run(split="12"), {}),
        (run(), {"method.tau": "0.5"}),
        (run(), {"method.tau": "0.9", "method.loss_weight": "2.0"}),
        (run("ade20k", "all"), {}),
        (run("cityscapes", "all", method="supervised"), {"trainer.max_epochs": "180"}),  # published with 360
        (run("levir", "5%"), {}),
        (run("svhn", None, "wrn_28_2", experiment="table17"), {"dataset.labeled_per_class": "10"}),
    ],
)
def test_other_runs_find_none(summary, settings):
    assert find_published(summary, settings) is None


def test_rows_are_told_apart_by_what_identifies_them():
    keys = Counter(
        (r.source in NEEDS_EXPERIMENT, r.dataset, r.split, r.encoder, r.method, r.setting) for r in published()
    )
    assert max(keys.values()) == 1


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the table of published runs is not here")
def test_every_published_run_of_masks_is_in_the_table():
    classification = ("table15", "table16", "table17")
    with REFERENCE.open() as file:
        theirs = [r for r in csv.DictReader(file) if not r["experiment"].startswith(classification)]
    ours = Counter((row.teacher, row.student) for row in published() if row.source not in classification)

    def scores(row):
        names = ("changed_iou_teacher", "changed_iou_student")
        names = names if row["experiment"].startswith("table14") else ("best_teacher", "best_student")
        return tuple(float(row[name]) if row[name] else None for name in names)

    assert ours == Counter(map(scores, theirs))


@pytest.mark.parametrize(
    ("source", "split", "best"),
    [
        ("table15", "25", (95.70, 95.42, 95.54)),
        ("table16", "25", (91.7, 92.9125, 92.75)),
        ("table17", "4", (98.2291, 98.2291, 98.1369)),
        ("table17", "25", (98.2176, 98.2214, 98.1907)),
    ],
)
def test_classification_rows_are_means_of_the_logs_best_teachers(source, split, best):
    (row,) = (row for row in published() if (row.source, row.split) == (source, split))
    assert row.score == round(sum(best) / 3, 2)
