import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unimatch
from helpers.support import make_change
from unimatch import (
    ChangeModel,
    ClassificationModel,
    SegmentationModel,
    SemiSupervisedDataModule,
    UniMatchV1,
    UniMatchV2,
)
from unimatch.engines.test_time import Inference
from unimatch.inference.predictor import Predictor
from unimatch.report.examples import (
    Labelled,
    classified_rows,
    label_with,
    uncertain_rows,
    validation_rows,
    write_examples,
    write_picture,
)
from unimatch.report.views import view_rows
from unimatch.tasks import ChangeDetection, Classification, Segmentation

SMALL = {"features": 8, "out_channels": (8, 8, 8, 8)}


@pytest.fixture(scope="module")
def data():
    return unimatch.data.digits(train=24, labeled=8, val=4)


def test_strong_views_show_what_cutmix_pasted(data):
    """Inside the box another image of the batch, outside the image's own view, as SPEC section 1 has it."""
    datamodule = SemiSupervisedDataModule(data, crop=48, batch_size=4, cutmix=1.0, workers=0, seed=3)
    method = UniMatchV2(SegmentationModel("tiny", 11, **SMALL), tau=0.0).eval()
    rows = view_rows(method, datamodule, epoch=2)
    loader = datamodule.train_dataloader()
    for part in loader.iterables.values():
        part.sampler.epoch = 2
    batch = next(iter(loader))[0]["unlabeled"]
    names = [Path(data.unlabeled.name(int(i))).name for i in batch["index"]]
    assert len(rows) == 2
    for row in rows:
        i = names.index(row["title"])
        captions = [cell[0] for cell in row["cells"]]
        assert captions == ["weak view", "pseudo labels, 100% confident", "strong view 1", "strong view 2"]
        assert np.array_equal(row["cells"][0][1], batch["weak"][i].permute(1, 2, 0).numpy())
        for view in (1, 2):
            _, picture, box, _ = row["cells"][1 + view]
            assert row["cells"][1][3].shape == (48, 48)
            assert box == batch[f"box{view}"][i].tolist()
            expected = batch[f"strong{view}"][i].permute(1, 2, 0).numpy().copy()
            top, left, bottom, right = box
            pasted = batch[f"strong{view}"][3 - i].permute(1, 2, 0).numpy()
            expected[top:bottom, left:right] = pasted[top:bottom, left:right]
            assert np.array_equal(picture, expected)


def test_views_of_a_method_with_a_second_batch(data):
    datamodule = SemiSupervisedDataModule(data, crop=48, batch_size=2, workers=0)
    method = UniMatchV1(SegmentationModel("tiny", 11, **SMALL), cutmix_partner="second_batch").eval()
    assert len(view_rows(method, datamodule, 0)) == 2


def test_validation_images_are_the_worst_the_median_and_the_best(data, tmp_path):
    model = SegmentationModel("tiny", 11, **SMALL).eval()
    scores = torch.tensor([30.0, 10.0, 50.0, 20.0])
    rows = validation_rows({"teacher": model}, Segmentation(), data.val, data.info, scores)
    names = [Path(data.val.name(i)).name for i in (1, 3, 0, 2)]
    assert [row["title"] for row in rows] == [
        f"worst, 10.0%: {names[0]}", f"median, 20.0%: {names[1]}", f"worst, place 3, 30.0%: {names[2]}",
        f"best, 50.0%: {names[3]}",
    ]  # fmt: skip
    seen = rows[0]["seen"]
    assert list(seen.labels) == ["truth", "teacher"]
    assert np.array_equal(seen.picture, data.val.image(1))
    assert rows[0]["present"] == np.unique([*seen.labels["truth"].flat, *seen.labels["teacher"].flat]).tolist()
    write_examples(tmp_path / "examples", data.info, 5, rows, [], [])
    assert len(list((tmp_path / "examples").glob("*.png"))) == 4 * (1 + 4)
    only = validation_rows({"teacher": model}, Segmentation(), data.val, data.info, torch.tensor([1.0]))
    assert [row["title"] for row in only] == ["best, 1.0%: 0"]


def test_of_pairs_both_dates_and_the_missed_changes_are_shown(tmp_path):
    for part, names in (("train", [f"t{i}.png" for i in range(6)]), ("val", ["v0.png"])):
        make_change(tmp_path / part, names)
    data = unimatch.data.change_folder(tmp_path, labeled=2)
    model = ChangeModel("tiny", 2, **SMALL).eval()
    (row,) = validation_rows({"teacher": model}, ChangeDetection(), data.val, data.info, torch.tensor([40.0]))
    seen = row["seen"]
    assert np.array_equal(seen.picture, data.val.image(0))
    datamodule = SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=0)
    views = view_rows(UniMatchV2(model, tau=0.0).eval(), datamodule, 0)
    assert [cell[0] for cell in views[0]["cells"]] == [
        "weak view, date 1", "weak view, date 2", "pseudo labels, 100% confident",
        "strong view 1, date 1", "strong view 1, date 2", "strong view 2, date 1", "strong view 2, date 2",
    ]  # fmt: skip
    assert not np.array_equal(views[0]["cells"][0][1], views[0]["cells"][1][1])
    write_examples(tmp_path / "examples", data.info, 5, [row], views, [])
    assert len(list((tmp_path / "examples").glob("*.png"))) == 2 + 4 + 2 * (7 + 1)
    written = json.loads((tmp_path / "examples" / "examples.json").read_text())
    assert [name for name, _ in written["validation"][0]["photos"]] == ["date 1", "date 2"]
    assert list(written["validation"][0]["layers"]) == ["truth", "teacher", "errors", "confidence"]


