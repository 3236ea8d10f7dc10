"""``python -m unimatch.evaluate``, over a short run of the demo's model on a data set in files."""

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from helpers.support import at_night, make_camvid, make_folder, rest_nightly, save_run
from unimatch import ConfigError, Inference, SegmentationData, load_model
from unimatch.data import camvid
from unimatch.data.loading.datasets import EvaluationDataset
from unimatch.engines.torch import TorchEngine
from unimatch.evaluate import choose_data, table
from unimatch.images.bands import PHOTOS
from unimatch.images.tensors import normalize
from unimatch.tasks.change import ChangeScores
from unimatch.tasks.classification import ClassificationScores
from unimatch.terminal import progress_bar


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path]:
    """A checkpoint whose student and teacher differ, and the folder of its data: 3 validation and test images."""
    directory = tmp_path_factory.mktemp("run")
    root = make_camvid(directory / "camvid", val=3, height=48, width=60)
    checkpoint = save_run(directory / "checkpoints" / "best.ckpt", root)
    return checkpoint, root


@pytest.fixture
def evaluate(run, monkeypatch, tmp_path):
    """``evaluate("split=test", ...)``: the command in this process; what its JSON file holds."""
    from unimatch.evaluate import main

    def call(*overrides: str) -> dict:
        output = tmp_path / "result.json"
        arguments = ["unimatch.evaluate", f"checkpoint={run[0]}", "workers=0", "trainer.accelerator=cpu"]
        monkeypatch.setattr(sys, "argv", [*arguments, f"output={output}", *overrides])
        main()
        return json.loads(output.read_text())

    return call


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_an_evaluation_with_its_status(number, status, evaluate, tmp_path, monkeypatch, capfd):
    def step(*arguments):
        os.kill(os.getpid(), number)

    monkeypatch.setattr("unimatch.tasks.evaluator.Evaluator.validation_step", step)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest ignore it
    try:
        with pytest.raises(SystemExit) as stopped:
            evaluate("split=val")
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    assert stopped.value.code == status
    assert f"unimatch: {number.name}: ended, and nothing was written" in capfd.readouterr().err
    assert not (tmp_path / "result.json").exists()


def slow_scores(checkpoint: Path, data: SegmentationData, which: str, rule: Inference) -> tuple[list, float]:
    """IoU per class in percent (None without a pixel) and pixel accuracy, by loops over images and classes."""
    engine = TorchEngine(load_model(checkpoint, which))
    pairs = []
    for i in range(len(data.test)):
        image = normalize(torch.from_numpy(data.test.image(i).copy()).permute(2, 0, 1))[None]
        pairs.append((rule.scores(engine, image).argmax(1)[0].numpy(), data.test.mask(i)))
    predicted = np.concatenate([p[t != 255] for p, t in pairs])
    truth = np.concatenate([t[t != 255] for p, t in pairs])
    ious = []
    for k in range(11):
        union = ((predicted == k) | (truth == k)).sum()
        ious.append(100 * ((predicted == k) & (truth == k)).sum() / union if union else None)
    return ious, 100 * (predicted == truth).mean()


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        ([], Inference()),
        (["inference.mode=sliding", "inference.window=32"], Inference("sliding", window=32)),
        at_night(["inference.scales=[0.5,1.0]", "inference.flip=true"], Inference(scales=(0.5, 1.0), flip=True)),
    ],
)
def test_student_and_teacher_score_as_a_slow_loop_says(run, evaluate, overrides, rule):
    result = evaluate("split=test", *overrides)
    for which in ("student", "teacher"):
        ious, accuracy = slow_scores(run[0], camvid(run[1]), which, rule)
        assert list(result[which]["iou"].values()) == pytest.approx(ious, abs=0.02)
        assert result[which]["miou"] == pytest.approx(np.mean([iou for iou in ious if iou is not None]), abs=0.02)
        assert result[which]["pixel_accuracy"] == pytest.approx(accuracy, abs=0.02)
    assert result["student"]["confusion"] != result["teacher"]["confusion"]
    assert np.sum(result["teacher"]["confusion"]) == 3 * 48 * 60
    assert (result["images"], result["dataset"], result["split"]) == (3, "camvid", "test")


def test_images_predicted_together_have_the_same_counts(evaluate, monkeypatch):
    """As on a GPU: two of the three images at once, then the third."""
    alone = evaluate("split=test")
    monkeypatch.setattr("unimatch.tasks.evaluator.TOGETHER_ON", {"cpu"})
    assert evaluate("split=test", "evaluation_batch=2") == alone


