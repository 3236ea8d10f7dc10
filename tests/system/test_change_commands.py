"""Change detection through the commands: train, resume, evaluate on the test pairs, predict, export."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.runs import run_once
from helpers.support import make_change, read_summary, rest_nightly
from unimatch import Predictor, load_model
from unimatch.callbacks import Record
from unimatch.data import change_folder
from unimatch.engines.whole_image import whole_image_logits
from unimatch.images.tensors import normalize
from unimatch.models import ChangeModel

NAMES = [f"t{i:02d}.png" for i in range(20)]
SHORT = [
    "dataset=change_folder",
    "dataset.labeled=4",
    "recipe.crop=16",
    "recipe.batch_size=2",
    "datamodule.workers=0",
    "trainer=cpu",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.check_val_every_n_epoch=null",
    "trainer.log_every_n_steps=1",
    "model.features=8",
    "model.out_channels=[8,8,8,8]",
]


def arguments(folder):
    """Of a run on pairs made in ``folder/pairs``."""
    for part, names in (("train", NAMES[:12]), ("val", NAMES[12:15]), ("test", NAMES[15:])):
        make_change(folder / "pairs" / part, names)
    return [*SHORT, f"dataset.root={folder / 'pairs'}"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    yield from run_once(tmp_path_factory, "change", arguments)


@pytest.fixture
def root(finished):
    return finished.parent / "pairs"


@pytest.fixture
def train(root, run_command):
    return lambda *overrides, **options: run_command(*SHORT, f"dataset.root={root}", *overrides, **options)


def call(monkeypatch, main, name, *arguments):
    monkeypatch.setattr(sys, "argv", [f"unimatch.{name}", *arguments])
    main()


def teacher_confusion(checkpoint, source):
    """Pixels by truth and prediction, image by image."""
    model, found = load_model(checkpoint), np.zeros((2, 2), int)
    for i in range(len(source)):
        pair = torch.from_numpy(source.image(i).copy()).permute(0, 3, 1, 2)
        with torch.no_grad():
            predicted = whole_image_logits(model, normalize(pair)[None]).argmax(1)[0].numpy()
        for truth in (0, 1):
            for label in (0, 1):
                found[truth, label] += ((source.mask(i) == truth) & (predicted == label)).sum()
    return found.tolist()


def test_a_run_is_judged_on_val_and_evaluate_reads_test(finished, root, monkeypatch, tmp_path):
    run_dir = finished
    summary = read_summary(run_dir)
    assert (summary["task"], summary["dataset"], summary["headline"]) == ("change", "change_folder", "changed_iou")
    assert (summary["labeled"], summary["unlabeled"]) == (4, 8)
    evaluations = [json.loads(line) for line in (run_dir / "evaluations.jsonl").read_text().splitlines()]
    assert summary["teacher/changed_iou_best"] == max(found["teacher"]["changed_iou"] for found in evaluations)
    assert {"teacher/f1", "student/overall_accuracy", "teacher/iou"} <= set(summary)
    assert (run_dir / "validation.png").is_file()
    page = (run_dir / "report.html").read_text()
    for place in ("worst", "median", "best"):  # of three images
        assert re.search(rf'alt="{place}, [^"]*: date 2"', page)
    assert page.count("<figcaption>strong view 1, date 2</figcaption>") == 2
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    assert isinstance(load_model(checkpoint), ChangeModel)

    from unimatch.evaluate import main as evaluate
    from unimatch.predict import main as predict

    data = change_folder(root, labeled=4)
    for part in ("val", "test"):
        output = tmp_path / f"{part}.json"
        call(monkeypatch, evaluate, "evaluate", f"checkpoint={checkpoint}", f"split={part}", f"output={output}")
        found = json.loads(output.read_text())
        assert found["images"] == len(getattr(data, part))
        assert found["teacher"]["confusion"] == teacher_confusion(checkpoint, getattr(data, part))
    evaluated = json.loads((tmp_path / "val.json").read_text())["teacher"]
    assert evaluated["changed_iou"] == evaluations[-1]["teacher"]["changed_iou"]

    output = tmp_path / "maps"
    call(monkeypatch, predict, "predict", f"checkpoint={checkpoint}", f"input={root / 'test'}", f"output={output}")
    matrix = np.zeros((2, 2), int)
    for i, name in enumerate(NAMES[15:]):
        mask = np.asarray(Image.open(output / "masks" / name))
        assert Image.open(output / "overlays" / name.replace(".png", ".jpg")).width == 24
        np.add.at(matrix, (data.test.mask(i), mask), 1)
    assert matrix.tolist() == teacher_confusion(checkpoint, data.test)


@pytest.mark.nightly
def test_pixels_without_a_truth_count_as_wrong_on_request(finished, monkeypatch, tmp_path):
    from unimatch.evaluate import main as evaluate

    pairs = make_change(tmp_path / "pairs", NAMES[:3])
    for path in (pairs / "label").iterdir():
        label = np.asarray(Image.open(path)).copy()
        label[:5] = 100  # neither changed nor not
        Image.fromarray(label).save(path)
    found = {}
    for ignored in ("exclude", "wrong"):
        settings = ["dataset=change_folder", f"dataset.root={pairs}", "dataset.val_share=0.7", "dataset.labeled=1"]
        settings += ["dataset.unknown_values=ignore", "workers=0", "trainer.accelerator=cpu"]
        settings += [f"checkpoint={finished / 'checkpoints' / 'last.ckpt'}", f"output={tmp_path / 'o.json'}"]
        call(monkeypatch, evaluate, "evaluate", *settings, f"ignored={ignored}")
        found[ignored] = json.loads((tmp_path / "o.json").read_text())
        assert found[ignored]["ignored"] == ignored
    excluded, wrong = (found[ignored]["teacher"] for ignored in found)
    assert excluded["confusion"] == wrong["confusion"]
    assert (wrong["ignored"], np.sum(wrong["confusion"])) == (2 * 5 * 24, 2 * 15 * 24)
    assert wrong["overall_accuracy"] == pytest.approx(excluded["overall_accuracy"] * 15 / 20)
    assert wrong["changed_iou"] == excluded["changed_iou"]


def test_predicting_says_what_it_needs(finished, root, monkeypatch, tmp_path, capsys):
    checkpoint = finished / "checkpoints" / "last.ckpt"
    predictor = Predictor(checkpoint, device="cpu")
    pair = change_folder(root, labeled=4).test.image(0)
    mask = predictor(pair).mask
    assert mask.shape == (20, 24)
    assert np.array_equal(predictor([tuple(pair), pair])[0].mask, mask)
    assert np.array_equal(predictor(torch.from_numpy(pair.copy()).permute(0, 3, 1, 2)).mask, mask)
    from unimatch.predict import main as predict

    for arguments, message in (
        ([f"input={root / 'test' / 'A'}"], "needs a folder with A/ and B/"),
        ([f"input={root / 'test'}", "threshold=0.5"], "255 means changed"),
    ):
        with pytest.raises(SystemExit):
            call(monkeypatch, predict, "predict", f"checkpoint={checkpoint}", f"output={tmp_path / 'o'}", *arguments)
        assert message in capsys.readouterr().err
    from unimatch.export import main as export

    output = tmp_path / "model.safetensors"
    call(monkeypatch, export, "export", f"checkpoint={checkpoint}", f"output={output}")
    assert np.array_equal(Predictor(output, device="cpu")(pair).mask, mask)


@pytest.mark.parametrize("method", rest_nightly(["supervised_strong", "fixmatch", "unimatch_v1"], []))
def test_every_method_trains_on_pairs(train, method):
    summary = read_summary(train(f"method={method}", "trainer.max_steps=2"))
    assert (summary["steps"], summary["task"]) == (2, "change")


@pytest.mark.nightly
def test_pairs_of_two_workers_and_of_a_resumed_run_are_the_same(finished, train, monkeypatch):
    first = weights(finished)
    workers = weights(train("datamodule.workers=2", name="workers"))
    assert all(torch.equal(value, first[key]) for key, value in workers.items())
    counted = Record.on_train_batch_end

    def count_and_send(self, trainer, *arguments):
        counted(self, trainer, *arguments)
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Record, "on_train_batch_end", count_and_send)
    with pytest.raises(SystemExit):
        train(name="stopped")
    monkeypatch.setattr(Record, "on_train_batch_end", counted)
    resumed = weights(train("resume=auto", name="stopped"))
    assert all(torch.equal(value, first[key]) for key, value in resumed.items())


def weights(run_dir):
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.nightly
def test_two_processes_evaluate_pairs_as_one(train, root, tmp_path):
    run_dir = tmp_path / "two"
    command = [sys.executable, "-m", "unimatch.run", *SHORT, f"dataset.root={root}", "recipe.batch_size=1"]
    command += ["trainer.devices=2", f"hydra.run.dir={run_dir}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    last = json.loads((run_dir / "evaluations.jsonl").read_text().splitlines()[-1])["teacher"]
    (unchanged, false), (missed, right) = teacher_confusion(
        Path(run_dir) / "checkpoints" / "last.ckpt", change_folder(root, labeled=4).val
    )
    assert last["changed_iou"] == 100 * right / max(1, false + missed + right)
    assert last["overall_accuracy"] == pytest.approx(100 * (unchanged + right) / (3 * 20 * 24))
