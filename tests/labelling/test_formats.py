import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, masks, photo, png, save, unlabelled
from helpers.support import at_night
from unimatch.data import folder
from unimatch.errors import DataError
from unimatch.labelling import TOOLS, read, write


def test_coco_smaller_over_larger_and_crowds_below(tmp_path, caplog):
    file = exports.coco(tmp_path)
    labels = read(tmp_path)
    assert labels.classes == ("background", "stone", "leaf")  # in the order of their ids
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[area(0, 0, 6, 2)] = 2
    expected[area(1, 1, 6, 6) | area(8, 1, 9, 3)] = 1
    expected[area(2, 2, 4, 4)] = 2
    found = masks(labels)
    assert (found["train/a.png"] == expected).all()
    assert (found["train/b.png"] == 2 * area(5, 0, 12, 3)).all()
    assert unlabelled(labels) == ["c.png"]
    assert "1 annotations are left out" in caplog.text
    assert "annotation 10" in caplog.text
    assert (masks(read(file, images=tmp_path / "images"))["train/a.png"] == expected).all()
    assert (masks(read(tmp_path, negatives=True))["train/c.png"] == 0).all()
    only = masks(read(tmp_path, background=None))["train/b.png"]
    assert (only == np.where(area(5, 0, 12, 3), 1, 255)).all()


def test_coco_files_of_several_parts_share_ids_by_name(tmp_path):
    exports.coco(tmp_path / "train")
    exports.coco(tmp_path / "val", categories=[{"id": 9, "name": "stone"}, {"id": 2, "name": "moss"}])
    labels = read(tmp_path)
    assert labels.classes == ("background", "stone", "leaf", "moss")
    found = masks(labels)
    assert set(np.unique(found["train/a.png"])) == {0, 1, 2}
    assert set(np.unique(found["val/a.png"])) == {0, 1, 3}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"annotations": [{"id": 1, "image_id": "7", "category_id": 2, "segmentation": [[1, 1, 5, 1, 5, 5]]}]},
         "annotation 1 is of image '7', which the file does not list; remove it, or write it as 7"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": "2", "segmentation": [[1, 1, 5, 1, 5, 5]]}]},
         "annotation 1 is of category '2', which the file does not list; add it, or write it as 2"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 2, "segmentation": 3 * [[0, 0, 0.5, 0, 0.5, 1]]}]},
         "all points lie between 0 and 1"),
        ({"annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": []}]}, "is of COCO's panoptic labels"),
        ({"images": [], "annotations": [{"name": "leaf", "polygon": {}}]}, "lists no photos under 'images'"),
    ],
)  # fmt: skip
def test_what_is_not_cocos_instances_is_told(tmp_path, change, told):
    exports.coco(tmp_path, **change)
    with pytest.raises(DataError, match=rf"instances\.json: (a\.png: )?{told}"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["_background_", "Background"])
def test_the_background_may_be_called_otherwise(tmp_path, name):
    exports.coco(tmp_path, categories=[{"id": 1, "name": name}, {"id": 2, "name": "stone"}, {"id": 9, "name": "leaf"}])
    labels = read(tmp_path)
    assert labels.classes == ("background", "stone", "leaf")
    expected = masks(labels)["train/b.png"]
    assert set(np.unique(expected)) == {0, 2}
    there = read(tmp_path, classes=[name, "stone", "leaf"])
    assert there.background == name
    assert (masks(there)["train/b.png"] == expected).all()


def test_photos_may_be_called_masks_where_a_file_lists_them(tmp_path):
    exports.coco(tmp_path, images=[{"id": 7, "file_name": "with_mask.png"}, {"id": 40, "file_name": "b.png"}])
    (tmp_path / "images" / "a.png").rename(tmp_path / "images" / "with_mask.png")
    photo(tmp_path / "images" / "b_mask.png")
    assert [image.name for image in read(tmp_path).images] == ["b.png", "c.png", "with_mask.png"]


