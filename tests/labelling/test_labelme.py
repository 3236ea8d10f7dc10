import base64

import numpy as np

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, masks, save, unlabelled
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
    assert "lines and points cover nothing" in caplog.text
    save(tmp_path / "labels.txt", "__ignore__\n_background_\nstone\nleaf\n")
    assert read(tmp_path).classes == ("background", "stone", "leaf")


def test_labelme_holds_the_photo_itself(tmp_path):
    file = exports.labelme(tmp_path)
    content = (tmp_path / "a.png").read_bytes()
    exports.labelme(tmp_path, imageData=base64.b64encode(content).decode())
    (tmp_path / "a.png").unlink()
    write(read(file), tmp_path / "out", workers=0)
    assert (tmp_path / "out" / "images" / "a.png").read_bytes() == content
