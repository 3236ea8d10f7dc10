import csv
import re

import numpy as np
import pytest

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, masks, save, unlabelled
from unimatch.errors import DataError
from unimatch.labelling import read, write
from unimatch.labelling.kaggle import columns


def test_kaggle_runs_go_down_the_columns(tmp_path):
    exports.kaggle(tmp_path)
    labels = read(tmp_path)
    assert labels.classes == ("background", "1", "2")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[:3, 0] = expected[:2, 1] = 2
    expected[2, 0] = 1
    assert (masks(labels)["train/a.png"] == expected).all()
    assert unlabelled(labels) == ["b.png", "c.png"]
    save(tmp_path / "train.csv", "ImageId_ClassId,EncodedPixels\na.png_3,1 3\na.png_4,\n")
    assert read(tmp_path).classes == ("background", "3", "4")  # nobody has drawn one of class 4
    save(tmp_path / "train.csv", "id,rle\na,1 3\n")
    assert read(tmp_path).classes == ("background", "foreground")


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    exports.kaggle(tmp_path)
    save(tmp_path / "train.csv", "ImageId,ClassId,EncodedPixels\na.png,10,1 3\na.png,9,5 1\n")
    assert read(tmp_path).classes == ("background", "9", "10")


@pytest.mark.parametrize(
    ("header", "line", "name", "along_rows"),
    [
        ("Image_Label,EncodedPixels", "a.png_Fish,2 3", "Fish", False),
        ("img,EncodedPixels", "a.png,2 3", "foreground", False),
        ("img,rle_mask", "a.png,2 3", "foreground", True),
        ("id,class,segmentation", "a,stomach,2 3", "stomach", True),
        ("id,annotation,cell_type", "a,2 3,astro", "astro", True),
    ],
)
def test_columns_say_which_way_runs_go(header, line, name, along_rows, tmp_path):
    exports.kaggle(tmp_path)
    save(tmp_path / "train.csv", f"{header}\n{line}\n")
    labels = read(tmp_path)
    assert labels.classes == ("background", name)
    mask = masks(labels)["train/a.png"]
    assert np.flatnonzero(mask if along_rows else mask.T).tolist() == [1, 2, 3]


def test_the_files_name_says_the_part(tmp_path):
    exports.kaggle(tmp_path)
    (tmp_path / "train.csv").rename(tmp_path / "val.csv")
    assert masks(read(tmp_path)).keys() == {"val/a.png"}


def test_cells_of_any_length_are_read_and_the_process_keeps_its_bound(tmp_path):
    exports.kaggle(tmp_path)
    before = csv.field_size_limit()
    save(tmp_path / "train.csv", f"id,rle\na,1 3{' ' * before}\n")
    assert masks(read(tmp_path))["train/a.png"].sum() == 3
    assert csv.field_size_limit() == before


def test_a_table_of_lines_of_another_kind_is_none_of_kaggles():
    assert columns("id,rle\ra,1 2\rb,3 4") == (None, None, None)


def test_columns_are_found_by_any_of_their_names():
    assert columns("\ufeffImageId,EncodedPixels\r\n") == ("ImageId", "EncodedPixels", None)
    assert columns('"id","x","rle","class"\n"a",1,2,3') == ("id", "rle", "class")
    assert columns("name,age") == columns("") == (None, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,rle\na,90 50\n", r"a\.png: line 2: .*beyond"),
        (
            "id,rle\na,9 5 10 8\n",
            r"a\.png: line 2: its run 10 8 overlaps the one before .*count from the image's first",
        ),
        ("id,height,width,rle\na,16,24,1 3\n", r"a\.png: labelled at 24 x 16 pixels, and the photo has 12 x 8"),
        ("id,rle\na,1 x\n", r"a\.png: line 2: its run lengths are no numbers"),
        ("id,rle,class\na,1 2,x\na,3 1\n", r"train\.csv, line 3: has no cell for the image or the class"),
        ("rle,id\n1 2\n", r"train\.csv, line 2: has no cell"),
        ("id,rle\nz,1 2\n", r"train\.csv: z: no such photo"),
        ("id,rle\n\xe9,1 2\n", r"train\.csv: cannot be read .*utf-8"),
    ],
)
def test_broken_tables_name_their_line(tmp_path, text, message):
    exports.kaggle(tmp_path / "export")
    (tmp_path / "export" / "train.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as error:
        write(read(tmp_path / "export"), tmp_path / "photos", workers=0)
    assert re.search(message, str(error.value)), str(error.value)
