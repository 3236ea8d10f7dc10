import json

import pytest

from unimatch.data.sets.class_names import find_classes, read_classes
from unimatch.errors import DataError


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


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("names.txt", "alone\n", "at least two class names"),
        ("names.txt", "", "at least two class names"),
        ("names.txt", "cat\ndog\n cat\n", "all different"),
        ("names.json", '["cat", "dog"', "cannot be read"),
        ("names.json", '{"0": "cat", "1": "dog"}', "expected a list of class names"),
        ("names.json", '["cat", 2]', "expected a list of class names"),
        ("names.json", '{"cat": [1, 2], "dog": [3, 4, 5]}', "expected a list of class names, or an object"),
        ("names.json", '{"cat": [1, 2, 3], "dog": [3, 4, 256]}', "a colour is three numbers from 0 to 255"),
        ("names.txt", "1 2 3 cat\ndog\n", "some lines give a colour"),
        ("names.txt", "\n".join(str(i) for i in range(256)), "at most 255 classes"),
    ],
)
def test_bad_class_files_are_named(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_classes(path)
    assert str(path) in str(caught.value)


def test_absent_or_binary_class_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt: the class names cannot be read"):
        read_classes(tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"binary\.txt: the class names cannot be read"):
        read_classes(tmp_path / "binary.txt")


def test_bad_class_sequences_are_named_by_their_key():
    with pytest.raises(DataError, match=r"classes: at least two class names"):
        read_classes(["alone"])
