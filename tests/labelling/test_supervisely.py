import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, box, masks, png, save, unlabelled
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


def palette_png():
    """Two pixels in a palette of two colours that are not black, of which the first is transparent."""
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([200, 0, 0, 0, 0, 200])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("rectangle", {"points": {"exterior": [[2, 1], [11, 7]], "interior": []}}, area(2, 1, 12, 8)),
        ("rectangle", {"points": {"exterior": [[5, 4], [3, 3]]}}, area(3, 3, 6, 5)),
        ("polygon", {"points": {"exterior": [[0, 0], [6, 0], [0, 6]]}}, np.add.outer(np.arange(8), np.arange(12)) < 6),
        ("rectangle", {"points": {"exterior": [[2.0, 1.0], [10.6, 7.4]]}}, area(2, 1, 11, 7)),
        ("polygon", {"points": {"exterior": box(1.4, 1, 5.6, 5)}}, area(1, 1, 6, 5)),
        (
            "multipolygon",
            {"parts": [{"exterior": box(0, 0, 6, 6), "interior": [box(2, 2, 4, 4)]}, {"exterior": box(8, 0, 9, 3)}]},
            area(0, 0, 6, 6) & ~area(2, 2, 4, 4) | area(8, 0, 9, 3),
        ),
        ("bitmap", {"bitmap": {"origin": [3, 2], "data": png(np.ones((1, 2), bool))}}, area(3, 2, 5, 3)),
        ("bitmap", {"bitmap": {"origin": [3, 2], "data": zlib.compress(palette_png())}}, area(4, 2, 5, 3)),
    ],
)
def test_supervisely_points_are_pixels(kind, content, expected, tmp_path):
    if "bitmap" in content:
        content["bitmap"] = {**content["bitmap"], "data": base64.b64encode(content["bitmap"]["data"]).decode()}
    entry = {"id": 1, "classTitle": "leaf", "geometryType": kind, **content}
    assert (masks(read(exports.supervisely(tmp_path, objects=[entry])))["train/a.png"] == expected).all()


def test_supervisely_counts_what_it_leaves_out(tmp_path, caplog):
    objects = [{"id": 5, "classTitle": "leaf", "geometryType": "oriented_bbox", "points": {}}]
    filled = {"id": 6, "classTitle": "leaf", "geometryType": "rectangle", "points": {"exterior": [[0, 0], [1, 1]]}}
    read(exports.supervisely(tmp_path, objects=[*objects, filled]))
    assert "1 annotations are left out: they are no bitmap, polygon or rectangle; the first is" in caplog.text


def test_supervisely_classes_of_several_projects(tmp_path):
    exports.supervisely(tmp_path / "first")
    save(exports.supervisely(tmp_path / "second") / "meta.json", {"classes": [{"title": "moss", "color": "#010203"}]})
    assert read(tmp_path).classes == ("background", "leaf", "stone", "moss")
