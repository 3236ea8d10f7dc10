"""Images of other bands and types through the commands of all tasks: train, evaluate, predict, export, show, check."""

import csv
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.rasters import five_bands, floats, rewritten, twelve_bits
from helpers.runs import run_once
from helpers.support import NIGHTLY, make_change, make_folder, read_summary
from unimatch import Classifier, ConfigError, Predictor, load_model
from unimatch.check import facts, table
from unimatch.checkpoints.files import read_checkpoint
from unimatch.data import SemiSupervisedDataModule, folder
from unimatch.data.check import full_check
from unimatch.data.loading.datasets import EvaluationDataset
from unimatch.images.arrays import read_mask
from unimatch.images.bands import Bands
from unimatch.images.rasters import read_stored

SHORT = [
    "encoder=tiny",
    "recipe.crop=16",
    "recipe.batch_size=2",
    "datamodule.workers=0",
    "trainer=cpu",
    "trainer.max_steps=3",
    "trainer.val_check_interval=3",
    "trainer.check_val_every_n_epoch=null",
    "trainer.log_every_n_steps=1",
]
SMALL = [*SHORT, "model.features=8", "model.out_channels=[8,8,8,8]"]
FIVE = ["dataset.bands=5", "dataset.value_range=[0,4095]", "dataset.picture_bands=[4,2,1]", "dataset.no_data=-1"]


