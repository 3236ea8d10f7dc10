import csv
import errno
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import lightning
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from helpers.support import SHORT, SMALL, at_night, make_camvid, make_folder, read_summary, rest_nightly
from unimatch import disk
from unimatch.callbacks import Record
from unimatch.checkpoints.files import read_checkpoint
from unimatch.compare import main as compare
from unimatch.loggers import metrics_file
from unimatch.run import keep_decay, train


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_run_directory_holds_everything_promised(finished_run):
    names = {str(path.relative_to(finished_run)) for path in finished_run.rglob("*") if path.is_file()}
    assert {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "config.json",
        "confusion.csv",
        "curves.png",
        "evaluations.jsonl",
        "examples/examples.json",
        "metrics.csv",
        "report.html",
        "run.log",
        "summary.json",
        "validation.png",
    } <= names


def fill_the_disk(monkeypatch, full):
    """Has nothing more be written where ``full``, asked with the file's name, is true."""
    replace, append = os.replace, disk.append

    def replace_or_fail(source, target):
        if full(target.name):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    def append_or_fail(path, *arguments, **options):
        if full(path.name):
            raise OSError(errno.ENOSPC, "No space left on device")
        append(path, *arguments, **options)

    monkeypatch.setattr(disk.os, "replace", replace_or_fail)
    monkeypatch.setattr(metrics_file, "append", append_or_fail)


def listed(error):
    """The files that the message lists."""
    return {line.split()[0].rpartition("/run/")[2] for line in error.splitlines() if line.startswith("  ")}


@pytest.mark.nightly
def test_a_run_whose_best_checkpoint_could_not_be_written_says_so_with_its_status(run_command, monkeypatch, capsys):
    fill_the_disk(monkeypatch, lambda name: name == "best.ckpt")
    with pytest.raises(SystemExit) as ended:
        run_command(*SMALL, *SHORT)
    printed = capsys.readouterr()
    assert ended.value.code == 74
    assert listed(printed.err) == {"checkpoints/best.ckpt"}
    assert "checkpoints/best.ckpt of step" in printed.err
    assert "No space left on device" in printed.err
    closing = printed.out.rpartition("run directory: ")[2]
    assert "checkpoints/last.ckpt" in closing
    assert "best.ckpt" not in closing


@pytest.mark.nightly
def test_a_disk_that_fills_ends_no_training_and_room_brings_back_what_can_be(
    run_command, monkeypatch, capsys, tmp_path, finished_run
):
    room = True

    def fill(self, trainer, *arguments):
        nonlocal room
        room = trainer.global_step < 5  # after the first evaluation

    with monkeypatch.context() as patch:
        patch.setattr(Record, "on_train_batch_start", fill, raising=False)
        fill_the_disk(patch, lambda name: not room)
        with pytest.raises(SystemExit) as ended:
            run_command(*SMALL, *SHORT, report=True)
    assert ended.value.code == 74
    missing = {"checkpoints/last.ckpt", "summary.json", "evaluations.jsonl", "metrics.csv", "report.html", "examples"}
    assert missing | {"confusion.csv"} <= listed(printed := capsys.readouterr().err)
    assert "resume=auto" in printed
    run_dir = tmp_path / "run"
    assert read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["global_step"] == 4
    assert not list(run_dir.rglob(".unimatch*"))
    run_command(*SMALL, *SHORT, "resume=auto")
    assert_same_weights(run_dir, finished_run)
    assert (run_dir / "evaluations.jsonl").read_text() == (finished_run / "evaluations.jsonl").read_text()


