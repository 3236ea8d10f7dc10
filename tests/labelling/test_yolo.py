import shutil

import numpy as np
import pytest

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, box, masks, photo, save, shares, unlabelled
from unimatch.errors import DataError
from unimatch.labelling import read


def test_outlines_are_drawn_the_smaller_ones_last(tmp_path, caplog):
    labels = read(exports.yolo(tmp_path))
    assert labels.classes == ("background", "leaf", "stone")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[area(1, 1, 6, 6)] = 1
    expected[area(2, 2, 4, 4)] = 2
    drawn = masks(labels)
    assert sorted(drawn) == ["train/a.rf.1.png", "val/d.png"]
    assert (drawn["train/a.rf.1.png"] == expected).all()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    assert (
        drawn["val/d.png"] == 2 * (columns >= 12 - rows)
    ).all()  # the triangle below the line from (12, 0) to (4, 8)
    assert unlabelled(labels) == ["b.png", "c.png"]
    assert "1 annotations are left out: they are boxes" in caplog.text
    assert "a.rf.1.txt: line 4" in caplog.text


def test_photos_without_an_object_are_background_where_that_is_asked_for(tmp_path):
    labels = read(exports.yolo(tmp_path), negatives=True)
    assert not masks(labels)["train/b.png"].any()
    assert unlabelled(labels) == ["c.png"]


def test_validation_photos_without_an_object_are_said_to_be_trained_on(tmp_path, caplog):
    export = exports.yolo(tmp_path)
    read(export)
    assert "have no annotation" not in caplog.text
    save(tmp_path / "valid" / "labels" / "d.txt", "")
    read(export, negatives=True)
    assert "have no annotation" not in caplog.text
    read(export)
    assert "1 photos of val or test have no annotation, such as d.png: they become unlabelled ones" in caplog.text


def test_the_first_files_may_hold_nothing(tmp_path):
    assert list(masks(read(exports.yolo(tmp_path, lines=[])))) == ["val/d.png"]


def test_the_part_is_that_of_the_folder_and_not_of_the_name(tmp_path):
    photo(tmp_path / "train" / "images" / "val_7.png")
    save(tmp_path / "train" / "labels" / "val_7.txt", f"0 {shares(box(0, 0, 3, 3))}")
    assert "train/val_7.png" in masks(read(exports.yolo(tmp_path)))


def test_each_photo_is_drawn_at_its_own_size(tmp_path):
    export = exports.yolo(tmp_path)
    photo(tmp_path / "train" / "images" / "a.rf.1.png", size=(2 * WIDTH, 3 * HEIGHT))
    mask = masks(read(export))["train/a.rf.1.png"]
    assert (mask[3:18, 2:12] > 0).all()
    assert (mask > 0).sum() == 15 * 10


@pytest.mark.parametrize(
    ("photos", "labels"),
    [("images/train", "labels/train"), ("images/val2017", "labels/val2017"), ("set/images", "set/labels")],
)
def test_folders_are_as_the_tools_lay_them_out(tmp_path, photos, labels):
    """Ultralytics and CVAT: the part below; Label Studio: ``classes.txt`` in place of ``data.yaml``."""
    photo(tmp_path / photos / "drive" / "a.png")
    photo(tmp_path / "elsewhere" / "a.png")
    save(tmp_path / labels / "drive" / "a.txt", f"0 {shares(box(0, 0, 3, 3))}")
    save(tmp_path / "classes.txt", "leaf\nno\n")
    found = read(tmp_path)
    part, folder = "val" if "val" in photos else "train", "set/drive" if "set" in photos else "drive"
    assert list(masks(found)) == [f"{part}/{folder}/a.png"]
    assert found.classes == ("background", "leaf", "no")


