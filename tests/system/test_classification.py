"""Classification from end to end: the commands on the embedded digits and on folders."""

import csv
import json
import os
import signal
import subprocess
import sys

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

import unimatch
from helpers.class_data import make_image_folder
from helpers.runs import run_once
from helpers.support import make_camvid, read_summary, rest_nightly, save_run
from unimatch import Classifier, ConfigError, Predictor
from unimatch.callbacks import Record
from unimatch.checkpoints.files import load_model, read_checkpoint
from unimatch.data import digits_classification
from unimatch.images.tensors import normalize

TINY = [
    "dataset=digits_classification",
    "dataset.size=8",
    "dataset.val_per_class=3",
    "encoder=wrn_28_2",
    "+encoder.options.blocks=1",
    "+encoder.options.width=1",
    "datamodule.batch_size=5",
    "datamodule.unlabeled_ratio=2",
    "datamodule.weak.padding=1",
    "recipe.crop=8",
    "method.distribution_alignment=labeled",
    "trainer=cpu",
    "trainer.log_every_n_steps=1",
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run directory of a short training."""
    yield from run_once(tmp_path_factory, "classification", lambda folder: TINY)


def command(name, monkeypatch, *arguments):
    module = __import__(f"unimatch.{name}", fromlist=["main"])
    monkeypatch.setattr(sys, "argv", [f"unimatch.{name}", *arguments])
    try:
        module.main()
    except SystemExit as stopped:
        return int(stopped.code)
    return 0


def slow_shares(model, source):
    """Top-1 and top-5 in percent, by a loop over images."""
    first = five = 0
    for i in range(len(source)):
        image = normalize(torch.from_numpy(source.image(i).copy()).permute(2, 0, 1))[None]
        with torch.no_grad():
            order = model(image)[0].numpy().argsort()[::-1]
        first += order[0] == source.mask(i)
        five += int(source.mask(i)) in order[:5].tolist()
    return 100 * first / len(source), 100 * five / len(source)


def test_a_run_is_recorded_by_its_own_scores(run):
    summary = read_summary(run)
    assert summary["task"] == "classification"
    assert summary["labeled"] == 40
    model = load_model(run / "checkpoints" / "last.ckpt")
    top1, top5 = slow_shares(model, digits_classification(size=8, val_per_class=3).val)
    last = json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])["teacher"]
    assert last["top1"] == summary["teacher/top1"] == pytest.approx(top1)
    assert last["top5"] == pytest.approx(top5)
    assert set(last["recall"]) == set("0123456789")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["teacher/top1"]) for row in rows if row["teacher/top1"]][-1] == pytest.approx(top1)
    page = (run / "report.html").read_text()
    wrong = round(0.3 * (100 - top1))
    assert f"Some of the {wrong} that the teacher gets wrong, and of the {30 - wrong} that it gets right" in page
    assert page.count("weak view; pseudo label") >= 2
    for picture in ("validation.png", "curves.png"):
        assert Image.open(run / picture).size[0] > 100


def assert_same_training(first, second):
    one, other = (read_checkpoint(place / "checkpoints" / "last.ckpt") for place in (first, second))
    for key, value in one["state_dict"].items():
        assert torch.equal(other["state_dict"][key], value), key
    assert one["unimatch_training"]["evaluations"] == other["unimatch_training"]["evaluations"]


@pytest.mark.nightly
def test_repeats_are_bit_identical_and_do_not_depend_on_workers(run, run_command):
    assert_same_training(run, run_command(*TINY, "datamodule.workers=2"))


@pytest.mark.nightly
def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(run, run_command, monkeypatch):
    counted = Record.on_train_batch_end

    def count_and_send(self, trainer, *arguments):
        counted(self, trainer, *arguments)
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Record, "on_train_batch_end", count_and_send)
        with pytest.raises(SystemExit):
            run_command(*TINY)
    resumed = run_command(*TINY, "resume=auto")
    assert_same_training(run, resumed)
    assert read_checkpoint(resumed / "checkpoints" / "last.ckpt")["state_dict"]["alignment.batches"] == 6


def test_evaluate_scores_the_test_images(run, monkeypatch, tmp_path):
    checkpoint, output = run / "checkpoints" / "best.ckpt", tmp_path / "result.json"
    arguments = [f"checkpoint={checkpoint}", f"output={output}", "split=test", "workers=0", "trainer.accelerator=cpu"]
    assert command("evaluate", monkeypatch, *arguments) == 0
    result = json.loads(output.read_text())
    test = digits_classification(size=8).test
    for which in ("student", "teacher"):
        top1, top5 = slow_shares(load_model(checkpoint, which), test)
        assert result[which]["top1"] == pytest.approx(top1)
        assert result[which]["top5"] == pytest.approx(top5)
        confusion = np.array(result[which]["confusion"])
        assert confusion.sum() == len(test) == 449
        assert 100 * confusion.trace() / 449 == pytest.approx(top1)
        truth = np.bincount([int(test.mask(i)) for i in range(449)])
        assert np.array_equal(confusion.sum(1), truth)
        assert list(result[which]["recall"].values()) == pytest.approx((100 * confusion.diagonal() / truth).tolist())


def test_predict_writes_a_class_for_each_image(run, monkeypatch, tmp_path, capsys):
    photos, output = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    rng = np.random.default_rng(0)
    images = {f"{i}.png": rng.integers(0, 256, (8 + i, 11, 3), dtype=np.uint8) for i in range(11)}
    for name, image in images.items():
        Image.fromarray(image).save(photos / name)
    (photos / "bad.png").write_bytes(b"no image")
    checkpoint = run / "checkpoints" / "best.ckpt"
    arguments = [f"checkpoint={checkpoint}", f"input={photos}", f"output={output}", "device=cpu"]
    assert command("predict", monkeypatch, *arguments) == 1
    assert "bad: " in capsys.readouterr().err
    with (output / "classes.csv").open(newline="") as file:
        rows = {os.path.basename(row["image"]): row for row in csv.DictReader(file)}  # noqa: PTH119
    assert rows.keys() == images.keys()
    classifier = Classifier(checkpoint, device="cpu")
    for name, image in images.items():
        found = classifier(image)
        assert rows[name]["class"] == found.name == classifier.classes[int(found.scores.argmax())]
        assert float(rows[name]["confidence"]) == pytest.approx(found.confidence, abs=1e-4)
        assert found.scores.sum() == pytest.approx(1)
    sure = float(np.median([classifier(image).confidence for image in images.values()]))
    assert command("predict", monkeypatch, *arguments, f"threshold={sure}", "batch_size=1") == 1
    with (output / "classes.csv").open(newline="") as file:
        unsure = [os.path.basename(row["image"]) for row in csv.DictReader(file) if not row["class"]]  # noqa: PTH119
    assert set(unsure) == {name for name, image in images.items() if classifier(image).confidence < sure}
    assert len(unsure) == 5


def test_a_classifier_and_a_predictor_refuse_one_anothers_models(run, tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match=r"use unimatch\.Classifier"):
        Predictor(run / "checkpoints" / "best.ckpt")
    with pytest.raises(ConfigError, match=r"use unimatch\.Predictor"):
        Classifier(save_run(tmp_path / "best.ckpt", make_camvid(tmp_path / "camvid")))
    checkpoint = run / "checkpoints" / "best.ckpt"
    assert command("export", monkeypatch, f"checkpoint={checkpoint}", f"output={tmp_path / 'model.onnx'}") == 2
    assert "only models that give masks" in capsys.readouterr().err
    predict = ("predict", monkeypatch, f"input={tmp_path / 'camvid'}", f"output={tmp_path / 'out'}")
    assert command(*predict, f"checkpoint=[{checkpoint},{checkpoint}]") == 2
    assert f"{checkpoint}: gives classes of images and no masks" in capsys.readouterr().err
    assert command(*predict, f"checkpoint={checkpoint}", "votes=1") == 2
    assert "votes=1: counts votes on masks" in capsys.readouterr().err
    rounds = (
        "round",
        monkeypatch,
        f"dataset.root={tmp_path / 'camvid' / 'train'}",
        "n=1",
        "to=coco",
        f"out={tmp_path / 'out'}",
    )
    assert command(*rounds, f"checkpoint={checkpoint}") == 2
    assert (
        f"checkpoint={checkpoint}: classifies whole images, and a round needs a model of masks"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("predict", "inference.flip=true"),
        ("predict", "save=[overlay,confidence]"),
        ("predict", "precision=bfloat16"),
        ("evaluate", "inference.mode=sliding"),
        ("evaluate", "absent=zero"),
    ],
)
def test_settings_of_masks_and_windows_are_refused_with_a_classifier(name, setting, run, monkeypatch, tmp_path, capsys):
    files = {"predict": [f"input={tmp_path}", "device=cpu"], "evaluate": ["workers=0", "trainer.accelerator=cpu"]}[name]
    checkpoint, output = run / "checkpoints" / "best.ckpt", tmp_path / "out"
    assert command(name, monkeypatch, f"checkpoint={checkpoint}", f"output={output}", *files, setting) == 2
    assert f"unimatch: {setting.partition('=')[0]}=" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.nightly
def test_folders_of_classes_train_with_an_encoder_of_timm(run_command, tmp_path):
    root = make_image_folder(tmp_path / "animals", per_class=4)
    (root / "unlabeled" / "some" / "bad.jpg").write_bytes(b"cut short")
    run = run_command(
        "dataset=image_folder",
        f"dataset.root={root}",
        "dataset.val_per_class=1",
        "dataset.on_bad_image=skip",
        "encoder=timm",
        "encoder.name=test_vit",
        "encoder.weights=null",
        "recipe.crop=32",
        "recipe.resize=40",
        "datamodule.batch_size=1",
        "datamodule.workers=0",
        "method=unimatch_v2",
        "trainer=cpu",
        "trainer.max_steps=3",
        "trainer.val_check_interval=3",
    )
    summary = read_summary(run)
    assert summary["unlabeled"] == 6 + 5
    assert set(summary["teacher/recall"]) == {"ant", "bee"}
    model = load_model(run / "checkpoints" / "best.ckpt")
    assert (model.image_size, model.resize) == (32, 40)


@pytest.mark.parametrize("method", rest_nightly(["supervised", "fixmatch", "unimatch_v1"], ["fixmatch"]))
def test_the_other_methods_train_too(method, run_command):
    alignment = [text for text in TINY if "alignment" not in text or method != "supervised"]
    run = run_command(*alignment, f"method={method}", "trainer.max_steps=2", "trainer.val_check_interval=2")
    assert read_summary(run)["finished"]


CASES = {
    "too many labels": (["dataset.labeled_per_class=200"], "labeled_per_class=200"),
    "a change that is none": (
        ["datamodule.strong.changes=[invert]"],
        "['invert']: choose from identity",
    ),
    "a key of segmentation": (["datamodule.cutmix=0.5"], "datamodule.cutmix: no such key"),
    "ratio": (["datamodule.unlabeled_ratio=1000"], "unlabeled_ratio=1000: "),
    "alignment": (["method.distribution_alignment=on"], "distribution_alignment="),
}


@pytest.mark.parametrize("case", rest_nightly(CASES, ["too many labels", "a key of segmentation", "alignment"]))
def test_bad_settings_are_refused_before_training(case, run_command, capsys):
    overrides, message = CASES[case]
    with pytest.raises(SystemExit) as stopped:
        run_command(*TINY, *overrides)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


RANKS = """
import sys, torch, lightning, unimatch

class Keep(lightning.Callback):
    def on_train_end(self, trainer, pl_module):
        content = {"state": pl_module.state_dict(), "counts": pl_module.counts["teacher"]}
        torch.save(content, f"{sys.argv[1]}/{sys.argv[2]}_{trainer.global_rank}.pt")

processes = int(sys.argv[2])
torch.manual_seed(0)
model = unimatch.ClassificationModel("wrn_28_2", 10, image_size=8, options={"blocks": 1, "width": 1})
method = unimatch.UniMatchV2(
    model, tau=0.1, learning_rate=0.01, decoder_multiplier=1, ema_decay=0.5, optimizer="sgd", channel_dropout="none",
    freeze_batch_statistics=True, distribution_alignment="labeled",
)
data = unimatch.data.digits_classification(size=8, val_per_class=3)
trainer = lightning.Trainer(
    accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
    max_steps=3, val_check_interval=3,
    check_val_every_n_epoch=None, num_sanity_val_steps=0, callbacks=[Keep()], logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)
module = unimatch.SemiSupervisedDataModule(
    data, crop=8, weak=unimatch.augment.PaddedCrop(padding=1, flip=0.0), batch_size=8 // processes,
    unlabeled_ratio=2, workers=0,
)
trainer.fit(method, module)
"""


@pytest.mark.nightly
def test_two_processes_train_as_one_does(tmp_path):
    (tmp_path / "train.py").write_text(RANKS)
    for processes in ("1", "2"):
        command = [sys.executable, "train.py", str(tmp_path), processes]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    single, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1"))
    for key, value in single["state"].items():
        assert torch.equal(first["state"][key], second["state"][key]), key
        torch.testing.assert_close(first["state"][key], value, rtol=1e-4, atol=1e-5, msg=key)
    for key, value in single["counts"].items():
        assert torch.equal(first["counts"][key], second["counts"][key])
        assert first["counts"][key].sum() == value.sum()


@pytest.mark.nightly
def test_two_processes_evaluate_as_one(run, tmp_path):
    """449 images, an odd number: neither process may count one twice."""
    found = []
    for devices in (1, 2):
        output = tmp_path / f"{devices}.json"
        command = [sys.executable, "-m", "unimatch.evaluate", f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"]
        command += ["split=test", "workers=0", "trainer.accelerator=cpu", f"trainer.devices={devices}"]
        done = subprocess.run(
            [*command, f"output={output}"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(output.read_text()))
    for which in ("student", "teacher"):
        assert np.sum(found[1][which]["confusion"]) == 449
        assert found[0][which] == found[1][which]


def test_the_module_works_without_hydra():
    torch.manual_seed(0)
    model = unimatch.ClassificationModel("tiny", 10, image_size=16)
    method = unimatch.FixMatch(model, learning_rate=1e-3, decoder_multiplier=1.0)
    data = digits_classification(val_per_class=2)
    module = unimatch.SemiSupervisedDataModule(data, crop=16, batch_size=4, unlabeled_ratio=3, workers=0)
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=1, limit_val_batches=2, num_sanity_val_steps=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(method, module)
    assert method.evaluations[0].teacher.headline == "top1"