@pytest.mark.nightly
def test_a_run_without_a_checkpoint_is_not_said_to_go_on(run_command, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        fill_the_disk(patch, lambda name: name.endswith(".ckpt"))
        with pytest.raises(SystemExit) as ended:
            run_command(*SMALL, *SHORT)
    assert ended.value.code == 74
    assert "there is no checkpoint to continue from, so overwrite=true" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_command(*SMALL, *SHORT, "resume=auto")
    assert "resume=auto" not in capsys.readouterr().err


@pytest.mark.nightly
def test_what_a_run_lacks_that_was_killed_at_its_end_is_made_when_it_is_resumed(run_command, tmp_path, finished_run):
    """Its last checkpoint is whole, and it was killed, or the disk was full, before its report."""

    def names(folder):
        return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}

    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    shutil.rmtree(run_dir / "examples")
    for name in ("confusion.csv", "curves.png", "validation.png", "report.html", "summary.json"):
        (run_dir / name).unlink()
    run_command(*SMALL, *SHORT, "resume=auto", pictures=True)
    assert names(run_dir) == names(finished_run)
    for name in ("confusion.csv", "evaluations.jsonl", "examples/validation0_teacher.png", "examples/examples.json"):
        assert (run_dir / name).read_bytes() == (finished_run / name).read_bytes()


@pytest.mark.nightly
def test_a_disk_that_has_room_again_at_the_end_is_no_matter(run_command, monkeypatch):
    failed = set()

    def once(name):
        return name not in failed and not failed.add(name)

    fill_the_disk(monkeypatch, lambda name: name == "last.ckpt" and once(name))
    run_dir = run_command(*SMALL, *SHORT, "trainer.val_check_interval=6")
    assert failed == {"last.ckpt"}
    assert read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["global_step"] == 6


def test_summary_has_the_promised_keys_and_agrees_with_the_evaluations(finished_run):
    summary = read_summary(finished_run)
    evaluations = [json.loads(line) for line in (finished_run / "evaluations.jsonl").read_text().splitlines()]
    assert [evaluation["step"] for evaluation in evaluations] == [4, 6]  # also after the last step
    assert (summary["method"], summary["dataset"], summary["encoder"]) == ("unimatch_v2", "digits", "tiny")
    assert (summary["seed"], summary["labeled"], summary["unlabeled"], summary["steps"]) == (0, 8, 16, 6)
    assert summary["finished"]
    for name in ("student", "teacher"):
        assert summary[f"{name}/miou"] == evaluations[-1][name]["miou"]
        ious = [value for value in summary[f"{name}/iou"].values() if value is not None]
        assert summary[f"{name}/miou"] == pytest.approx(sum(ious) / len(ious))
    assert summary["teacher/miou_best"] == max(evaluation["teacher"]["miou"] for evaluation in evaluations)
    assert summary["seconds"] > 0
    assert summary["images_per_second"] > 0
    assert summary["peak_memory_mb"] > 50
    assert {"python", "torch", "lightning", "timm", "unimatch"} <= set(summary["versions"])
    assert "git_revision" in summary