def test_the_runs_data_set_is_the_default_and_another_can_be_given(run, evaluate, tmp_path):
    other = make_camvid(tmp_path / "other", val=2, height=24, width=36)
    assert evaluate()["images"] == 3
    assert evaluate("dataset=camvid", f"dataset.root={other}")["images"] == 2


def test_absent_classes_are_left_out_and_said_or_counted_as_zero_on_request(evaluate, capsys, tmp_path):
    few = ["dataset=camvid", f"dataset.root={make_camvid(tmp_path / 'few', val=1, height=12, width=24)}"]
    excluded = evaluate("models=[teacher]", *few)
    assert "student" not in excluded
    printed = capsys.readouterr().out
    ious = excluded["teacher"]["iou"]
    present = [value for value in ious.values() if value is not None]
    assert len(present) < 11
    absent = ", ".join(name for name, value in ious.items() if value is None)
    assert f"left out of the mean: teacher: {absent}" in printed
    zero = evaluate("models=[teacher]", "absent=zero", *few)
    assert zero["teacher"]["miou"] == pytest.approx(sum(present) / 11)
    assert excluded["teacher"]["miou"] == pytest.approx(sum(present) / len(present))
    assert f"counted as 0: teacher: {absent}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "overall", "per_class", "said"),
    [
        (ClassificationScores, ("top1", "top5"), "recall", "in no image: teacher: sea"),
        (
            ChangeScores,
            ("changed_iou", "f1", "precision", "recall", "overall_accuracy"),
            "iou",
            "in neither truth nor prediction: teacher: sea",
        ),
    ],
)
def test_classes_that_do_not_occur_are_told_without_a_mean_where_there_is_none(scores, overall, per_class, said):
    result = {**dict.fromkeys(overall, 50.0), per_class: {"sky": 50.0, "sea": None}}
    assert table({"teacher": result}, scores, "exclude").splitlines()[-1] == said


