import json
import shutil

import pytest

from helpers import exports
from helpers.support import write_pair
from unimatch.data.sets.class_names import find_classes, note_alike, read_classes
from unimatch.errors import DataError
from unimatch.images.folders import notes_taken


def test_class_names_come_from_text_json_or_a_sequence(tmp_path):
    (tmp_path / "classes.txt").write_text("  ground\n\nleaf \nstone\n", encoding="utf-8")
    (tmp_path / "other.json").write_text(json.dumps(["ground", "leaf", "stone"]), encoding="utf-8")
    expected = (("ground", "leaf", "stone"), None)
    assert read_classes(find_classes(tmp_path)) == expected
    assert read_classes(tmp_path / "other.json") == expected
    assert read_classes(str(tmp_path / "other.json")) == expected
    assert read_classes(["ground", " leaf", "stone"]) == expected


def test_colors_come_from_text_or_json(tmp_path):
    (tmp_path / "a.txt").write_text("0 0 0 ground\n  10, 200,30\tgreen leaf \n255 255 255  stone")
    (tmp_path / "b.json").write_text('{"ground": [0, 0, 0], "green leaf": [10, 200, 30], "stone": [255, 255, 255]}')
    expected = (("ground", "green leaf", "stone"), ((0, 0, 0), (10, 200, 30), (255, 255, 255)))
    assert read_classes(tmp_path / "a.txt") == expected
    assert read_classes(tmp_path / "b.json") == expected


def test_json_class_names_are_found_below_the_root(tmp_path):
    (tmp_path / "classes.json").write_text('["no", "yes"]', encoding="utf-8")
    assert read_classes(find_classes(tmp_path)).names == ("no", "yes")


@pytest.mark.parametrize("make", [exports.coco, exports.labelme, exports.supervisely, exports.roboflow])
def test_an_export_of_a_label_tool_says_how_to_read_it(tmp_path, make):
    make(tmp_path)
    (tmp_path / "labels.txt").unlink(missing_ok=True)  # LabelMe's, a file of class names
    with pytest.raises(
        DataError, match=r"seems to be from a label tool: .*python -m unimatch\.labels from=.* to=FOLDER"
    ):
        find_classes(tmp_path)


@pytest.mark.parametrize("place", [["masks"], ["train/images", "train/labels"]])
def test_a_data_set_with_a_stray_json_is_no_export(tmp_path, place):
    exports.save(tmp_path / "notes.json", {"camera": 3})
    for folder in place:
        write_pair(tmp_path / folder / "a.png", None)
    with pytest.raises(DataError, match=r"no classes\.txt.*write one class name a line"):
        find_classes(tmp_path)


def test_a_data_set_in_one_more_folder_is_pointed_out(tmp_path):
    write_pair(tmp_path / "photos" / "train" / "images" / "a.png", tmp_path / "photos" / "train" / "masks" / "a.png")
    (tmp_path / "photos" / "classes.txt").write_text("soil\nplant\n")
    with pytest.raises(DataError, match=rf"seems to be {tmp_path / 'photos'}: set dataset\.root={tmp_path / 'photos'}"):
        find_classes(tmp_path)
    shutil.copytree(tmp_path / "photos" / "train", tmp_path / "scene")
    with pytest.raises(
        DataError, match=r"photos and scene each hold images and masks; put them into images/photos and"
    ):
        find_classes(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alone\n", "at least two class names"),
        ("", "at least two class names"),
        ("cat\ndog\n cat\n", "all different"),
        ("\u00fc\nu\u0308\n", "all different"),
        ("\n".join(str(i) for i in range(256)), "at most 255 classes"),
    ],
)
def test_too_few_too_many_or_repeated_names_are_refused_with_their_file(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_classes(path)
    assert str(path) in str(caught.value)


def test_bad_class_sequences_are_named_by_their_key():
    with pytest.raises(DataError, match=r"classes: at least two class names"):
        read_classes(["alone"])


@pytest.mark.parametrize("name", ["Classes.txt", "CLASSES.TXT", "class_names.txt", "codes.txt"])
def test_class_names_are_found_under_usual_names_in_capitals_or_not(tmp_path, name):
    (tmp_path / name).write_text("ground\nleaf\n")
    assert find_classes(tmp_path) == tmp_path / name
    (tmp_path / "classes.txt").write_text("ground\nstone\n")
    assert find_classes(tmp_path) == tmp_path / "classes.txt"


@pytest.mark.parametrize("name", ["masks/classes.txt", "my classes.txt", "classes.txt.txt"])
def test_a_misplaced_file_of_class_names_is_pointed_out_and_not_used(tmp_path, name):
    write_pair(tmp_path / "images" / "a.png", tmp_path / "masks" / "a.png")
    (tmp_path / name).write_text("ground\nleaf\n")
    with pytest.raises(
        DataError, match=rf"no classes\.txt; .*{name} is there: if it names the classes, move or rename"
    ):
        find_classes(tmp_path)


def test_names_that_differ_in_their_case_alone_are_noted():
    with notes_taken() as notes:
        note_alike("classes.txt", ["a", "A", "road", "tree"])
        assert not notes
        note_alike("classes.txt", ["Road", "road", "tree"])
    assert notes == [("classes alike", "classes.txt: Road and road are two classes; if they are one, name it once")]


def test_one_class_alone_needs_another():
    with pytest.raises(
        DataError, match=r"found \['crack'\]; what is none of the objects is a class too, such as background"
    ):
        read_classes(["crack"])