def test_metrics_csv_has_every_logged_value(finished_run):
    with (finished_run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    training = [row for row in rows if row["train/loss"]]
    assert [int(row["step"]) for row in training] == list(range(6))
    for row in training:
        total = (float(row["train/loss_x"]) + float(row["train/loss_s"])) / 2
        assert float(row["train/loss"]) == pytest.approx(total, rel=1e-5)
        assert 0 <= float(row["train/mask_ratio"]) <= 1
    # Poly decay: full rate in steps 0 and 1, then each step uses its predecessor's number.
    expected = [3e-3 * (1 - max(step - 1, 0) / 6) ** 0.9 for step in range(6)]
    assert [float(row["lr/encoder"]) for row in training] == pytest.approx(expected)
    assert sum(bool(row["teacher/miou"]) for row in rows) == 2


def test_closing_table_names_classes_and_places(finished_run):
    text = (finished_run.parent / "stdout.txt").read_text()
    for word in ("background", "mIoU", "best teacher", str(finished_run), "best.ckpt"):
        assert word in text


def test_pictures_are_pictures(finished_run):
    for name in ("validation.png", "curves.png"):
        picture = Image.open(finished_run / name).convert("RGB")
        assert min(picture.size) > 200
        assert len(picture.getcolors(10**7)) > 50


def test_confusion_csv_is_of_the_last_evaluation(finished_run):
    summary = read_summary(finished_run)
    with (finished_run / "confusion.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == list(summary["teacher/iou"])
    counts = np.array([[int(cell) for cell in row[1:]] for row in rows[1:]])
    assert counts.sum() == 4 * 48 * 48  # every pixel of the validation images
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    expected = [100 * i / u if u else None for i, u in zip(counts.diagonal(), union, strict=True)]
    assert list(summary["teacher/iou"].values()) == pytest.approx(expected)


def test_the_report_shows_images_by_their_score_and_the_views(finished_run):
    examples = json.loads((finished_run / "examples" / "examples.json").read_text())
    titles = [row["title"].rpartition("%")[0].rpartition(", ") for row in examples["validation"]]
    assert [name for name, _, _ in titles] == ["worst", "median", "worst, place 3", "best"]
    assert (scores := [float(score) for _, _, score in titles]) == sorted(scores)
    assert [len(row["cells"]) for row in examples["views"]] == [4, 4]
    text = (finished_run / "report.html").read_text()
    assert [len(row["photos"]) for row in examples["unlabeled"]] == [1] * 6
    assert text.count("<h3>worst") == 2
    assert f"{read_summary(finished_run)['teacher/miou']:.1f}" in text


def test_checkpoints_are_plain_and_self_contained(finished_run):
    from unimatch import load_model

    checkpoint = torch.load(finished_run / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["unimatch_run"]["classes"][0] == "background"
    assert checkpoint["unimatch_run"]["config"] == json.loads((finished_run / "config.json").read_text())
    model = load_model(finished_run / "checkpoints" / "best.ckpt")
    assert model(torch.zeros(1, 3, 48, 48)).shape == (1, 11, 48, 48)


def test_best_is_the_teachers_best(finished_run):
    evaluations = [json.loads(line) for line in (finished_run / "evaluations.jsonl").read_text().splitlines()]
    best = max(evaluations, key=lambda evaluation: evaluation["teacher"]["miou"])
    assert torch.load(finished_run / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == best["step"]
    assert torch.load(finished_run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.slow
@pytest.mark.nightly
def test_0_and_2_workers_are_bit_identical_and_another_seed_is_not(finished_run, run_command):
    assert_same_weights(finished_run, run_command(*SMALL, *SHORT, "datamodule.workers=2", name="workers"))
    other = weights(run_command(*SMALL, *SHORT, "seed=1", name="other"))
    assert not all(torch.equal(other[key], value) for key, value in weights(finished_run).items())


def test_same_seed_is_bit_identical_and_the_function_returns_the_best_teacher(finished_run, monkeypatch, tmp_path):
    """As Hydra's sweepers call it: the value of a job is what ``train`` returns."""
    values = []
    monkeypatch.setattr(
        sys, "argv", ["unimatch.run", *SMALL, *SHORT, "~callbacks.pictures", f"hydra.run.dir={tmp_path}"]
    )
    task = hydra.main(version_base="1.3", config_path="pkg://unimatch.conf", config_name="run")
    task(lambda config: values.append(train(config)))()
    assert values == [read_summary(finished_run)["teacher/miou_best"]]
    assert_same_weights(finished_run, tmp_path)


@pytest.mark.nightly
@pytest.mark.slow
def test_a_sweep_makes_a_run_directory_each(run_command, tmp_path, capsys):
    sweep = ["-m", "method=supervised,supervised_strong,unimatch_v2", f"hydra.sweep.dir={tmp_path}/sweep"]
    run_command(*sweep, *SMALL, *SHORT, hydra=False)
    methods = sorted(json.loads(file.read_text())["method"] for file in tmp_path.glob("sweep/*/summary.json"))
    assert methods == ["supervised", "supervised_strong", "unimatch_v2"]
    assert compare([str(tmp_path / "sweep")]) == 0
    table = capsys.readouterr().out
    assert all(f" {method} " in table for method in methods)


@pytest.mark.slow
@pytest.mark.nightly
def test_methods_see_the_same_labelled_batches_and_start_from_the_same_weights(finished_run, run_command):
    """The first step's labelled loss is a function of both: it must not depend on the method."""
    losses = []
    for run_dir in (finished_run, run_command(*SMALL, *SHORT, "method=supervised")):
        with (run_dir / "metrics.csv").open(newline="") as file:
            losses.append(next(csv.DictReader(file))["train/loss_x"])
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.nightly
def test_a_baseline_says_that_what_is_held_out_is_not_trained_on(run_command):
    log = (run_command(*SMALL, *SHORT, "method=supervised", "datamodule.held_out=2") / "run.log").read_text()
    assert "datamodule.held_out keeps 2 labelled images from being trained on, and supervised makes no pseudo" in log


@pytest.mark.nightly
@pytest.mark.slow
def test_two_processes_evaluate_as_one_to_the_last_digit(tmp_path, run_command):
    """Five validation images on two processes: neither may count a padded duplicate."""
    run_dir = tmp_path / "two"
    command = [sys.executable, "-m", "unimatch.run", *SMALL, *SHORT, "dataset.val=5", "trainer=cpu"]
    command += ["trainer.devices=2", "datamodule.batch_size=4", f"hydra.run.dir={run_dir}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    summary = read_summary(run_dir)
    assert summary["processes"] == 2
    for shown in (done.stderr + done.stdout, (run_dir / "run.log").read_text()):
        assert shown.count("- encoder tiny: ") == 1  # one process speaks for all
    examples = json.loads((run_dir / "examples" / "examples.json").read_text())
    scores = [float(re.search(r"([\d.]+)%: ", row["title"])[1]) for row in examples["validation"]]
    assert min(scores) > 0  # each process's images are among them
    counts = np.loadtxt(run_dir / "confusion.csv", delimiter=",", skiprows=1, usecols=range(1, 12))
    assert counts.sum() == 5 * 48 * 48
    assert one_process_scores(run_dir / "checkpoints" / "last.ckpt") == (
        summary["student/miou"],
        summary["teacher/miou"],
    )


def one_process_scores(checkpoint: Path) -> tuple[float, float]:
    import lightning

    from unimatch import SegmentationModel, SemiSupervisedDataModule, UniMatchV2
    from unimatch.data import digits

    method = UniMatchV2(SegmentationModel("tiny", num_classes=11))
    method.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    datamodule = SemiSupervisedDataModule(digits(train=24, labeled=8, val=5), crop=48, workers=0)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    result = trainer.validate(method, datamodule, verbose=False)[0]
    assert result["validate/teacher/miou"] == pytest.approx(method.scores["teacher"].miou)
    return method.scores["student"].miou, method.scores["teacher"].miou


def test_camvid_trains_from_its_layout(run_command, tmp_path):
    root = make_camvid(tmp_path / "camvid")
    run_dir = run_command(
        "dataset=camvid", f"dataset.root={root}", "dataset.labeled=2", "datamodule.crop=32", "trainer=debug",
        "datamodule.workers=0", "encoder=tiny",
    )  # fmt: skip
    summary = read_summary(run_dir)
    assert (summary["labeled"], summary["unlabeled"]) == (2, 2)
    assert math.isfinite(summary["teacher/miou"])


@pytest.mark.parametrize("method", ["unimatch_v2", at_night("supervised")])
def test_the_recipe_for_few_labels_trains_with_views_as_large_as_the_images(method, run_command, tmp_path):
    root = make_camvid(tmp_path / "camvid")  # of 48 x 36 pixels
    run_dir = run_command(
        "recipe=few_labels", "dataset=camvid", f"dataset.root={root}", "dataset.labeled=2", "trainer=debug",
        "recipe.batch_size=2", "recipe.supervised_batch_size=2", "datamodule.workers=0", "encoder=tiny",
        f"method={method}",
    )  # fmt: skip
    log = (run_dir / "run.log").read_text()
    assert "crop=auto: 36, for images whose shorter side has 36 pixels" in log
    assert math.isfinite(read_summary(run_dir)["teacher/miou"])
    config = json.loads((run_dir / "config.json").read_text())
    assert (config["datamodule"]["crop"], config["method"]["dice"]) == ("auto", 1.0)


def test_the_recipe_for_few_labels_is_refused_where_an_image_has_one_class(run_command, capsys):
    with pytest.raises(SystemExit):
        run_command("recipe=few_labels", "dataset=digits_classification")
    assert "recipe=few_labels sets): where an image has one class, give the side" in capsys.readouterr().err


BAD = {
    "no such root": (["dataset.root={root}/nowhere"], ["dataset.root", "no such folder"]),
    "zero labelled": (["dataset.labeled=0"], ["dataset.labeled=0", "at least one"]),
    "more labelled than there are": (["dataset.labeled=9"], ["dataset.labeled=9", "only 4 images"]),
    "empty unlabelled pool": (["dataset.labeled=4"], ["unlabelled pool is empty", "dataset.labeled=N"]),
    "image without a mask": (["remove=trainannot/001.png"], ["train/001.jpg", "no mask"]),
    "unreadable image": (["cut=train/001.jpg"], ["train/001.jpg", "cannot be read", "repair or remove"]),
    "unreadable mask": (["cut=valannot/001.png"], ["valannot/001.png", "cannot be read"]),
    "mask of another size": (["resize=valannot/001.png"], ["valannot/001.png", "24 x 18", "48 x 36"]),
    "class id out of range": (["paint=valannot/001.png"], ["valannot/001.png", "id 200", "(6 pixels)", "0-10"]),
    "weights file missing": (["encoder.weights={root}/no.safetensors"], ["no.safetensors", "no such weights file"]),
    "epoch below one batch": (["datamodule.batch_size=5"], ["batch_size=5", "2 images"]),
}


REFUSED = ("image without a mask", "mask of another size", "class id out of range", "epoch below one batch")


@pytest.mark.parametrize("case", rest_nightly(BAD, REFUSED))
def test_bad_input_is_refused_before_training_with_the_place_and_the_remedy(case, tmp_path, run_command, capsys):
    root = make_camvid(tmp_path / "camvid")
    settings, expected = BAD[case]
    overrides = ["dataset=camvid", f"dataset.root={root}", "dataset.labeled=2", "trainer=debug", "datamodule.crop=32"]
    for setting in settings:
        action, _, where = setting.partition("=")
        if action == "remove":
            (root / where).unlink()
        elif action == "cut":
            (root / where).write_bytes((root / where).read_bytes()[:60])
        elif action == "resize":
            Image.open(root / where).resize((24, 18), Image.Resampling.NEAREST).save(root / where)
        elif action == "paint":
            mask = np.asarray(Image.open(root / where)).copy()
            mask[:2, :3] = 200
            Image.fromarray(mask).save(root / where)
        else:
            overrides = [o for o in overrides if not o.startswith(f"{action}=")]
            overrides.append(setting.format(root=root))
    with pytest.raises(SystemExit) as stopped:
        run_command(*overrides, "datamodule.workers=0")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    for part in expected:
        assert part in message
    assert not (tmp_path / "run").exists()


@pytest.mark.nightly
def test_crop_is_rounded_to_the_patch_and_said(tmp_path, run_command, monkeypatch, caplog):
    """A small transformer stands in for DINOv2: patch 14, four blocks."""
    import timm

    create = timm.create_model

    def small(name, **options):
        return create(name, embed_dim=48, depth=12, num_heads=2, img_size=42, **options)

    monkeypatch.setattr(timm, "create_model", small)
    with caplog.at_level("INFO"):
        run_dir = run_command(*SMALL, "encoder=vits", "encoder.weights=null", "trainer=debug", "datamodule.crop=50")
    assert "crop 50 rounded to 56, a multiple of the patch size 14" in (run_dir / "run.log").read_text()
    assert math.isfinite(read_summary(run_dir)["teacher/miou"])


SMALL_VIT = [
    "+encoder.options.depth=4",
    "+encoder.options.embed_dim=12",
    "+encoder.options.num_heads=2",
    "+encoder.options.img_size=42",
]
ENCODERS = {
    "any timm model": (
        ["encoder=timm", "encoder.name=mobilenetv3_small_050"],
        "encoder mobilenetv3_small_050: four stages",
    ),
    "frozen": (["encoder=tiny", "encoder.freeze=true"], "the encoder is frozen"),
    "LoRA": (["encoder=vits", "encoder.lora=2", *SMALL_VIT], "blocks 0, 1, 2, 3.*dinov2's rule.*LoRA of rank 2"),
    "layer decay, checkpointing": (
        ["encoder=beit_b", "method.layer_decay=0.8", "encoder.gradient_checkpointing=true", *SMALL_VIT],
        "encoder beit_b",
    ),
}


@pytest.mark.parametrize("case", rest_nightly(ENCODERS, ["frozen"]))
def test_encoders_and_their_options_train_and_load_again(case, run_command):
    import re

    from unimatch import load_model

    overrides, logged = ENCODERS[case]
    decoder = ["model.features=8", "model.out_channels=[8,8,8,8]"]
    run_dir = run_command(*SMALL, "encoder.weights=null", "trainer=debug", *decoder, *overrides)
    assert re.search(logged, (run_dir / "run.log").read_text())
    assert math.isfinite(read_summary(run_dir)["teacher/miou"])
    model = load_model(run_dir / "checkpoints" / "best.ckpt")
    assert model.lora is None
    size = 4 * model.size_multiple if model.size_multiple > 1 else 64
    assert torch.isfinite(model(torch.zeros(1, 3, size, size))).all()


@pytest.mark.nightly
def test_run_with_bad_unlabeled_images_finishes_and_reports_them(run_command, tmp_path, capsys):
    """2% of 100: one cut short and one that is no image."""
    root = make_folder(tmp_path / "own", unlabeled=100)
    bad = [root / "unlabeled" / name for name in ("u50.png", "u7.png")]
    bad[0].write_bytes(bad[0].read_bytes()[:200])
    bad[1].write_text("not found: 404")
    arguments = [
        "dataset=folder",
        f"dataset.root={root}",
        "datamodule.crop=24",
        "datamodule.batch_size=10",
        "datamodule.workers=2",
        "trainer.max_epochs=1",
    ]
    with pytest.raises(SystemExit, match="2"):
        run_command(*arguments, name="refused")
    assert "2 faults in the unlabelled images" in capsys.readouterr().err
    mask = root / "masks" / "a0.png"
    ids = np.asarray(Image.open(mask))
    Image.fromarray(np.dstack([ids, np.where(np.arange(ids.size).reshape(ids.shape) < 5, 0, 255)]).astype("u1")).save(
        mask
    )
    run_dir = run_command(*arguments, "dataset.on_bad_image=skip", report=True)
    summary, log = read_summary(run_dir), (run_dir / "run.log").read_text()
    assert summary["finished"]
    assert summary["steps"] == 10
    assert summary["bad_images"] == [str(path) for path in bad]
    (finding,) = summary["findings"]
    assert finding.startswith("labelled: transparent (a mask has transparent pixels")
    assert f"{mask}: 5 pixels" in finding
    assert finding in log
    assert "Labelled: transparent (a mask" in (run_dir / "report.html").read_text()
    assert "2 of 100 unlabelled images (2%) could not be read; others took their places 2 times" in log
    for path in bad:
        assert f"{path}: cannot be read" in log


def test_four_lines_from_photos_to_a_model(run_command, tmp_path):
    """No validation images, no lists, one pool elsewhere: a part of the images with masks is held out."""
    root = make_folder(tmp_path / "own", labeled=10)
    photos = make_folder(tmp_path / "elsewhere", labeled=1, unlabeled=12) / "unlabeled"
    run_dir = run_command(
        "dataset=folder",
        f"dataset.root={root}",
        f"dataset.unlabeled=[{{root: {photos}}}]",
        "datamodule.crop=24",
        "datamodule.workers=0",
        "trainer=debug",
    )
    summary = read_summary(run_dir)
    assert (summary["labeled"], summary["unlabeled"]) == (8, 12)
    log = (run_dir / "run.log").read_text()
    assert "2 of the 10 images with masks are held out" in log
    assert "the teacher's decay is 0, which fits a training of 4 steps" in log
    assert "the training has 4 steps" in log
    assert "method.ema_decay=" not in log  # derived: nothing to warn of


@pytest.mark.parametrize(("given", "before", "kept"), [(None, 0.996, 0.996), (None, None, None), (0.99, 0.996, 0.99)])
def test_a_run_from_before_the_teachers_decay_was_derived_keeps_its_own(tmp_path, given, before, kept):
    content = {"unimatch_model": {}, "state_dict": {}, "unimatch_run": {"config": {"method": {"ema_decay": before}}}}
    torch.save(content, tmp_path / "last.ckpt")
    config = OmegaConf.create({"method": {"ema_decay": given}})
    keep_decay(config, tmp_path / "last.ckpt")
    assert config.method.ema_decay == kept


def test_without_extras_the_record_and_the_checkpoints_are_written_and_nothing_else(run_command):
    run_dir = run_command(*SMALL, "trainer=debug", "callbacks=none")
    written = {path.name for path in run_dir.iterdir()}
    assert written == {"checkpoints", "config.json", "evaluations.jsonl", "metrics.csv", "run.log", "summary.json"}


OWN = "unimatch: KeyError: 'of my own' (broken.py, line 7); HYDRA_FULL_ERROR=1 before the command shows the traceback\n"


def broken(key: str) -> list[str]:
    return [f"~{key}", f"+{key}={{_target_: helpers.broken.fails, _partial_: true}}"]


@pytest.mark.nightly
def test_a_finished_run_is_replaced_only_if_asked_for(finished_run, run_command, tmp_path, capsys):
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    log = {run_dir / "run.log": b""}
    other = [*SMALL, *SHORT, "callbacks=none", "seed=1"]
    for arguments, told in (
        (other, "holds a finished run"),
        ([*other, f"resume={finished_run}/checkpoints/best.ckpt"], "holds a finished run"),
        ([*other, "overwrite=true", "dataset.labeled=900"], "dataset.labeled=900"),  # nothing to replace it with
        ([*other, "overwrite=true", "trainer.global_batch=7"], "trainer.global_batch=7: must be a multiple"),
        ([*other, "overwrite=true", "trainer.global_batch=16", "trainer.parts_at_once=2"], "BatchNorm would normalise"),
        *(([*other, "overwrite=true", *broken(key)], OWN) for key in ("method.criterion", "method.schedule")),
    ):
        with pytest.raises(SystemExit, match="2"):
            run_command(*arguments)
        assert told in capsys.readouterr().err
        assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} | log == before | log
    run_command(*other, "overwrite=true")
    assert read_summary(run_dir)["seed"] == 1
    assert not (run_dir / "report.html").exists()  # the old one
    assert "mIoU" in (run_dir / "run.log").read_text()


def test_a_finished_run_that_is_resumed_elsewhere_says_that_nothing_is_left_to_do(finished_run, run_command, capsys):
    checkpoint = finished_run / "checkpoints" / "last.ckpt"
    with pytest.raises(SystemExit, match="2"):
        run_command(*SMALL, *SHORT, f"resume={checkpoint}", name="elsewhere")
    assert f"resume={checkpoint}: this training is finished (step 6), so nothing is left" in capsys.readouterr().err
    assert not (finished_run.parent / "elsewhere").exists()


@pytest.mark.parametrize(
    "key", rest_nightly(["callbacks", "logger", "default_root_dir", "enable_progress_bar", "plugins"], ["callbacks"])
)
def test_what_the_command_sets_itself_is_refused_by_name(key, run_command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(*SMALL, "trainer=debug", f"+trainer.{key}=null")
    assert stopped.value.code == 2
    assert f"unimatch: trainer.{key}: set by the command; " in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_refused(run_command, capsys, seed):
    with pytest.raises(SystemExit) as stopped:
        run_command(*SMALL, f"seed={seed}")
    assert stopped.value.code == 2
    assert f"unimatch: seed={seed}: must be at least 0 and below 4294967296" in capsys.readouterr().err


class StopsAtOnce(lightning.Callback):
    def on_train_start(self, trainer, method):
        trainer.should_stop = True


def test_a_run_that_a_callback_stops_before_its_first_step_is_one_message(run_command, tmp_path, capsys):
    stops = f"+callbacks.stops._target_={__name__}.StopsAtOnce"
    with pytest.raises(SystemExit, match="2"):
        run_command(*SMALL, "trainer=debug", "callbacks=none", stops, f"hydra.run.dir={tmp_path}/run", hydra=False)
    assert "unimatch: the training has ended without an evaluation" in capsys.readouterr().err


def test_a_setting_without_effect_is_told_in_the_log(run_command):
    run_dir = run_command(*SMALL, *SHORT, "method.ohem_min_kept=100")
    assert "method.ohem_min_kept=100: has no effect with method.criterion=ce" in (run_dir / "run.log").read_text()
