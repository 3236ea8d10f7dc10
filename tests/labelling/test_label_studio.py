import json
import re

import numpy as np
import pytest

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, masks, photo, png, save, unlabelled
from unimatch.errors import DataError
from unimatch.labelling import read, write
from unimatch.labelling.label_studio import photo_path


@pytest.mark.parametrize("pictures", [False, True])
def test_label_studio_takes_the_last_annotation_that_was_not_cancelled(tmp_path, pictures):
    exports.label_studio(tmp_path)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[area(1, 1, 7, 5) | area(8, 0, 10, 3)] = 1
    expected[area(3, 3, 9, 8)] = 2
    if pictures:  # the shorter JSON names photos only
        save(tmp_path / "project.json", [{"id": 1, "image": "a.png", "annotations": []}])
        for label, value in (("leaf", 1), ("stone", 2)):
            name = f"task-1-annotation-2-by-me@home-tag-{label}-0.png"
            (tmp_path / name).write_bytes(png((expected == value).astype(np.uint8) * 255))
        (tmp_path / "task-1-annotation-1-by-me-tag-old-0.png").write_bytes(png(np.ones((HEIGHT, WIDTH), np.uint8)))
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "stone")
    assert (masks(labels)["train/a.png"] == expected).all()
    assert unlabelled(labels) == ["b.png"]


def test_predictions_are_read_with_their_photos(tmp_path):
    photo(tmp_path / "pool" / "sub" / "a.jpg")
    (tmp_path / "out" / "masks" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "masks" / "sub" / "a.png").write_bytes(png(area(1, 1, 5, 5).astype(np.uint8)))
    save(tmp_path / "out" / "predict.json", {"classes": ["background", "leaf"], "palette": [[0, 0, 0], [1, 2, 3]]})
    labels = read(tmp_path / "out", images=tmp_path / "pool")
    assert (masks(labels)["train/sub/a.jpg"] == area(1, 1, 5, 5)).all()
    write(labels, tmp_path / "tasks", format="labelstudio", url="https://host/", workers=0)
    (task,) = json.loads((tmp_path / "tasks" / "tasks.json").read_text())
    assert task["data"] == {"image": "https://host/images/sub/a.jpg"}
    (region,) = task["predictions"][0]["result"]
    assert region["value"]["polygonlabels"] == ["leaf"]
    assert 'value="leaf" background="#010203"' in (tmp_path / "tasks" / "labelling.xml").read_text()


def test_pngs_of_label_studio_need_the_names_of_their_photos(tmp_path):
    (tmp_path / "task-1-annotation-2-by-me-tag-leaf-0.png").write_bytes(png(np.ones((HEIGHT, WIDTH), np.uint8)))
    with pytest.raises(DataError, match="export the project as JSON too"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/data/local-files/?d=photos/a%20b.jpg", "photos/a b.jpg"),
        ("https://host/bucket/a.png?token=x", "a.png"),
        ("/data/upload/3/0a1b2c3d-a.png", "data/upload/3/0a1b2c3d-a.png"),
        ("s3://bucket/photos/a", "a"),
    ],
)
def test_a_tasks_photo_is_what_its_url_ends_in(url, path):
    assert photo_path({"width": 3, "image": url}, "1") == path


def test_a_turned_rectangle_and_an_ellipse(tmp_path):
    """Turned by a quarter about its upper left corner, a rectangle lies to the left of that."""
    facts = {"original_width": WIDTH, "original_height": HEIGHT}
    corner = {"x": 600 / WIDTH, "y": 100 / HEIGHT, "width": 400 / WIDTH, "height": 300 / HEIGHT, "rotation": 90}
    round_one = {"x": 1000 / WIDTH, "y": 400 / HEIGHT, "radiusX": 100 / WIDTH, "radiusY": 300 / HEIGHT}
    results = [
        {"id": "t", "type": "rectanglelabels", "value": {**corner, "rectanglelabels": ["leaf"]}, **facts},
        {"id": "e", "type": "ellipselabels", "value": {**round_one, "ellipselabels": ["stone"]}, **facts},
    ]
    exports.label_studio(tmp_path, annotations=[{"result": results}])
    found = masks(read(tmp_path))["train/a.png"]
    assert (found == 1).tolist() == area(3, 1, 6, 5).tolist()
    rows, columns = np.nonzero(found == 2)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (9, 10, 1, 6)


def brush(values):
    value = {"rle": values, "brushlabels": ["leaf"]}
    result = {"id": "r", "type": "brushlabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}
    return lambda root: exports.label_studio(root, annotations=[{"result": [result]}])


BOX = {
    "id": "q",
    "type": "rectanglelabels",
    "original_width": WIDTH,
    "original_height": HEIGHT,
    "value": {"rectanglelabels": ["a"]},
}


def boxed(**changes):
    return lambda root: exports.label_studio(root, annotations=[{"result": [{**BOX, **changes}]}])


BROKEN = {
    "brush cut short": (brush([0, 0, 1]), r"a\.png: task 1, region r: .* brush strokes"),
    "brush of no bytes": (brush([-1, 900]), r"project\.json: .*region r is malformed"),
    "several classes": (boxed(value={"rectanglelabels": ["a", "b"]}), "region q has several classes"),
    "a turned image": (boxed(image_rotation=90), "region q has several classes, a turned image"),
    "no place": (boxed(), r"a\.png: task 1, region q is malformed \('x'\)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_region_is_named(name, tmp_path):
    make, message = BROKEN[name]
    make(tmp_path / "export")
    with pytest.raises(DataError) as error:
        write(read(tmp_path / "export"), tmp_path / "photos", workers=0)
    assert re.search(message, str(error.value)), str(error.value)
    assert not (tmp_path / "photos").exists()


def test_the_files_name_says_the_part(tmp_path):
    file = exports.label_studio(tmp_path)
    file.rename(file.with_name("val.json"))
    assert {image.part for image in read(tmp_path).images if image.labels is not None} == {"val"}