@pytest.mark.nightly
def test_two_processes_count_as_one(run, evaluate, tmp_path):
    """Three images on two processes: neither may count a padded duplicate."""
    one = evaluate("split=test")
    output = tmp_path / "two.json"
    command = [sys.executable, "-m", "unimatch.evaluate", f"checkpoint={run[0]}", "split=test", "workers=0"]
    command += ["trainer.accelerator=cpu", "trainer.devices=2", f"output={output}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    two = json.loads(output.read_text())
    assert two["processes"] == 2
    assert (two["student"], two["teacher"]) == (one["student"], one["teacher"])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["result.json", "two.json"]


BAD = {
    "other classes": (["dataset=digits"], ["11 classes each", "'sky'", "'background'", "check_classes=false"]),
    "fewer classes": (
        ["dataset=folder", "dataset.root={root}/photos"],
        ["11 classes", "data set 2", "class 0 is 'sky' there and 'ground' here"],
    ),
    "no such model": (["models=[mentor]"], ["models=['mentor']", "student", "teacher"]),
    "no such split": (["split=train"], ["split=train", "one of val, test"]),
    "absent": (["absent=drop"], ["absent=drop", "zero"]),
    "ignored elsewhere": (["ignored=wrong"], ["ignored=wrong", "only change detection"]),
    "no test images": (["dataset=digits", "check_classes=false", "split=test"], ["no test images", "split=val"]),
    "no checkpoint": (["checkpoint=nowhere.ckpt"], ["nowhere.ckpt", "no such checkpoint"]),
    "some of the images": (["+trainer.limit_val_batches=2"], ["trainer.limit_val_batches", "of all images"]),
    "half weights": (["trainer.precision=bf16-true"], ["trainer.precision=bf16-true", "one of 32-true, bf16-mixed"]),
    "mistyped": (["inference.windows=3"], ["inference.windows", "did you mean inference.window?"]),
}


REFUSED = ("other classes", "fewer classes", "no such split", "no checkpoint", "mistyped")


@pytest.mark.parametrize("case", rest_nightly(BAD, REFUSED))
def test_bad_input_is_refused_with_the_reason(case, run, evaluate, capsys, tmp_path):
    overrides, expected = BAD[case]
    make_folder(tmp_path / "photos", labeled=1, val=1, classes=("ground", "leaf"))
    with pytest.raises(SystemExit) as stopped:
        evaluate(*[override.format(root=tmp_path) for override in overrides])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    for part in expected:
        assert part in message


def test_other_names_of_the_same_classes_can_be_allowed(evaluate):
    assert evaluate("dataset=digits", "dataset.val=2", "check_classes=false")["images"] == 2


def test_a_checkpoint_cannot_name_what_is_called(run, evaluate, tmp_path, capsys):
    """Its configuration is foreign: only our data sets are called, whatever ``_target_`` says."""
    checkpoint = torch.load(run[0], weights_only=True)
    for target in (
        "os.system",
        "unimatch.FileSource",
        "unimatch.data.check.full_check",
        "",
        "unimatch.__name__",
    ):
        checkpoint["unimatch_run"]["config"]["dataset"] = {"_target_": target, "command": "exit 3"}
        torch.save(checkpoint, tmp_path / "foreign.ckpt")
        with pytest.raises(SystemExit) as stopped:
            evaluate(f"checkpoint={tmp_path / 'foreign.ckpt'}")
        assert stopped.value.code == 2
        assert "give dataset=NAME" in capsys.readouterr().err


def test_a_converted_checkpoint_names_no_classes_and_is_held_to_their_number_alone(run, evaluate, tmp_path):
    checkpoint = torch.load(run[0], weights_only=True)
    checkpoint["unimatch_run"]["config"] = {}
    checkpoint["unimatch_run"]["classes"] = [f"class {i}" for i in range(11)]
    torch.save(checkpoint, tmp_path / "converted.ckpt")
    where = f"checkpoint={tmp_path / 'converted.ckpt'}"
    assert evaluate(where, "dataset=digits", "dataset.val=2")["images"] == 2


DIGITS = {"_target_": "unimatch.data.digits"}


@pytest.mark.parametrize(
    "said",
    [
        {**DIGITS, "train": 10**9}, {**DIGITS, "val": 10**9}, {**DIGITS, "size": 10**5}, {**DIGITS, "labeled": "a"},
        {**DIGITS, "scene_seed": -1}, {**DIGITS, "unknown": 1}, {**DIGITS, 1: 2}, {**DIGITS, "train": [1]},
        {"_target_": "unimatch.data.digits_classification", "size": 10**6}, [1], "digits", {"_target_": ["a"]},
        {"_target_": "unimatch.data.camvid"}, {"_target_": "unimatch.data.camvid", "root": 5},
        {"_target_": "unimatch.data.camvid", "root": "long" * 1000}, {"_target_": "os.system", "command": "true"},
        {"_target_": "unimatch.data.change_demo", "root": "made"},
    ],
    ids=str,
)  # fmt: skip
def test_a_data_set_that_a_checkpoint_may_not_ask_for_is_neither_made_nor_written(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="give dataset=NAME"):
        choose_data(OmegaConf.create({}), {"unimatch_run": {"config": {"dataset": said}}}, PHOTOS)
    assert not list(tmp_path.iterdir())
    assert len(choose_data(OmegaConf.create({}), {"unimatch_run": {"config": {"dataset": DIGITS}}}, PHOTOS).val) == 200


@pytest.mark.parametrize(("seconds", "said"), [(0.0, True), (60.0, False)])
def test_a_long_evaluation_says_in_a_file_how_far_it_is(evaluate, monkeypatch, capsys, seconds, said):
    monkeypatch.setattr("unimatch.evaluate.progress_bar", functools.partial(progress_bar, seconds=seconds))
    evaluate("models=[teacher]")
    assert ("2/3" in capsys.readouterr().err) == said
    evaluate("models=[teacher]", "evaluation_batch=2")
    assert ("3/3" in capsys.readouterr().err) == said


def test_a_loading_process_that_dies_is_one_line(evaluate, monkeypatch, capsys):
    def killed(self, index):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(EvaluationDataset, "__getitem__", killed)
    with pytest.raises(SystemExit, match="75"):
        evaluate("workers=1", "split=test")
    error = capsys.readouterr().err
    assert "unimatch: a process that loads images has died (DataLoader worker" in error
    assert error.rstrip().endswith("fewer workers, or smaller images")


def test_a_folder_in_place_of_the_file_of_results_is_refused_before_the_work(tmp_path):
    trainer = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}
    command = importlib.import_module("unimatch.evaluate")
    config = OmegaConf.create({"trainer": trainer, "output": str(tmp_path), "checkpoint": "not_read.ckpt"})
    with pytest.raises(ConfigError, match=r"^output=.*: is a folder; name a file, such as .*/scores\.json"):
        command.evaluate(config)