def test_one_file_may_list_the_photos_of_all_parts(tmp_path):
    exports.coco(tmp_path, images=[{"id": 7, "file_name": "train/a.png"}, {"id": 40, "file_name": "val/b.png"}])
    assert masks(read(tmp_path)).keys() == {"train/a.png", "val/b.png"}


def test_a_photo_that_is_listed_by_its_address_keeps_its_files_name(tmp_path):
    exports.coco(tmp_path, images=[{"id": 7, "file_name": "s1/my%20a"}, {"id": 40, "file_name": "b"}])
    (tmp_path / "images" / "a.png").rename(tmp_path / "images" / "my a.png")
    assert [image.name for image in read(tmp_path).images] == ["b.png", "c.png", "s1/my a.png"]


def test_a_photo_that_two_files_list_counts_once(tmp_path):
    exports.coco(tmp_path)
    file, listed = exports.coco(tmp_path / "other"), {"id": 1, "file_name": "a.png"}
    shutil.rmtree(tmp_path / "other" / "images")
    save(file.parent / "captions.json", {"images": [listed], "annotations": [], "categories": []})
    file.unlink()
    labels = read(tmp_path)
    assert [(image.name, image.labels is None) for image in labels.images] == [
        ("a.png", False),
        ("b.png", False),
        ("c.png", True),
    ]
    note = {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [exports.flat(exports.box(1, 1, 5, 5))]}
    categories = [{"id": 2, "name": "leaf"}]
    save(tmp_path / "val.json", {"images": [listed], "annotations": [note], "categories": categories})
    with pytest.raises(
        DataError, match=r"a\.png: its photo images/a\.png is labelled in .* too, once for train and once for val"
    ):
        read(tmp_path)


def test_masks_in_a_folder_for_each_part_keep_their_parts(tmp_path):
    save(tmp_path / "classes.txt", "background\nleaf\n")
    for name in ("train/a", "Val/a", "test/day 1/b"):
        photo(tmp_path / "images" / f"{name}.jpg")
        photo(tmp_path / "masks" / f"{name}.png")
        Image.fromarray(area(1, 1, 5, 5).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    assert {(image.part, image.name) for image in read(tmp_path).images} == {
        ("train", "a.jpg"),
        ("val", "a.jpg"),
        ("test", "day 1/b.jpg"),
    }


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_cvat_masks(tmp_path, form):
    root = exports.cvat(tmp_path / "task")
    if form == "zip":
        root = shutil.make_archive(tmp_path / "task", "zip", root)
    labels = read(root)
    assert labels.classes == ("background", "leaf", "stone")
    assert labels.colors == ((0, 0, 0), (0, 255, 16), (9, 8, 7))
    expected = area(1, 1, 5, 5) + 2 * area(6, 1, 9, 5).astype(np.uint8)
    assert (masks(labels)["train/a.jpg"] == expected).all()
    assert unlabelled(labels) == ["b.jpg"]


def test_what_is_written_trains(tmp_path):
    exports.coco(tmp_path / "train")
    exports.coco(tmp_path / "val")
    write(read(tmp_path), tmp_path / "photos", workers=0)
    data = folder(tmp_path / "photos")
    assert data.info.classes == ("background", "stone", "leaf")
    assert [len(part) for part in (data.labeled, data.unlabeled, data.val)] == [2, 2, 2]
    assert sorted(np.unique(data.labeled.mask(0))) == [0, 1, 2]


def layout(root, images, classes):
    """The layout that training reads."""
    for name, mask in images.items():
        photo(root / "images" / f"{name}.png", size=mask.shape[::-1])
        path = root / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(mask))
    save(root / "classes.txt", "\n".join(classes))
    return root


def there_and_back(data, out, tool, **options):
    """Labels written for a tool, accepted there as they are, and read again."""
    write(read(data), out, format=tool, workers=0, overwrite=True, **options)
    if tool == "labelstudio":
        tasks = json.loads((out / "tasks.json").read_text())
        save(out / "tasks.json", [{"data": task["data"], "annotations": task["predictions"]} for task in tasks])
    return read(out, classes=data / "classes.txt")


small = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255]))
)


@pytest.mark.parametrize("shapes", ["polygons", "masks"])
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("classes", [("background", "leaf", "stone"), at_night(("sky", "leaf", "stone"))])
@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(mask=small)
def test_small_masks_come_back_from_every_tool(tmp_path_factory, mask, tool, shapes, classes):
    mask[0, 0] = 1  # at least one is labelled
    root = tmp_path_factory.mktemp("data")
    data = layout(root / "data", {"a/b": mask, "c": mask[::-1, ::-1]}, classes)
    labels = there_and_back(data, root / "out", tool, shapes=shapes, tolerance=0)
    assert labels.classes == classes
    found = masks(labels)
    assert (found["train/a/b.png"] == mask).all()
    assert (found["train/c.png"] == mask[::-1, ::-1]).all()


def test_corrections_join_what_is_there(tmp_path):
    exports.coco(tmp_path / "first")
    write(read(tmp_path / "first"), tmp_path / "photos", workers=0)
    assert (tmp_path / "photos" / "unlabeled" / "c.png").is_file()
    exports.labelme(tmp_path / "second", imagePath="c.png")
    (tmp_path / "second" / "a.png").rename(tmp_path / "second" / "c.png")
    labels = read(tmp_path / "second", classes=tmp_path / "photos" / "classes.txt")
    write(labels, tmp_path / "photos", workers=0)
    there = sorted(p.relative_to(tmp_path / "photos").as_posix() for p in (tmp_path / "photos").rglob("*.png"))
    names = [f"{kind}/{name}.png" for kind in ("images", "masks") for name in "abc"]
    assert there == names  # b.png, which nobody labelled this time, was labelled before


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "annotations.xml",
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1',
            "CVAT's XML; export it",
        ),
        ("a.xml", "<annotation><object><bndbox><xmin>1", "XML of boxes"),
        ("min.json", '[{"image": "a.png", "label": [], "annotation_id": 3}]', "Label Studio's short JSON; export it"),
        ("via.json", '{"_via_settings": {}, "_via_img_metadata": {"a": {}}}', "VGG Image Annotator's; export it"),
        ("via.json", '{"a.png1": {"regions": [{"shape_attributes": {"name": "polygon"}}]}}', "VGG Image Annotator's"),
        ("a.geojson", '{"type": "FeatureCollection", "features": []}', "GeoJSON, as of QuPath; export labelled"),
        ("a.json", '[{"type": "Feature", "geometry": {}}]', "GeoJSON"),
    ],
)
def test_exports_that_are_not_read_are_called_by_their_name(tmp_path, name, content, told):
    photo(tmp_path / "a.png")
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{name} is {told}"):
        read(tmp_path)


@pytest.mark.parametrize("tool", ["coco", "labelme", "labelstudio"])
def test_photos_that_are_background_all_over_come_back_from_a_tool(tool, tmp_path):
    for name in "ab":
        exports.photo(tmp_path / f"data/images/{name}.png")
        (tmp_path / "data/masks").mkdir(exist_ok=True)
        nothing = np.zeros((exports.HEIGHT, exports.WIDTH), np.uint8)
        Image.fromarray(nothing).save(tmp_path / f"data/masks/{name}.png")
    (tmp_path / "data/classes.txt").write_text("background\nleaf\n")
    write(read(tmp_path / "data"), tmp_path / "out", format=tool, workers=0)
    with pytest.raises(DataError, match=r"no photo in it is labelled.*if they are background all over, negatives=true"):
        read(tmp_path / "out")
    with pytest.raises(DataError, match="no class for negatives; set background=CLASS"):
        read(tmp_path / "out", negatives=True, background=None, classes=["leaf", "stone"])
    found = exports.masks(read(tmp_path / "out", negatives=True))
    assert found.keys() == {"train/a.png", "train/b.png"}
    assert not any(mask.any() for mask in found.values())
