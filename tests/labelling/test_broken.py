"""Broken exports: one message that names file, photo and annotation, and nothing half written."""

import base64
import json
import os
import re
import resource
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, box, flat, photo, png, save
from unimatch.errors import ConfigError, DataError
from unimatch.labelling import read, write


def coco_with(segmentation, **changes):
    note = {"id": 5, "image_id": 7, "category_id": 9, "segmentation": segmentation, **changes}
    return lambda root: exports.coco(root, annotations=[note])


def labelme_with(**shape):
    return lambda root: exports.labelme(root, shapes=[{"label": "leaf", "shape_type": "polygon", **shape}])


def then(make, change):
    def both(root):
        made = make(root)
        change(root)
        return made

    return both


def cut(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-40])


def replace_pixels(root):
    (root / "SegmentationClass" / "a.png").write_bytes(png(np.full((HEIGHT, WIDTH, 3), 77, np.uint8)))


def resize(name, size):
    return lambda root: photo(root / name, size=size)


def supervisely_with(data):
    entry = {"id": 4, "classTitle": "leaf", "geometryType": "bitmap", "bitmap": {"origin": [0, 0], "data": data}}
    return lambda root: exports.supervisely(root, objects=[entry])


NAMELESS = {
    "id": "x",
    "type": "polygonlabels",
    "value": {"points": [[10, 10], [60, 10], [60, 60]], "polygonlabels": [None]},
    "original_width": WIDTH,
    "original_height": HEIGHT,
}
BROKEN = {
    "cut short": (then(exports.coco, cut("annotations/instances.json")), r"instances\.json: is cut short"),
    "two points": (coco_with([[1, 1, 3, 3]]), r"instances\.json: a\.png: annotation 5: .* 2 points; three are needed"),
    "an odd number": (
        coco_with([[1, 1, 3]]),
        r"annotation 5 of image a\.png of annotations is malformed \(its polygon has 3 numbers, which are no pairs\)",
    ),
    "a point outside": (
        coco_with([flat(box(1, 1, 40, 4))]),
        r"a\.png: annotation 5: .*\(40, 1\) lies outside .* 12 x 8",
    ),
    "no number": (coco_with([[1, 1, "x", 1, 3, 3]]), r"annotation 5 of image a\.png"),
    "not a number": (coco_with([[1, 1, float("nan"), 1, 3, 3]]), r"annotation 5: .*outside"),
    "runs of another size": (
        coco_with(exports.runs(np.ones((9, 9), bool))),
        "annotation 5: .* 9 x 9 pixels and the photo",
    ),
    "runs too long": (coco_with({"size": [HEIGHT, WIDTH], "counts": [9, 999]}), "annotation 5: .*give 1008 pixels"),
    "runs of no text": (coco_with({"size": [HEIGHT, WIDTH], "counts": "\x7f"}), r"annotation 5 of image a\.png"),
    "no id": (coco_with([[1, 1, 3, 3]], id=None), r"a\.png: annotation number 1: .* 2 points; three are needed"),
    "unknown category": (coco_with([flat(box(1, 1, 4, 4))], category_id=77), r"a\.png: annotation 5 is of category 77"),
    "unknown image": (coco_with([flat(box(1, 1, 4, 4))], image_id=77), "annotation 5 is of image 77"),
    "two images of one id": (
        lambda root: exports.coco(root, images=[{"id": 7, "file_name": f"{name}.png"} for name in "ab"]),
        r"image 7 of images is malformed \(a\.png and b\.png have the same id\); correct it",
    ),
    "two categories of one id": (
        lambda root: exports.coco(root, categories=[{"id": 9, "name": name} for name in ("leaf", "stone")]),
        r"category 9 of categories is malformed \(leaf and stone have the same id\); correct it",
    ),
    "no image": (lambda root: exports.coco(root, images=[{"id": 7}]), "image 7 of images is malformed"),
    "a category without a name": (
        lambda root: exports.coco(root, categories=[{"id": 9, "name": None}]),
        r"category 9 of categories is malformed \(its name is null\); correct it",
    ),
    "an image without a name": (
        lambda root: exports.coco(root, images=[{"id": 7, "file_name": None}]),
        r"image 7 of images is malformed \(its file_name is null\); correct it",
    ),
    "supervisely no class": (
        lambda root: exports.supervisely(
            root,
            objects=[{"id": 4, "classTitle": None, "geometryType": "polygon", "points": {"exterior": box(1, 1, 4, 4)}}],
        ),
        r"a\.png: object 4 \(None\) is malformed \(its classTitle is null\); correct or remove it",
    ),
    "supervisely no title": (
        then(exports.supervisely, lambda root: save(root / "meta.json", {"classes": [{"title": None}]})),
        r"meta\.json: malformed \(ValueError\('the title of a class is null'\)\); export it again",
    ),
    "label studio no label": (
        lambda root: exports.label_studio(root, annotations=[{"id": 2, "result": [NAMELESS]}]),
        r"a\.png: task 1, region x is malformed \(its label is null\); correct or remove it",
    ),
    "labelme no label": (
        labelme_with(label=None, points=[[1, 1], [3, 1], [3, 3]]),
        r"a\.png: shape 0 \(None\) is malformed \(its label is null\); correct or remove it",
    ),
    "a missing photo": (then(exports.coco, lambda root: (root / "images/a.png").unlink()), r"a\.png: no such photo"),
    "a photo of another size": (
        then(exports.coco, resize("images/a.png", (9, 9))),
        r"a\.png: labelled at 12 x 8 .* 9 x 9",
    ),
    "a broken photo": (then(exports.coco, lambda root: save(root / "images/a.png", "x")), r"a\.png: cannot be read"),
    "labelme cut short": (then(exports.labelme, cut("a.json")), r"a\.json: is no whole JSON"),
    "labelme of endless digits": (
        then(exports.labelme, lambda root: save(root / "a.json", '{"shapes": [' + "9" * 5000 + "]}")),
        r"a\.json: is no whole JSON \(Exceeds the limit",
    ),
    "labelme control characters": (labelme_with(label="a\x1bb", points=box(1, 1, 4, 4)), r"the class 'a\\x1bb': "),
    "labelme half a character": (labelme_with(label="\ud800", points=box(1, 1, 4, 4)), r"the class '\\ud800': "),
    "labelme no name": (labelme_with(label=" ", points=box(1, 1, 4, 4)), r"the class ' ': a name is needed"),
    "labelme a comment for a name": (
        labelme_with(label="#x", points=box(1, 1, 4, 4)),
        r"classes\.txt cannot hold .*#x",
    ),
    "labelme a colour for a name": (labelme_with(label="1 2 3 x", points=box(1, 1, 4, 4)), r"classes\.txt cannot hold"),
    "labelme without a label": (lambda root: exports.labelme(root, shapes=[{"points": []}]), r"a\.json: is no file"),
    "labelme two points": (labelme_with(points=[[1, 1], [2, 2]]), r"a\.png: shape 0 \('leaf'\): .*2 points"),
    "labelme no mask": (labelme_with(shape_type="mask", points=[[1, 1]], mask="%"), r"a\.png: shape 0 .* malformed"),
    "labelme no picture": (
        labelme_with(shape_type="mask", points=[[1, 1]], mask=base64.b64encode(b"no").decode()),
        r"a\.png: shape 0 .* no known kind",
    ),
    "labelme endless": (labelme_with(shape_type="circle", points=[[1, 1], [1e300, 1]]), r"a\.png: shape 0 .*radius"),
    "colour of no class": (
        then(exports.cvat, replace_pixels),
        r"a\.png: colour \(77, 77, 77\) \(96 pixels\) of no class",
    ),
    "a damaged mask": (then(exports.cvat, cut("SegmentationClass/a.png")), r"SegmentationClass/a\.png: cannot be read"),
    "a mask of another size": (
        then(exports.cvat, resize("JPEGImages/a.jpg", (9, 9))),
        r"12 x 8 pixels and its photo 9 x 9",
    ),
    "a list of no colours": (
        then(exports.cvat, lambda root: save(root / "labelmap.txt", "a:1,2::")),
        "line 1: expected",
    ),
    "a value of no class": (
        then(exports.roboflow, lambda root: save(root / "valid/_classes.csv", "Pixel Value, Class\n0, background\n")),
        r"a_jpg.rf.0f_mask\.png: value 2 \(16 pixels\) of no class",
    ),
    "no value": (
        then(exports.roboflow, lambda root: save(root / "valid/_classes.csv", "Pixel Value, Class\nx, y\n")),
        r"_classes\.csv, line 2: expected a pixel value",
    ),
    "a cell without end": (
        then(
            exports.roboflow, lambda root: save(root / "valid/_classes.csv", f'Pixel Value, Class\n0, "{"x" * 10**6}')
        ),
        r"_classes\.csv, line \d: expected a pixel value",
    ),
    "supervisely no bitmap": (supervisely_with("eJw="), r"a\.png\.json: train/a\.png|a\.png: object 4 .*"),
    "supervisely no meta": (then(exports.supervisely, lambda root: (root / "meta.json").unlink()), r"no meta\.json"),
    "nothing known": (lambda root: save(root / "readme.txt", "hello"), "of no known format"),
    "two formats": (lambda root: (exports.labelme(root), exports.cvat(root / "b")), "may be cvat or labelme"),
    "no labels": (lambda root: exports.coco(root, annotations=[]), "no photo in it is labelled"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_export_is_one_message_and_nothing_is_written(name, tmp_path):
    make, message = BROKEN[name]
    root = tmp_path / "export"
    root.mkdir()
    make(root)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as error:
        write(read(root), tmp_path / "photos", workers=0)
    assert re.search(message, str(error.value)), str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_there_stays_after_an_error(tmp_path):
    exports.coco(tmp_path / "first")
    write(read(tmp_path / "first"), tmp_path / "photos", workers=0)
    before = {path: path.read_bytes() for path in (tmp_path / "photos").rglob("*") if path.is_file()}
    with pytest.raises(
        DataError, match=r"2 of these photos are labelled there already \(a.png, b.png\); overwrite=true"
    ):
        write(read(tmp_path / "first"), tmp_path / "photos", workers=0)
    coco_with([[1, 1, 3, 3]])(tmp_path / "second")
    with pytest.raises(DataError, match="annotation 5"):
        write(read(tmp_path / "second"), tmp_path / "photos", workers=0, overwrite=True)
    other = read(exports.supervisely(tmp_path / "third"))
    with pytest.raises(DataError, match=r"names the classes background, stone, leaf, and the labels have"):
        write(other, tmp_path / "photos", workers=0, overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "photos").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "photos", "second", "third"]


def test_unknown_classes_name_the_annotation(tmp_path):
    exports.coco(tmp_path)
    labels = read(tmp_path, classes=["background", "leaf"])
    with pytest.raises(DataError, match=r"a\.png: annotation 4: the class 'stone' is none of background, leaf"):
        write(labels, tmp_path / "out", workers=0)


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd.png", "images/../../../a.png", "C:\\a.png"])
def test_a_photo_is_never_looked_for_or_written_outside(name, tmp_path):
    photo(tmp_path / "a.png")
    header = {"id": 7, "file_name": name, "width": WIDTH, "height": HEIGHT}
    note = {"id": 5, "image_id": 7, "category_id": 9, "segmentation": [flat(box(1, 1, 4, 4))]}
    exports.coco(tmp_path / "export", images=[header], annotations=[note])
    if name == "/etc/passwd.png":
        with pytest.raises(DataError, match="no such photo"):
            read(tmp_path / "export")
        return
    labels = read(tmp_path / "export")  # the export's own a.png
    write(labels, tmp_path / "out", workers=0)
    assert (tmp_path / "out" / "images" / "a.png").read_bytes() == (tmp_path / "export/images/a.png").read_bytes()


def test_links_that_lead_out_are_not_followed(tmp_path):
    exports.coco(tmp_path / "export")
    secret = photo(tmp_path / "secret.png")
    (tmp_path / "export/images/a.png").unlink()
    (tmp_path / "export/images/a.png").symlink_to(secret)
    with pytest.raises(DataError, match=r"a\.png is a link"):
        write(read(tmp_path / "export"), tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()
    os.rename(tmp_path / "export/annotations", tmp_path / "notes")  # noqa: PTH104
    (tmp_path / "export/annotations").symlink_to(tmp_path / "notes")
    with pytest.raises(DataError, match="no known format"):
        read(tmp_path / "export")


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png"])
def test_zip_slips_are_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(DataError, match=r"evil\.png.* leads out of the archive"):
        read(tmp_path / "a.zip")


def test_a_link_in_a_zip_is_not_read(tmp_path):
    exports.coco(tmp_path / "export")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "export/annotations/instances.json", "instances.json")
        for name in "abc":
            info = zipfile.ZipInfo(f"images/{name}.png")
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"images/a\.png is a link"):
        write(read(tmp_path / "a.zip"), tmp_path / "out", workers=0)


