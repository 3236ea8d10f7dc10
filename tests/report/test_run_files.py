import csv
import json

import pytest

from helpers.runs import HOSTILE, make_run
from unimatch import DataError
from unimatch.report.closing_table import closing_table
from unimatch.report.run_files import read_run
from unimatch.report.run_page import run_page
from unimatch.tasks.segmentation import SegmentationScores


def test_a_finished_run_is_read_as_it_was_written(finished_run):
    run = read_run(finished_run)
    with (finished_run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for key in ("train/loss", "teacher/miou"):
        assert run.curves[key] == [(int(row["step"]), float(row[key])) for row in rows if row[key]]
    assert run.measure == "miou"
    assert run.classes == list(run.summary["teacher/iou"])
    assert [evaluation["step"] for evaluation in run.evaluations] == [4, 6]
    assert run.config == json.loads((finished_run / "config.json").read_text())
    assert run.examples["step"] == 6


def test_confusion_csv_is_read_back(tmp_path):
    run = make_run(tmp_path / "run")
    with (run / "confusion.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["truth", *HOSTILE]
    assert read_run(run).confusion[0] == [100, 10, 10, 10] == [int(cell) for cell in rows[1][1:]]


@pytest.mark.parametrize(
    ("summary", "measure"),
    [
        ({"headline": "top1", "teacher/miou_best": 1}, "top1"),
        ({"student/iou_best": 1, "teacher/changed_iou_best": 2}, "changed_iou"),
        ({}, "miou"),
    ],
)
def test_runs_are_compared_by_the_measure_they_have_the_best_value_of(tmp_path, summary, measure):
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert read_run(tmp_path).measure == measure


def test_what_is_no_run_and_what_is_damaged_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no summary\.json"):
        read_run(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    assert read_run(tmp_path).curves == {}
    (tmp_path / "evaluations.jsonl").write_text('{"step"')
    with pytest.raises(DataError, match=f"{tmp_path}: cannot be read"):
        read_run(tmp_path)


@pytest.mark.parametrize(("ratios", "idle"), [("0.0,0.0", True), ("0.0,0.001,0.0", False), ("", False)])
def test_a_run_whose_unlabelled_images_taught_nothing_says_so(tmp_path, ratios, idle):
    run = make_run(tmp_path / "run", examples=False)
    rows = [f"{i},{ratio}" for i, ratio in enumerate(ratios.split(","))]
    (run / "metrics.csv").write_text("\n".join(["step,train/mask_ratio", *rows]) + "\n")
    assert (read_run(run).idle is not None) == idle
    assert ("mask ratio 0" in run_page(read_run(run))) == idle
    assert ("mask ratio 0" in closing_table(run, SegmentationScores)) == idle


def test_of_the_warnings_that_each_evaluation_measures_the_last_one_holds(tmp_path):
    run = make_run(tmp_path / "run", examples=False)
    said = ["short", *(f"pseudo labels on 6 held-out images: only {i}% of car are right" for i in range(20)), "end"]
    (run / "run.log").write_text("".join(f"[now][unimatch][WARNING] - {text}\n" for text in said))
    assert read_run(run).logged == ("short", said[-2], "end")