def made_five(place):
    pytest.importorskip("tifffile")
    photos = make_folder(place / "photos", labeled=6, unlabeled=6, val=2)
    return rewritten(photos, place / "five", lambda photo: five_bands(photo).astype(np.int16))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of five bands of 12 bits, on the images in ``five/`` beside it."""
    pytest.importorskip("tifffile")
    yield from run_once(
        tmp_path_factory, "rasters", lambda place: ["dataset=folder", f"dataset.root={made_five(place)}", *FIVE, *SMALL]
    )


def command(name, monkeypatch, *arguments):
    module = __import__(f"unimatch.{name}", fromlist=["main"])
    monkeypatch.setattr(sys, "argv", [f"unimatch.{name}", *arguments])
    try:
        module.main()
    except SystemExit as stopped:
        return int(stopped.code)
    return 0


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("photos") / "photos", labeled=6, unlabeled=6, val=2)


def batches(root, **settings):
    module = SemiSupervisedDataModule(folder(root, **settings), crop=16, batch_size=2, workers=0)
    return [batch for batch, *_ in module.train_dataloader()]


@pytest.mark.parametrize(
    ("kind", "suffix", "settings"),
    [(twelve_bits, ".png", {"value_range": [0, 4095]}), (floats, ".tif", {"value_range": [0, 1]})],
    ids=["12 bits", "floats"],
)
def test_the_same_values_make_the_same_batches(photos, tmp_path, kind, suffix, settings):
    if suffix == ".tif":
        pytest.importorskip("tifffile")
    expected, found = batches(photos), batches(rewritten(photos, tmp_path / "other", kind, suffix), **settings)
    assert len(expected) == len(found) == 3
    for batch, other in zip(expected, found, strict=True):
        for part in batch:
            assert batch[part].keys() == other[part].keys()
            assert all(torch.equal(batch[part][name], other[part][name]) for name in batch[part])


def test_five_bands_have_the_weak_views_of_three(photos, tmp_path):
    pytest.importorskip("tifffile")
    other = rewritten(photos, tmp_path / "five", five_bands)
    for batch, found in zip(batches(photos), batches(other, bands=5, value_range=[0, 4095]), strict=True):
        assert torch.equal(batch["labeled"]["image"], found["labeled"]["image"][:, :3])
        assert torch.equal(batch["unlabeled"]["weak"], found["unlabeled"]["weak"][:, :3])
        assert found["unlabeled"]["strong1"].shape == (2, 5, 16, 16)
        assert torch.equal(batch["unlabeled"]["valid"], found["unlabeled"]["valid"])


def test_a_run_of_five_bands_stores_what_it_measured(run):
    checkpoint = run / "checkpoints" / "best.ckpt"
    bands = load_model(checkpoint).bands
    assert bands.count == 5
    assert (
        bands
        == folder(run.parent / "five", bands=5, value_range=[0, 4095], picture_bands=[4, 2, 1], no_data=-1).info.bands
    )
    assert read_checkpoint(checkpoint)["unimatch_model"]["bands"]["std"] == list(bands.std)
    assert read_summary(run)["bands"] == bands.plain()
    assert (run / "report.html").is_file()
    assert (run / "validation.png").is_file()


def test_evaluation_reads_as_the_model_was_trained(run, monkeypatch, tmp_path):
    output = tmp_path / "result.json"
    common = [f"checkpoint={run / 'checkpoints' / 'last.ckpt'}", "workers=0", "trainer.accelerator=cpu"]
    assert command("evaluate", monkeypatch, *common, f"output={output}") == 0
    found = json.loads(output.read_text())["teacher"]["miou"]
    lines = (run / "evaluations.jsonl").read_text().splitlines()
    assert found == pytest.approx(json.loads(lines[-1])["teacher"]["miou"])
    # The images of another data set are read in the model's own range, whatever that set would measure.
    other = ["dataset=folder", f"dataset.root={run.parent / 'five'}"]
    assert command("evaluate", monkeypatch, *common, f"output={output}", *other) == 0
    assert json.loads(output.read_text())["teacher"]["miou"] == pytest.approx(found)


def test_photos_models_refuse_other_bands(run, finished_run, monkeypatch, capsys):
    arguments = ["dataset=folder", f"dataset.root={run.parent / 'five'}", *FIVE, "check_classes=false"]
    checkpoint = finished_run / "checkpoints" / "best.ckpt"
    assert command("evaluate", monkeypatch, f"checkpoint={checkpoint}", *arguments) == 2
    assert "the model sees photos of 8 bits" in capsys.readouterr().err


@pytest.fixture(scope="module")
def place(run):
    """A GeoTIFF of five bands whose left column has no data."""
    rasterio = pytest.importorskip("rasterio")
    path = run.parent / "scene" / "scene.tif"
    path.parent.mkdir(exist_ok=True)
    values = read_stored(run.parent / "five" / "val" / "images" / "v0.tif")
    values[:, 0] = -1
    height, width = values.shape[:2]
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": 5,
        "dtype": values.dtype,
        "crs": "EPSG:32633",
    }
    with rasterio.open(path, "w", transform=rasterio.transform.from_origin(5e5, 5e6, 10, 10), **profile) as file:
        file.write(np.moveaxis(values, -1, 0))
    return path


def test_the_mask_of_a_geotiff_lies_where_its_image_lies(run, place, monkeypatch, tmp_path):
    import rasterio

    checkpoint = run / "checkpoints" / "best.ckpt"
    settings = [
        f"checkpoint={checkpoint}",
        f"input={place.parent}",
        f"output={tmp_path}",
        "device=cpu",
        "save=[overlay]",
    ]
    assert command("predict", monkeypatch, *settings) == 0
    with rasterio.open(tmp_path / "masks" / "scene.tif") as mask, rasterio.open(place) as image:
        assert mask.crs == image.crs
        assert mask.transform == image.transform
        assert mask.bounds == image.bounds
        assert mask.nodata == 255
        ids = mask.read(1)
    assert np.all(ids[:, 0] == 255)
    assert np.all(ids[:, 1:] < 2)
    assert np.array_equal(read_mask(tmp_path / "masks" / "scene.tif"), ids)
    assert np.array_equal(Predictor(checkpoint, device="cpu")(place).mask, ids)
    assert (tmp_path / "overlays" / "scene.jpg").is_file()
    before = (tmp_path / "masks" / "scene.tif").stat().st_mtime_ns
    assert command("predict", monkeypatch, *settings) == 0  # is done already
    assert (tmp_path / "masks" / "scene.tif").stat().st_mtime_ns == before


def test_arrays_are_what_a_file_holds(run):
    path = run.parent / "five" / "val" / "images" / "v0.tif"
    values, predictor = read_stored(path), Predictor(run / "checkpoints" / "best.ckpt", device="cpu")
    expected = predictor(path).mask
    for image in (values, torch.from_numpy(np.moveaxis(values, -1, 0).copy()), [values][0].astype(np.float64)):
        assert np.array_equal(predictor(image).mask, expected)
    assert predictor([values, values])[1].overlay(predictor.facts.bands.levels(values, "it")).shape[-1] == 3


@pytest.mark.nightly
def test_exported_models_know_their_bands(run, monkeypatch, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    common = [f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", "verify=true"]
    path = run.parent / "five" / "val" / "images" / "v0.tif"
    for name in ("model.onnx", "model.safetensors"):
        images = f"images={run.parent / 'five' / 'val' / 'images'}"
        assert command("export", monkeypatch, *common, f"output={tmp_path / name}", images) == 0
        assert "100.0000% of the pixels" in capsys.readouterr().out
        stated = json.loads((tmp_path / f"{name}.json").read_text())
        assert stated["bands"]["value_range"] == [[0, 4095]] * 5
        assert stated["input"].startswith("float32 (B, 5, H, W)")
        expected = Predictor(run / "checkpoints" / "best.ckpt", device="cpu")(path).mask
        assert np.array_equal(Predictor(tmp_path / name, device="cpu")(path).mask, expected)


def test_the_page_shows_three_of_the_bands(run):
    from unimatch.app.masks import Masks
    from unimatch.app.time_limit import TimeLimit

    predictor = Predictor(run / "checkpoints" / "best.ckpt", device="cpu")
    content = (run.parent / "five" / "val" / "images" / "v0.tif").read_bytes()
    answer = Masks(predictor, TimeLimit(600), {}).answer({"image": content})
    assert answer["photos"][0].startswith("data:image/jpeg")
    assert sum(found["share"] for found in answer["classes"]) == pytest.approx(100)


def test_check_says_what_it_measured(run):
    data = folder(run.parent / "five", bands=5, value_range=[0, 4095], picture_bands=[4, 2, 1], no_data=-1)
    report = full_check(data, workers=0, progress=False)
    assert "band 5 from 0 to 4095, mean 0." in table(report)
    assert facts(report)["bands"] == read_summary(run)["bands"]


def test_pixels_without_data_are_not_scored():
    image, mask = np.full((4, 6, 3), 9, np.uint8), np.zeros((4, 6), np.uint8)
    image[:, 0] = 0
    source = SimpleNamespace(image=lambda _: image, mask=lambda _: mask, name=str)
    found = EvaluationDataset(source, Bands(value_range=[(0, 9)] * 3, no_data=0))[0]
    assert (found["label"] == 255).sum() == 4
    assert (EvaluationDataset(source)[0]["label"] == 0).all()


@pytest.mark.nightly
def test_change_detection_sees_other_bands_too(run_command, tmp_path, monkeypatch):
    pytest.importorskip("tifffile")
    for part, count in (("train", 6), ("val", 2)):
        make_change(tmp_path / "pairs" / part, [f"{part}{i}.png" for i in range(count)])
    root = rewritten(tmp_path / "pairs", tmp_path / "five", five_bands)
    settings = ["dataset.bands=[5,1]", "dataset.value_range={percentiles:[0,100]}", "dataset.labeled=3"]
    run_dir = run_command("dataset=change_folder", f"dataset.root={root}", *settings, *SMALL)
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    assert load_model(checkpoint).bands.bands == (5, 1)
    arguments = [f"checkpoint={checkpoint}", f"input={root / 'val'}", f"output={tmp_path / 'out'}", "device=cpu"]
    assert command("predict", monkeypatch, *arguments) == 0
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2


@NIGHTLY
def test_classification_sees_other_bands_too(run_command, tmp_path, monkeypatch):
    pytest.importorskip("tifffile")
    photos = make_folder(tmp_path / "photos", labeled=6, unlabeled=6, val=2)
    for part, source in (("train/dark", "images"), ("train/light", "unlabeled")):
        rewritten(
            photos / source,
            tmp_path / "classes" / part,
            five_bands,
            folders=tuple(p.name for p in (photos / source).iterdir()),
        )
    settings = ["dataset.bands=[4]", "dataset.value_range=[0,4095]", "dataset.val_per_class=2", "encoder=wrn_10_1"]
    run_dir = run_command(
        "dataset=image_folder",
        f"dataset.root={tmp_path / 'classes'}",
        *SHORT,
        *settings,
        "datamodule.unlabeled_ratio=1",
    )
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    image = tmp_path / "classes" / "train" / "dark" / "a0.tif"
    found = Classifier(checkpoint, device="cpu")(image)
    assert Classifier(checkpoint, device="cpu")(read_stored(image)).scores.tolist() == found.scores.tolist()
    arguments = [f"checkpoint={checkpoint}", f"input={image.parent}", f"output={tmp_path / 'out'}", "device=cpu"]
    assert command("predict", monkeypatch, *arguments) == 0
    rows = list(csv.reader((tmp_path / "out" / "classes.csv").open()))
    assert rows[1][1] == found.name


def test_augment_on_the_device_is_of_photos(tmp_path, photos):
    data = folder(photos, bands=[1, 2])
    with pytest.raises(ConfigError, match="augment=device: only StrongAugmentation"):
        SemiSupervisedDataModule(data, crop=16, augment="device")