def test_images_that_were_not_evaluated_are_not_the_worst(data):
    model = SegmentationModel("tiny", 11, **SMALL).eval()
    scores = torch.full((len(data.val),), torch.nan)
    scores[1], scores[2] = 30.0, 60.0
    rows = validation_rows({"teacher": model}, Segmentation(), data.val, data.info, scores)
    assert {row["title"].rpartition(": ")[2] for row in rows} == {Path(data.val.name(i)).name for i in (1, 2)}


def test_the_least_certain_of_the_unlabelled_images_come_first(data, monkeypatch):
    model, source = SegmentationModel("tiny", 11, **SMALL).eval(), data.unlabeled
    confidences = {}

    def label(models, task, source, index, bands):
        confidences[index] = confidence = (index * 7 % 16 + 1) / 20
        return Labelled(source.image(index), {"teacher": source.mask(index)}, np.full((2, 2), confidence))

    monkeypatch.setattr("unimatch.report.examples.label_with", label)
    rows = uncertain_rows(model, Segmentation(), source, data.info)
    assert len(confidences) == min(12, len(source))
    least = sorted(confidences, key=confidences.get)[:6]
    assert [row["title"] for row in rows] == [
        f"{100 * confidences[i]:.0f}% confident: {Path(source.name(i)).name}" for i in least
    ]


def test_confidence_is_the_probability_of_what_is_predicted(data):
    model = SegmentationModel("tiny", 11, **SMALL).eval()
    for inference in (None, Inference(scales=(1.0, 1.5))):  # logits, and means of probabilities
        seen = label_with({"teacher": model}, Segmentation(inference), data.val, 0, data.info.bands)
        predictor = Predictor(model, inference=inference or Inference())
        expected = predictor(data.val.image(0), confidence=True)
        assert np.array_equal(seen.labels["teacher"], expected.mask)
        assert np.allclose(seen.confidence, expected.confidence, atol=1e-5)


def test_of_images_with_a_class_the_wrong_and_the_right_ones_are_shown_with_what_they_are_called():
    data = unimatch.data.digits_classification(labeled_per_class=4)
    model = ClassificationModel("wrn_28_2", 10, image_size=8).eval()
    method = UniMatchV2(model, tau=0.0).eval()
    scores = torch.full((len(data.val),), 100.0)
    scores[[1, 5]] = 0.0
    rows = classified_rows({"teacher": model}, Classification(), data.val, data.info, scores)
    wrong, right = rows[:2], rows[2:]
    assert all(row["title"].startswith("wrong, truth ") for row in wrong)
    assert all(row["title"].startswith("right, truth ") for row in right)
    assert len(right) == 6
    for row, index in zip(wrong, (1, 5), strict=True):
        assert np.array_equal(row["seen"].picture, data.val.image(index))
        assert f"truth {data.val.mask(index)}, teacher " in row["title"]
        assert row["seen"].layers(data.info.palette) == {}
    only = classified_rows({"teacher": model}, Classification(), data.val, data.info, torch.ones(len(data.val)))
    assert {row["title"][:5] for row in only} == {"right"}
    least = uncertain_rows(model, Classification(), data.unlabeled, data.info)
    assert [row["title"].split(":")[0].rpartition("% confident of ")[2] in data.info.classes for row in least] == [
        True
    ] * 6
    datamodule = SemiSupervisedDataModule(data, crop=8, batch_size=2, workers=0)
    for threshold, end in ((0.0, "% confident"), (1.0, "not used")):
        method.tau = threshold
        rows = view_rows(method, datamodule, 0)
        assert len(rows) == 2
        assert [cell[0] for cell in rows[0]["cells"]][1:] == ["strong view 1", "strong view 2"]
        assert rows[0]["cells"][0][0].startswith("weak view; pseudo label ")
        assert rows[0]["cells"][0][0].endswith(end)


@pytest.mark.parametrize(("side", "name", "size"), [(48, "a.png", 240), (300, "a.jpg", 300), (960, "a.jpg", 640)])
def test_pictures_are_of_a_size_to_look_at(tmp_path, side, name, size):
    picture = np.zeros((side // 2, side, 3), np.uint8)
    assert write_picture(tmp_path / "a", picture, (0, 0, side // 4, side // 4)) == name
    written = Image.open(tmp_path / name)
    assert written.size == (size, size // 2)
    assert np.asarray(written.convert("L")).max() > 200  # the box


@pytest.mark.parametrize(
    ("side", "box", "drawn"),
    [(3, (1, 0, 1, 2), False), (3, (0, 2, 3, 2), False), (3, (1, 1, 2, 2), True), (2000, (900, 900, 901, 903), True)],
)
def test_boxes_of_no_pixel_are_not_drawn_and_narrow_ones_are(side, box, drawn, tmp_path):
    picture = np.full((side, side, 3), 128, np.uint8)
    with Image.open(tmp_path / write_picture(tmp_path / "view", picture, box)) as image:
        assert (np.ptp(np.asarray(image.convert("L"))) > 50) == drawn
