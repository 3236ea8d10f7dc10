"""Files of class names as people and label tools write them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.class_files import OF_TOOLS
from unimatch.data.sets.class_names import FILES, find_classes, read_classes
from unimatch.errors import DataError


@pytest.mark.parametrize("case", OF_TOOLS)
def test_class_files_of_tools_are_found_and_understood(tmp_path, case):
    name, text, colored = OF_TOOLS[case]
    (tmp_path / name).write_text(text, encoding="utf-8-sig" if name.endswith("csv") else "utf-8")
    colors = ((0, 0, 0), (128, 64, 128)) if colored else None
    assert read_classes(find_classes(tmp_path)) == (("other", "road"), colors)


@pytest.mark.parametrize(
    "names",
    [
        ("2 wheeler", "car", "truck"),
        ("0", "1", "2"),
        ("class 1", "class 2"),
        ("no", "yes", "on"),
        ("_background_", "$a_b$", "{x}", "\u4e2d\u6587", "a: b"),
        ("a, b", "c; d", "e#f"),
        ("lane 1", "lane 3", "2.5 m"),
    ],
)
def test_names_that_look_like_something_else_stay_names(tmp_path, names):
    (tmp_path / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    (tmp_path / "classes.json").write_text(json.dumps(names), encoding="utf-8")
    (tmp_path / "data.yaml").write_text(f"names: {json.dumps(names)}\n", encoding="utf-8")
    for name in ("classes.txt", "classes.json", "data.yaml"):
        assert read_classes(tmp_path / name) == (names, None)


@pytest.mark.parametrize(
    "text",
    [
        "- sky\n- tree\n", '"sky",\n"tree"\n', "sky # above\ntree // below\n", "0. sky\n1. tree\n",
        "0) sky\n1) tree\n", "0 - sky\n1 - tree\n", "0 -> sky\n1 -> tree\n", "- 0: sky\n- 1: tree\n",
    ],
)  # fmt: skip
def test_lists_as_people_write_them_are_names_alone(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    assert read_classes(tmp_path / "classes.txt") == (("sky", "tree"), None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"classes": ["soil", "leaf"], "colors": [[0, 0, 0], [255, 128, 0]]}'),
        ("a.json", '{"names": ["soil", "leaf"], "palette": ["#000000", "#ff8000"], "nc": 2}'),
        ("a.yaml", "names: [soil, leaf]\ncolor_map: [[0, 0, 0], [255, 128, 0]]"),
        ("a.yaml", "names: {1: leaf, 0: soil}\ncolours: [[0, 0, 0], [255, 128, 0]]"),
    ],
)
def test_colours_may_be_listed_beside_the_names(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name) == (("soil", "leaf"), ((0, 0, 0), (255, 128, 0)))


def test_colours_may_stand_behind_names_with_numbers_and_commas_between_quotes(tmp_path):
    (tmp_path / "a.txt").write_text("lane 1 0 0 0\nlane 2 9 9 9\n")
    assert read_classes(tmp_path / "a.txt") == (("lane 1", "lane 2"), ((0, 0, 0), (9, 9, 9)))
    (tmp_path / "a.csv").write_text('id,name\n0,"other, all"\n1,road\n')
    assert read_classes(tmp_path / "a.csv").names == ("other, all", "road")


@given(st.text(st.sampled_from("ab01 ,;:#\n\t\"'[]{}-.\r=&*!|>%@\0\x85\u2028"), max_size=40), st.sampled_from(FILES))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_text_is_classes_or_a_named_error(tmp_path_factory, text, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text, encoding="utf-8")
    try:
        outcome = list(read_classes(path).names)
    except DataError as error:
        outcome = str(error)
    assert str(path) in outcome if isinstance(outcome, str) else len(set(outcome)) == len(outcome) >= 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.json",
            '{"names": ["a", "b"], "colors": [[0, 0, 0]]}',
            r"colors must be a list of a colour .* of the 2 names",
        ),
        ("a.json", '{"names": ["a", "b"], "palette": [0, 0, 0, 9, 9, 9]}', r"palette must be a list of a colour"),
        ("a.json", '{"names": ["a", "b"], "colors": [[0, 0, 0], 7]}', r"a colour is three numbers from 0 to 255"),
        ("names.json", '["cat", "dog"', "cannot be read"),
        ("names.json", '{"0": "cat", "2": "dog"}', "line 2: 'dog' has the number 2, and 1 is next"),
        ("names.txt", "1 cat\n2 dog\n", "line 1: 'cat' has the number 1, and 0 is next"),
        ("names.txt", "# ours\n0 cat\n\n1 dog\ncow\n", "line 5: some lines give a number and some do not: 'cow'"),
        ("names.txt", "nummer,klasse\n0,cat\n1,dog\n", "line 1: some lines give a number"),
        ("names.txt", "Class\ncat\ndog\n", "line 1: 'Class' looks like a header; remove it"),
        ("names.txt", "1 120 120 120 wall\n2 180 120 120 door\n", "line 1: 'wall' has the number 1"),
        ("names.txt", "1 wall 120 120 120\n2 door 180 120 120\n", "line 1: 'wall' has the number 1"),
        ("names.txt", "10 euro\n20 euro\n", "names that begin with numbers in JSON"),
        ("names.csv", "klasse,r,g,b\ncat,1,2,3\n", "line 1: some lines give a colour"),
        ("names.csv", "klasse,farbe\ncat,red\n", "line 1: expected a first line such as 'name,r,g,b'"),
        ("names.csv", "id,name\n0,cat\n1\n", "line 3: expected 2 columns as in line 1: '1'"),
        ("names.csv", "id,name\n0,cat\nx,dog\n", "line 3: 'dog' has no id, or one that is no number"),
        ("names.csv", "name,r,g,b\ncat,0,0,0\ndog,0,0,red\n", "line 3: a colour is three numbers"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\ncat\n", "line 2: expected label:color_rgb:parts:actions"),
        ("data.yaml", "nc: 3\nnames: [cat, dog]\n", "nc does not say that there are 2 names"),
        ("data.yaml", "names: {0: cat, 2: dog}\n", "line 2: 'dog' has the number 2, and 1 is next"),
        ("data.yaml", "names: [cat, [dog]]\n", "expected a list of class names"),
        ("data.yaml", "a: &a {names: *a}\n", "cannot be read"),
        ("names.json", '[{"id": 0, "name": "cat"}, {"id": 1}]', "entry 2 has no name"),
        ("names.json", '["cat", 2]', "expected a list of class names"),
        ("names.json", '{"cat": [1, 2], "dog": [3, 4, 5]}', "expected a list of class names, or an object"),
        ("names.json", '{"cat": [1, 2, 3], "dog": [3, 4, 256]}', "a colour is three numbers from 0 to 255"),
        ("names.txt", "1 2 3 cat\ndog\n", "some lines give a colour"),
        ("names.txt", f"cat\n1{',' * 1000}\n", "line 2: has more than 1000 characters"),
        ("names.csv", f"id,name\n0,{'x' * 200_000}\n", "has more than 65,536 characters"),
        ("data.yaml", f"names: [{'a,' * 50_000}]", "has more than 65,536 characters"),
        ("names.json", '["\\ud800", "dog"]', "is half a character"),
        ("names.txt", "<!DOCTYPE html>\n<p>404\n", "line 1: '<!DOCTYPE html>' is HTML or XML"),
        ("names.txt", "nc: 2\nnames: [sky, tree]\n", r"line 2: 'names: \[sky, tree\]' is no class name"),
        ("names.txt", "sky\ntree\n255 void\n", "line 3: '255 void' is no class name"),
        ("names.txt", "sky,\ntree,\n", "line 1: 'sky,' is no class name"),
        ("names.txt", "sky\n---\ntree\n", "line 2: '---' is no class name"),
        ("names.txt", "item {\n  id: 1\n  name: 'sky'\n}\n", "line 1: 'item {' is no class name"),
        ("names.txt", "#000000 sky\n#888 road\n#ffffff tree\n", "line 2: some lines give a colour, .*#888 road"),
        ("names.txt", "#000000ff sky\n#804080ff tree\n", "line 1: '#000000ff sky' is no class name; write colours as"),
        ("names.txt", "sky #000\ntree #fff\n", "line 1: 'sky #000' is no class name; write colours as"),
        ("names.txt", "0x000000 sky\n0x804080 tree\n", "line 1: '0x000000 sky' is no class name; write colours as"),
        ("names.txt", "sky 0.0 0.0 0.0\ntree 0.5 0.2 0.5\n", "line 1: 'sky 0.0 0.0 0.0' is no class name; write col"),
        ("names.txt", "sky 0 0 0 255\ntree 128 64 128 255\n", "line 1: is 'sky 0' a name. write colours as"),
        ("names.txt", "0 0 0 0\n1 128 64 128\n", "line 1: is '0' a name. write colours as"),
        ("names.txt", "tree 1\nsky 0\n", "names have numbers in them, in another order than the lines"),
        ("names.txt", "[1] tree\n[0] sky\n", "names have numbers in them, in another order than the lines"),
        ("names.txt", "Idx\tRatio\tName\n1\t0.2\twall\n", r"line 1: .Idx.* is no class name"),
        ("names.jsonl", '{"id": 0, "name": "a"}\n{"id": 1, "name": "b"}\n', 'line 1: \'{"id": 0.* is no class name'),
        ("names.txt", "| sky |\n| tree |\n", "line 1: '| sky |' is no class name".replace("|", "[|]")),
        (
            "names.json",
            f"[{','.join(map(str, range(300)))}]".replace(",", '","').replace("[", '["').replace("]", '"]'),
            "at most 255 classes",
        ),
    ],
)
def test_bad_class_files_are_named(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_classes(path)
    assert str(path) in str(caught.value)


def test_a_fault_in_yaml_is_told_in_one_line(tmp_path):
    (tmp_path / "classes.yaml").write_text("names: [a, b\n  c: {\n")
    with pytest.raises(DataError, match=r"read \(line 2, column 4: expected ',' or '\]', but got ':'\)$"):
        read_classes(tmp_path / "classes.yaml")


def test_absent_or_binary_class_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt: the class names cannot be read"):
        read_classes(tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"binary\.txt: the class names cannot be read .*save it as UTF-8"):
        read_classes(tmp_path / "binary.txt")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_class_files_in_utf_16_are_called_so(encoding, tmp_path):
    (tmp_path / "classes.txt").write_text("road\nsky\n", encoding=encoding)
    with pytest.raises(DataError, match=r"classes\.txt: the class names cannot be read .*save it as UTF-8"):
        read_classes(tmp_path / "classes.txt")


@pytest.mark.parametrize(
    "comment",
    ["# made 2024 11 29", "// 1 2 3", "# 0x000000 is black", "# 1.0 2.0 3.0", "#add more here", "# void #fff"],
)
def test_numbers_and_colours_in_a_comment_are_no_class(comment, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text(f"{comment}\nroad\nsky\n")
    assert read_classes(path).names == ("road", "sky")
    path.write_text("# made 2024 11 29\n#ff0000 road\n#00ff00 sky\n")
    assert read_classes(path).names == ("road", "sky")
