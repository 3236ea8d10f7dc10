import numpy as np

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, masks, unlabelled
from unimatch.labelling import read


def test_supervisely_bitmaps_and_holes(tmp_path):
    labels = read(exports.supervisely(tmp_path))
    assert labels.classes == ("background", "leaf", "stone")
    assert labels.colors[1:] == ((0, 255, 16), (10, 11, 12))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[area(0, 0, 8, 8) & ~area(2, 2, 5, 5)] = 1
    expected[area(9, 1, 12, 3)] = 2
    assert (masks(labels)["train/a.png"] == expected).all()
    assert unlabelled(labels) == ["a.png"]
