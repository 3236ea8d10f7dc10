import json

import pytest

from unimatch.data.classes import read_classes
from unimatch.errors import DataError


def test_class_names_come_from_text_json_or_a_sequence(tmp_path):
    (tmp_path / "classes.txt").write_text("  ground\n\nleaf \nstone\n", encoding="utf-8")
    (tmp_path / "other.json").write_text(json.dumps(["ground", "leaf", "stone"]), encoding="utf-8")
    expected = ("ground", "leaf", "stone")
    assert read_classes(tmp_path, None) == expected
    assert read_classes(tmp_path, tmp_path / "other.json") == expected
    assert read_classes(tmp_path, str(tmp_path / "other.json")) == expected
    assert read_classes(tmp_path, ["ground", " leaf", "stone"]) == expected


def test_json_class_names_are_found_below_the_root(tmp_path):
    (tmp_path / "classes.json").write_text('["no", "yes"]', encoding="utf-8")
    assert read_classes(tmp_path, None) == ("no", "yes")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("names.txt", "alone\n", "at least two class names"),
        ("names.txt", "", "at least two class names"),
        ("names.txt", "cat\ndog\n cat\n", "all different"),
        ("names.json", '["cat", "dog"', "cannot be read"),
        ("names.json", '{"0": "cat", "1": "dog"}', "expected a list of class names"),
        ("names.json", '["cat", 2]', "expected a list of class names"),
        ("names.txt", "\n".join(str(i) for i in range(256)), "at most 255 classes"),
    ],
)
def test_bad_class_files_are_named(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_classes(tmp_path, path)
    assert str(path) in str(caught.value)


def test_absent_or_binary_class_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt: the class names cannot be read"):
        read_classes(tmp_path, tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"binary\.txt: the class names cannot be read"):
        read_classes(tmp_path, tmp_path / "binary.txt")


def test_bad_class_sequences_are_named_by_their_key(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.classes: at least two class names"):
        read_classes(tmp_path, ["alone"])