def test_a_zip_archive_with_one_class_is_read(tmp_path):
    exports.yolo(tmp_path / "export", names=["no"], lines=[f"0 {shares(box(1, 1, 6, 6))}"])
    (tmp_path / "export" / "valid" / "labels" / "d.txt").unlink()
    labels = read(shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "export"))
    assert labels.classes == ("background", "no")
    assert (masks(labels)["train/a.rf.1.png"] == area(1, 1, 6, 6)).all()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("7 0 0 1 0 1 1", r"line 2 is malformed \(class 7 has no name among the 2 there are\)"),
        ("-1 0 0 1 0 1 1", "line 2 is malformed .*class -1 has no name"),
        ("0.5 0 0 1 0 1 1", "line 2 is malformed .*class 0.5 has no name"),
        ("0 0 0 1 0 1", "line 2 is malformed .*5 numbers behind the class are no three or more points"),
        ("0 0 0 1 0 1 1 0.9", "line 2 is malformed .*7 numbers"),
        ("0 0 0 11 0 11 7", "line 2 is malformed .*shares of the photo's sides"),
        ("0 0 0 nan 0 1 1", "line 2 is malformed .*shares of the photo's sides"),
        ("0 0 0 1 x 1 1", "line 2 is malformed .*could not convert string to float: 'x'"),
        ("0", "line 2 is malformed .*0 numbers"),
        ("0 0 0 1.2 0 1 1", r"line 2: .*\(14\.4, 0\) lies outside"),
    ],
)
def test_a_broken_line_is_told_by_its_number(tmp_path, line, told):
    export = exports.yolo(tmp_path, lines=[f"0 {shares(box(1, 1, 6, 6))}", line])
    with pytest.raises(DataError, match=rf"a\.rf\.1\.txt: (a\.rf\.1\.png: )?{told}"):
        masks(read(export))


def test_names_are_needed_and_agree(tmp_path):
    export = exports.yolo(tmp_path)
    save(tmp_path / "valid" / "data.yaml", "names: [stone, leaf]\n")
    with pytest.raises(DataError, match=r"valid/data\.yaml: other names than in data\.yaml"):
        read(export)
    save(tmp_path / "valid" / "data.yaml", "names: [leaf, stone]\nkpt_shape: [17, 3]\n")
    with pytest.raises(DataError, match="points of poses"):
        read(export)
    (tmp_path / "valid" / "data.yaml").unlink()
    for content, told in (
        (
            "names: [leaf, stone\n",
            r"is no YAML \(line 2, column 1: expected ',' or '\]', but got '<stream end>'\); export",
        ),
        ("names: [leaf, stone]\nnc: 3\n", "nc does not say that there are 2 names"),
        ("names: {0: leaf, 2: stone}\n", "data.yaml"),
        ("names: [" + "a, " * 30_000 + "b]\n", "more than 65,536 characters"),
    ):
        save(tmp_path / "data.yaml", content)
        with pytest.raises(DataError, match=told):
            read(export)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"no data\.yaml with names"):
        read(export)


def test_boxes_alone_leave_no_photo_labelled(tmp_path):
    export = exports.yolo(tmp_path, lines=["0 0.5 0.5 0.1 0.1"])
    (tmp_path / "valid" / "labels" / "d.txt").unlink()
    with pytest.raises(DataError, match="no photo in it is labelled"):
        read(export)


def test_a_label_without_its_photo_is_told(tmp_path):
    export = exports.yolo(tmp_path)
    (tmp_path / "valid" / "images" / "d.png").unlink()
    with pytest.raises(DataError, match=r"valid/labels/d\.txt: valid/images/d: no such photo"):
        read(export)


def test_other_texts_are_no_labels(tmp_path):
    photo(tmp_path / "a.png")
    save(tmp_path / "labels" / "a.txt", "the leaf is green\n")
    with pytest.raises(DataError, match=r"of no known format; known are .*yolo"):
        read(tmp_path)


def test_a_list_of_classes_among_the_labels_is_none_of_them(tmp_path):
    export = exports.yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    save(tmp_path / "train" / "labels" / "classes.txt", "leaf\nstone\n")
    assert read(export).classes == ("background", "leaf", "stone")


def test_lists_of_photos_are_said_not_to_be_read(tmp_path, caplog):
    export = exports.yolo(tmp_path)
    save(tmp_path / "data.yaml", "train: train.txt\nval: val.txt\nnames: [leaf, stone]\n")
    read(export)
    assert "its lists train.txt, val.txt are not read" in caplog.text
