import csv
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from unimatch import DataError, Inference, Prediction
from unimatch.engines.model_facts import ModelFacts
from unimatch.images.arrays import read_ids, read_image, read_mask
from unimatch.images.rasters import georeference
from unimatch.inference.inputs import KIND_FOLDERS
from unimatch.inference.outputs import KINDS, Writer, run_lengths

FACTS = ModelFacts(
    classes=("ground", "leaf", "stone, wet"),
    palette=((0, 0, 0), (10, 200, 30), (90, 80, 70)),
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    size_multiple=14,
    inference=Inference("sliding", window=28, scales=(0.5, 1.0)),
)


def make_prediction(height=20, width=30, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet((1, 1, 1), (height, width)).transpose(2, 0, 1).astype(np.float32)
    mask = scores.argmax(0).astype(np.uint8)
    mask[:2] = 255
    return Prediction(mask, scores.max(0), scores, FACTS)


def decode(segmentation):
    """COCO's uncompressed run lengths, by a loop."""
    height, width = segmentation["size"]
    values, value = [], 0
    for count in segmentation["counts"]:
        values += [value] * count
        value = 1 - value
    return np.array(values, bool).reshape(width, height).T


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 2, 255])))
def test_run_lengths_decode_to_the_mask(mask):
    entries = run_lengths(mask, FACTS.classes)
    assert [entry["category_id"] for entry in entries] == [i for i in (0, 1, 2) if (mask == i).any()]
    for entry in entries:
        assert np.array_equal(decode(entry["segmentation"]), mask == entry["category_id"])
        assert entry["area"] == (mask == entry["category_id"]).sum()
        assert entry["category"] == FACTS.classes[entry["category_id"]]
        assert all(count > 0 for count in entry["segmentation"]["counts"][1:])


