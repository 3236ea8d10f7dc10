import itertools

import numpy as np
import pytest

from helpers.published import make_coco
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.coco import Thing, area_of, draw_mask
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
