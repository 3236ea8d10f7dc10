import base64

import numpy as np
import pytest

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, masks, save, unlabelled
from unimatch.errors import DataError
from unimatch.labelling import read, write


def test_labelme_later_over_earlier(tmp_path, caplog):
    exports.labelme(tmp_path)
    labels = read(tmp_path)
    assert labels.classes == ("background", "leaf", "stone")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[area(0, 0, 6, 6)] = 1
    expected[area(8, 1, 11, 4)] = 2
    expected[area(8, 1, 10, 3)] = 1  # the centres within 1 of (9, 2)
    expected[1, 1] = expected[2, 1] = expected[2, 2] = 2
    expected[area(0, 7, 12, 8)] = 255
    assert (masks(labels)["train/a.png"] == expected).all()
    assert unlabelled(labels) == ["b.png"]
    assert "they are no polygon, rectangle, circle or mask" in caplog.text
    save(tmp_path / "labels.txt", "__ignore__\n_background_\nstone\nleaf\n")
    assert read(tmp_path).classes == ("background", "stone", "leaf")


def test_labelme_holds_the_photo_itself(tmp_path):
    file = exports.labelme(tmp_path)
    content = (tmp_path / "a.png").read_bytes()
    exports.labelme(tmp_path, imageData=base64.b64encode(content).decode())
    (tmp_path / "a.png").unlink()
    write(read(file), tmp_path / "out", workers=0)
    assert (tmp_path / "out" / "images" / "a.png").read_bytes() == content


def test_labels_may_lie_in_a_folder_of_their_own(tmp_path):
    file = exports.labelme(tmp_path / "labels")
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (file.parent / name).rename(tmp_path / "images" / name)
    labels = read(tmp_path)
    assert [image.name for image in labels.images] == ["a.png", "b.png"]


def test_turned_rectangles_count_and_shares_of_the_sides_are_refused(tmp_path):
    turned = {"label": "leaf", "points": exports.box(1, 1, 5, 5), "shape_type": "rotation"}
    exports.labelme(tmp_path, shapes=[turned])
    assert (masks(read(tmp_path))["train/a.png"] == area(1, 1, 5, 5)).all()
    exports.labelme(
        tmp_path, shapes=[{"label": "leaf", "points": exports.box(0.1, 0.1, end, 1)} for end in (0.5, 0.7, 1)]
    )
    with pytest.raises(DataError, match=r"a\.json: all points lie between 0 and 1"):
        read(tmp_path)
