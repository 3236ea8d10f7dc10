"""Files of label tools, as messages about folders recognise them."""

import json

import pytest

from unimatch.images.label_files import exported, json_kind

NNUNET = {"channel_names": {"0": "R"}, "labels": {"background": 0, "a": 1}, "numTraining": 8, "file_ending": ".png"}
COCO = {"info": {}, "images": [], "annotations": [], "categories": []}
LABELME = {"version": "5.0", "shapes": [], "imagePath": "a.jpg"}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (COCO, "coco"),
        (LABELME, "labelme"),
        ([{"id": 1, "annotations": []}], "labelstudio"),
        ({"description": "", "size": {}, "objects": []}, "supervisely"),
        (NNUNET, None),
        ({"images": 12}, None),
        ([1, 2], None),
    ],
)
def test_a_json_file_is_of_the_tool_whose_entries_it_has(content, kind):
    assert json_kind(json.dumps(content, indent=1)) == kind


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("instances.json", COCO, True),
        ("sub/a.json", LABELME, True),
        ("labels/a.txt", "0 0.1 0.1", True),
        ("_classes.csv", "a,b", True),
        ("a.xml", "<annotation/>", True),
        ("dataset.json", NNUNET, False),  # its folder is one of images and masks
        ("._a.json", COCO, False),
        ("a/b/c.json", COCO, False),
    ],
)
def test_an_export_is_told_by_the_files_beside_the_photos(name, content, found, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    told = exported(tmp_path, "MINE")
    assert told == (
        f"; {path} seems to be from a label tool: make images/ masks/ classes.txt of its export with python -m "
        "unimatch.labels from=MINE to=FOLDER"
        if found
        else ""
    )
