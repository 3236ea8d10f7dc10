import itertools
import json

import numpy as np
import pytest

from helpers.published import make_coco
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.archives import Member
from unimatch.data.prepare.coco import Thing, area_of, draw_mask, read_annotations
from unimatch.errors import ConfigError, DataError


def test_annotations_that_are_none_are_named(tmp_path):
    make_coco(tmp_path, unpacked=True)
    notes = tmp_path / "annotations" / "instances_val2017.json"
    for content in (b"[", b"[]", b'{"categories": [], "images": [], "annotations": [{"image_id": 3}]}'):
        notes.write_bytes(content)
        with pytest.raises(DataError, match=r"instances_val2017\.json is no file of instance annotations"):
            convert_archives("coco", tmp_path, tmp_path / "root", workers=0)
    notes.write_bytes(b'{"categories": [], "images": [], "annotations": []}')
    with pytest.raises(DataError, match=r"instances_val2017\.json does not know the image val2017/000000000005\.jpg"):
        convert_archives("coco", tmp_path, tmp_path / "root", workers=0)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (
            {"size": [6, 4], "counts": [0, 24]},
            r"size \[6, 4\], and the image has \[4, 6\] \(height and width are swapped",
        ),
        ({"size": [5, 5], "counts": [0, 25]}, r"run lengths of size \[5, 5\], and the image has \[4, 6\]; correct it"),
        ({"size": [4, 6], "counts": [0, 23]}, "run lengths of 23 pixels, and the image has 24"),
        (None, "has no segmentation"),
        ([1, 2, 3, 4, 5, 6], "no list of polygons"),
        ([[1, 2, 3]], "no list of polygons"),
    ],
)
def test_a_segmentation_that_cannot_be_drawn_names_its_image(tmp_path, segmentation, message):
    note = {"id": 7, "image_id": 3, "category_id": 1} | ({} if segmentation is None else {"segmentation": segmentation})
    with pytest.raises(DataError, match=rf"notes\.json: some/x\.jpg: annotation 7 .*{message}"):
        read_annotations(write_notes(tmp_path, [note]))


def test_an_annotation_without_an_id_is_named_by_its_place(tmp_path):
    whole = {"image_id": 3, "category_id": 1, "segmentation": {"size": [4, 6], "counts": [0, 24]}}
    with pytest.raises(DataError, match=r"some/x\.jpg: annotation number 2 .*has no segmentation"):
        read_annotations(write_notes(tmp_path, [whole, {**whole, "segmentation": None}]))


def write_notes(folder, annotations):
    content = {"categories": [{"id": 1}], "annotations": annotations}
    content["images"] = [{"id": 3, "file_name": "some/x.jpg", "height": 4, "width": 6}]
    (folder / "notes.json").write_text(json.dumps(content))
    return Member(folder, "notes.json", (folder / "notes.json").stat().st_size)


def test_names_of_images_may_have_folders(tmp_path):
    whole = {"size": [4, 6], "counts": [0, 24]}
    notes = write_notes(tmp_path, [{"id": 7, "image_id": 3, "category_id": 1, "segmentation": whole}])
    assert read_annotations(notes) == {"x": (4, 6, [Thing(1, False, whole)])}


def test_coco_without_pycocotools_says_what_to_install(tmp_path, monkeypatch):
    make_coco(tmp_path / "source")
    monkeypatch.setattr("unimatch.data.prepare.coco.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'unimatch\[coco\]'"):
        convert_archives("coco", tmp_path / "source", tmp_path / "root", workers=0)


def square(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_smaller_things_lie_above_larger_ones_and_crowds_below_all():
    crowd = {"size": [4, 6], "counts": [0, 24]}  # every pixel, column by column
    things = [Thing(1, False, square(1, 1, 3, 3)), Thing(2, False, square(0, 0, 5, 3)), Thing(3, True, crowd)]
    expected = np.full((4, 6), 3)
    expected[0:3, 0:5] = 2
    expected[1:3, 1:3] = 1
    for order in itertools.permutations(things):
        assert np.array_equal(draw_mask(4, 6, order), expected)


def test_a_polygon_of_two_points_is_nothing():
    assert not area_of([[0, 0, 4, 4]], 4, 6).any()
