import numpy as np
import pytest

from helpers import exports
from helpers.exports import area, masks, photo, png, save, unlabelled
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


def test_a_photo_of_the_same_name_in_another_folder_is_not_taken(tmp_path):
    exports.roboflow(tmp_path / "export")
    name = "a_jpg.rf.0f.jpg"
    (tmp_path / "export" / "valid" / name).rename(tmp_path / name)
    with pytest.raises(DataError, match=r"valid/a_jpg\.rf\.0f_mask\.png: no photo of its name lies beside it"):
        read(tmp_path / "export")
    for part in ("train", "valid"):
        photo(tmp_path / "photos" / part / name)
    assert masks(read(tmp_path / "export", images=tmp_path / "photos")).keys() == {f"train/{name}", f"val/{name}"}


def test_an_empty_mask_of_any_size_is_that_of_an_unlabelled_photo(tmp_path):
    exports.roboflow(tmp_path)
    (tmp_path / "train" / "more_mask.png").write_bytes(png(np.zeros((30, 40), np.uint8)))
    assert unlabelled(read(tmp_path)) == ["more.jpg"]
    assert (masks(read(tmp_path, negatives=True))["train/more.jpg"] == 0).all()
    save(tmp_path / "valid" / "a_jpg.rf.0f_mask.png", "no picture")
    with pytest.raises(DataError, match=r"valid/a_jpg\.rf\.0f_mask\.png: cannot be read as an image"):
        read(tmp_path)
