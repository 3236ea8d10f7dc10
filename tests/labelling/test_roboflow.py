import pytest

from helpers import exports
from helpers.exports import area, masks, unlabelled
from unimatch.errors import DataError
from unimatch.labelling import read


def test_roboflow_masks(tmp_path):
    labels = read(exports.roboflow(tmp_path))
    assert labels.classes == ("background", "stone", "leaf")
    found = masks(labels)
    assert (found["train/a_jpg.rf.0f.jpg"] == area(1, 1, 5, 5)).all()
    assert (found["val/a_jpg.rf.0f.jpg"] == 2 * area(1, 1, 5, 5)).all()
    assert unlabelled(labels) == ["more.jpg"]


@pytest.mark.parametrize("line", ["one, stone", "1"])
def test_a_line_that_is_no_class_is_named(line, tmp_path):
    exports.roboflow(tmp_path)
    file = next(tmp_path.rglob("_classes.csv"))
    file.write_text(f"Pixel Value, Class\n0, background\n{line}\n")
    with pytest.raises(DataError, match=r"_classes\.csv, line 3: expected a pixel value and a class"):
        read(tmp_path)