@pytest.mark.parametrize(
    ("name", "begin", "piece"),
    [
        ("a.json", b'{"shapes": [], "imagePath": "', b"x"),
        ("a.json", b'{"shapes": [', b"{},"),  # 24 times as much in Python's objects
        ("a.json", b'{"images": [', b"{},"),
        ("project/ds/ann/a.png.json", b'{"objects": [', b"[],"),
        ("train.csv", b"ImageId,EncodedPixels\n", b"a,1 1\n"),
    ],
)
def test_a_zip_bomb_is_refused_without_the_memory(name, begin, piece, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        file.write(begin)
        for _ in range(20):
            file.write(piece * (2**20 // len(piece)))
    assert (tmp_path / "a.zip").stat().st_size < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"[\d,]+ bytes of text in [\d,]+, and no more than 30 times"):
        read(tmp_path / "a.zip")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_photo_that_claims_to_be_huge_is_refused(tmp_path, monkeypatch):
    exports.coco(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image .*exceeds limit"):
        write(read(tmp_path), tmp_path / "out", workers=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "boxes"}, "format=boxes: must be folder, pairs or one of coco"),
        ({"shapes": "dots", "format": "coco"}, "shapes=dots: must be polygons or masks"),
        ({"tolerance": -1, "format": "coco"}, "tolerance=-1: must be"),
        ({"tolerance": float("nan"), "format": "coco"}, "tolerance=nan: must be"),
    ],
)
def test_arguments_are_checked(tmp_path, options, message):
    exports.coco(tmp_path)
    with pytest.raises(ConfigError, match=message):
        write(read(tmp_path), tmp_path / "out", **options)
    with pytest.raises(ConfigError, match="format=boxes: must be auto or one of"):
        read(tmp_path, format="boxes")


def test_a_file_of_anything_is_an_error_a_user_can_act_on(tmp_path):
    for content in ([], [1], [[{"id": 1}]], {"images": [3], "annotations": []}, {"images": [], "annotations": [3]}):
        save(tmp_path / "a.json", json.dumps(content))
        with pytest.raises(DataError, match=r"a\.json|no known format|no photo"):
            read(tmp_path)