def test_everything_is_written_and_reads_back(tmp_path):
    writer = Writer(tmp_path / "out", FACTS, KINDS)
    prediction = dataclasses.replace(make_prediction(), disagreement=np.full((20, 30), 0.2, np.float32))
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    writer.finish(writer.write("a/b c", image, prediction, "/photos/a/b c.jpg"))
    with Image.open(tmp_path / "out" / "masks" / "a" / "b c.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), prediction.mask)
        colors = np.asarray(mask.convert("RGB"))
    assert np.array_equal(colors[prediction.mask == 1][0], FACTS.palette[1])
    assert np.array_equal(colors[0, 0], (255, 255, 255))
    with Image.open(tmp_path / "out" / "confidence" / "a" / "b c.png") as confidence:
        assert np.abs(np.asarray(confidence) / 255 - prediction.confidence).max() <= 0.5 / 255 + 1e-6
    with np.load(tmp_path / "out" / "scores" / "a" / "b c.npz") as file:
        assert np.abs(file["scores"] - prediction.scores).max() < 1e-3
        assert file["classes"].tolist() == list(FACTS.classes)
    entries = json.loads((tmp_path / "out" / "rle" / "a" / "b c.json").read_text())
    assert np.array_equal(decode(entries[1]["segmentation"]), prediction.mask == 1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"areas.csv", *KIND_FOLDERS}
    with (tmp_path / "out" / "areas.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    expected = {name: str((prediction.mask == i).sum()) for i, name in enumerate(FACTS.classes)}
    assert row == {
        "image": "a/b c",
        "width": "30",
        "height": "20",
        **expected,
        "unsure": "60",
        "disagreement": "0.200000",
        "file": "/photos/a/b c.jpg",
    }
    with Image.open(tmp_path / "out" / "overlays" / "a" / "b c.jpg") as overlay:
        assert overlay.width == 30
        assert overlay.height > 20  # the legend
        pixels = np.asarray(overlay).reshape(-1, 3).astype(int)
    assert (np.abs(pixels - FACTS.palette[1]).max(1) < 60).any()


def test_of_one_model_the_cell_of_disagreement_is_empty(tmp_path):
    writer = Writer(tmp_path, FACTS, ["disagreement"])
    row = writer.write("x", np.zeros((20, 30, 3), np.uint8), make_prediction(), "x.png")
    assert dict(zip(writer.columns, row, strict=True))["disagreement"] == ""


def test_only_what_is_asked_for_is_written(tmp_path):
    writer = Writer(tmp_path, FACTS, [])
    writer.write("x", np.zeros((20, 30, 3), np.uint8), make_prediction())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["areas.csv", "masks"]


def test_overlays_have_colours_that_are_told_apart_and_masks_those_of_the_data_set(tmp_path):
    alike = dataclasses.replace(FACTS, palette=((64, 0, 64), (70, 0, 70), (64, 0, 76)))
    mask = np.repeat(np.array([[0, 1, 2]], np.uint8), 32, axis=1).repeat(32, axis=0)
    Writer(tmp_path, alike, ["overlay"]).write(
        "x", np.zeros((32, 96, 3), np.uint8), Prediction(mask, None, None, alike)
    )
    with Image.open(tmp_path / "masks" / "x.png") as written:
        assert written.getpalette()[:9] == [64, 0, 64, 70, 0, 70, 64, 0, 76]
    with Image.open(tmp_path / "overlays" / "x.jpg") as overlay:
        shown = np.asarray(overlay)[16, [16, 48, 80]].astype(int)  # half of each colour, over black
    assert np.abs(shown - np.array(alike.colors) / 2).max() < 12
    assert min(np.abs(shown[i] - shown[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 30


def test_large_overlays_are_shrunk(tmp_path, monkeypatch):
    monkeypatch.setattr("unimatch.inference.outputs.OVERLAY_SIDE", 16)
    Writer(tmp_path, FACTS, ["overlay"]).write("x", np.zeros((20, 30, 3), np.uint8), make_prediction())
    with Image.open(tmp_path / "overlays" / "x.jpg") as overlay:
        assert overlay.width == 15


def test_done_is_what_has_a_line_and_a_mask(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    writer = Writer(tmp_path, FACTS, [])
    for name in ("whole", "no mask", "cut"):
        writer.finish(writer.write(name, image, make_prediction()))
    writer.write("no line", image, make_prediction())
    writer.mask_path("no mask").unlink()
    areas = tmp_path / "areas.csv"
    areas.write_text(areas.read_text()[:-3])  # as a machine that stops leaves it
    again = Writer(tmp_path, FACTS, [])
    assert again.done == {"whole"}
    again.finish(again.write("cut", image, make_prediction()))
    assert Writer(tmp_path, FACTS, []).done == {"whole", "cut"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_mask_of_a_turned_geotiff_lies_where_its_image_lies(orientation, tmp_path):
    """Its place is that of the pixels as they are stored, whatever a viewer turns."""
    tifffile = pytest.importorskip("tifffile")
    stored = np.random.default_rng(0).integers(0, 3, (20, 30), np.uint8)
    tags = [(33550, "d", 3, (10.0, 10.0, 0.0)), (33922, "d", 6, (0, 0, 0, 5e5, 5e6, 0)), (274, "H", 1, orientation)]
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, stored, extratags=[(*tag, True) for tag in tags], metadata=None)
    image = read_image(path)
    writer = Writer(tmp_path / "out", FACTS, [])
    writer.write("scene", image, Prediction(image[..., 0], None, None, FACTS), "", path)
    mask = writer.mask_path("scene")
    assert np.array_equal(tifffile.imread(mask), stored)
    assert np.array_equal(read_mask(mask), image[..., 0])
    assert np.array_equal(read_ids(mask, exif="stored").values, stored)
    assert georeference(mask)[33922] == tags[1][-1]


def test_an_image_that_is_predicted_again_has_one_line_at_the_end(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    writer = Writer(tmp_path, FACTS, [])
    for name in ("image", "other"):  # one called as the first column is
        writer.finish(writer.write(name, image, make_prediction(), "before"))
    writer.mask_path("image").unlink()
    again = Writer(tmp_path, FACTS, [])
    again.finish(again.write("image", image, make_prediction(), "after"))
    again.sync()
    with (tmp_path / "areas.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    assert [(row[0], row[-1]) for row in rows] == [("image", "after"), ("other", "before")]


def test_a_table_of_earlier_calls_with_repeated_lines_is_put_right(tmp_path):
    writer = Writer(tmp_path, FACTS, [])
    writer.finish(writer.write("x", np.zeros((20, 30, 3), np.uint8), make_prediction()))
    areas = tmp_path / "areas.csv"
    header, line = areas.read_text().splitlines(keepends=True)
    areas.write_text(header + line + line)
    Writer(tmp_path, FACTS, []).sync()
    assert areas.read_text() == header + line


def test_a_table_that_goes_missing_or_is_none_is_one_message(tmp_path):
    writer = Writer(tmp_path, FACTS, [])
    row = writer.write("x", np.zeros((20, 30, 3), np.uint8), make_prediction())
    writer.areas.unlink()
    for call in (lambda: writer.finish(row), writer.sync):
        with pytest.raises(DataError, match=r"areas\.csv: cannot be written \(No such file"):
            call()
    writer.areas.write_text("a" * 200_000 + "\n")
    with pytest.raises(DataError, match=r"areas\.csv: holds what unimatch does not write there"):
        Writer(tmp_path, FACTS, [])


def test_a_table_of_other_columns_is_begun_anew_and_is_then_known_again(tmp_path):
    image, named = np.zeros((20, 30, 3), np.uint8), dataclasses.replace(FACTS, classes=("=ground", "leaf", "stone"))
    for kinds, facts in (([], FACTS), (["disagreement"], FACTS), ([], FACTS), ([], named)):
        writer = Writer(tmp_path, facts, kinds)
        assert not writer.done
        writer.finish(writer.write("x", image, make_prediction(), "x.png"))
        assert Writer(tmp_path, facts, kinds).files == {"x": "x.png"}
        with (tmp_path / "areas.csv").open(newline="") as file:
            header, row = csv.reader(file)
        assert len(header) == len(row) == 8 + len(kinds)


def test_results_of_before_files_were_recorded_go_on(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    writer = Writer(tmp_path, FACTS, [])
    writer.finish(writer.write("old", image, make_prediction()))
    areas = tmp_path / "areas.csv"
    areas.write_text("".join(line.rpartition(",")[0] + "\n" for line in areas.read_text().splitlines()))
    again = Writer(tmp_path, FACTS, [])
    assert (again.done, again.files) == ({"old"}, {})
    again.finish(again.write("new \udcff", image, make_prediction(), "/new \udcff.jpg"))
    assert Writer(tmp_path, FACTS, []).files == {"old": "", "new \udcff": "/new \udcff.jpg"}


def test_an_overlay_that_fails_is_a_warning(tmp_path, monkeypatch, caplog):
    def fail(*arguments):
        raise OSError("no font")

    monkeypatch.setattr("unimatch.inference.outputs.add_legend", fail)
    writer = Writer(tmp_path, FACTS, ["overlay"])
    writer.finish(writer.write("x", np.zeros((20, 30, 3), np.uint8), make_prediction()))
    assert writer.done == {"x"}
    assert "x.jpg was not drawn: no font" in caplog.text


def test_facts_read_back():
    assert ModelFacts.from_json(FACTS.to_json(), "file") == FACTS


def test_names_that_spreadsheets_would_run_are_quoted_and_still_known_as_done(tmp_path):
    name = "=HYPERLINK(1)"
    writer = Writer(tmp_path, FACTS, ())
    writer.finish(writer.write(name, np.zeros((20, 30, 3), np.uint8), make_prediction()))
    assert "\n'=HYPERLINK(1),30,20," in (tmp_path / "areas.csv").read_text()
    assert Writer(tmp_path, FACTS, ()).done == {name}
