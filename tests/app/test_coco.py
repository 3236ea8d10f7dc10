import json

import numpy as np
import pytest

from helpers.served import png
from unimatch import DataError, Inference
from unimatch.app import coco as app
from unimatch.app.time_limit import TimeLimit
from unimatch.engines.model_facts import ModelFacts
from unimatch.labelling import read

FACTS = ModelFacts(
    ("background", "road", "car"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), (0.5,) * 3, (0.5,) * 3, 1, Inference()
)


def mask_with_a_hole():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:15, 3:20] = 1
    mask[5:9, 6:12] = 0
    mask[16:19, 1:9] = 2
    return mask


def test_the_label_reader_draws_the_same_mask(tmp_path):
    mask = mask_with_a_hole()
    (tmp_path / "street.json").write_bytes(app.coco_json(png(mask), "street.png", FACTS, TimeLimit(60)))
    (tmp_path / "street.png").write_bytes(png(np.zeros((20, 30, 3), np.uint8)))
    labels = read(tmp_path, format="coco")
    assert labels.classes == FACTS.classes
    assert np.array_equal(labels.mask(labels.images[0], (30, 20)), mask)


def test_too_many_regions_are_refused_before_they_are_outlined(monkeypatch):
    monkeypatch.setattr(app, "MOST_REGIONS", 1)
    monkeypatch.setattr(app.coco, "segmentation", lambda *_: pytest.fail("one was outlined"))
    with pytest.raises(DataError, match="has 2 regions or more, and this page outlines up to 1"):
        app.coco_json(png(mask_with_a_hole()), "a.png", FACTS, TimeLimit(60))


def test_outlining_that_takes_too_long_is_given_up_at_the_next_class():
    limit = TimeLimit(1e-9)
    with pytest.raises(DataError, match="outlining its 1 regions takes more than 1e-09 s"):
        app.coco_json(png(mask_with_a_hole()), "a.png", FACTS, limit)


def test_names_with_controls_are_one_line():
    content = json.loads(app.coco_json(png(mask_with_a_hole()), "a\n\x1b[31m.png", FACTS, TimeLimit(60)))
    assert content["images"][0]["file_name"].isprintable()
