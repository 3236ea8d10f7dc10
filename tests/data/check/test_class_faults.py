"""The full check of images that have one class each: each fault is planted, found, and nothing else is."""

import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.class_data import make_cifar10, make_image_folder, make_stl10, make_svhn
from unimatch import ConfigError, DataError
from unimatch.data import cifar10, digits_classification, image_folder, stl10, svhn
from unimatch.data.check import full_check
from unimatch.data.check.contact_sheet import draw_contact_sheet, draw_image


@pytest.fixture
def root(tmp_path):
    """Three images of ants and three of bees to train, as many to test, four of nothing."""
    return make_image_folder(tmp_path / "animals")


def findings(root, **arguments):
    data = image_folder(root, allow_missing=True, **{"val_per_class": 0, **arguments})
    report = full_check(data, workers=0, progress=False)
    return {(finding.kind, finding.part): finding.texts for finding in report.findings}


def test_folders_of_classes_have_no_findings_and_are_counted(root):
    report = full_check(image_folder(root, labeled_per_class=1, val_per_class=1), workers=0, progress=False)
    assert report.findings == ()
    assert report.one_class
    assert [(p.name, p.images, p.masks, p.showing[:2].tolist()) for p in report.parts] == [
        ("labelled", 2, 2, [1, 1]),
        ("unlabelled", 4 + 4, 4, [2, 2]),
        ("validation", 2, 2, [1, 1]),
        ("test", 6, 6, [3, 3]),
    ]
    assert dict(report.parts[0].shapes) == {(18, 24): 2}


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_unreadable_images_are_named(root, content):
    file = root / "train" / "ant" / "ant_train_1.png"
    file.write_bytes(file.read_bytes()[:60] if content == "half" else content)
    found = findings(root, unlabeled="rest")
    assert list(found) == [("unreadable", "labelled")]
    assert str(file) in found["unreadable", "labelled"][0]
    pool = root / "unlabeled" / "some" / "2.jpg"
    pool.write_bytes(b"")
    assert str(pool) in findings(root)["unreadable", "unlabelled"][1]
    assert ("image skipped", "unlabelled") in findings(root, on_bad_image="skip")


def test_a_class_without_training_images_is_named(root):
    (root / "train" / "cow").mkdir()
    found = findings(root)
    assert found["empty class", "training"] == ("cow",)
    assert found["class never labelled", "labelled"] == ("cow",)
    assert found["class not validated", "validation"] == ("cow",)
    with pytest.raises(ConfigError, match="the class cow has no images"):
        image_folder(root, labeled_per_class=1, val_per_class=0)


def test_a_held_out_class_that_training_lacks_is_named(root):
    shutil.move(root / "train" / "bee", root / "test" / "cow")
    shutil.copytree(root / "test" / "ant", root / "train" / "dog")
    found = findings(root)
    assert len(found["no class", "validation"]) == 6
    assert f"{root}/test/cow/bee_train_0.png" in found["no class", "validation"]
    with pytest.raises(DataError, match="the class 'bee' has no folder of training images"):
        image_folder(root)


def test_images_of_two_classes_are_named(root):
    shutil.copy(root / "train" / "ant" / "ant_train_2.png", root / "train" / "bee" / "copy.png")
    found = findings(root, unlabeled="rest")
    text = f"{root}/train/bee/copy.png: bee, but {root}/train/ant/ant_train_2.png is ant"
    assert found == {("of two classes", "labelled"): (text,)}


def test_a_copy_of_one_class_is_no_fault(root):
    shutil.copy(root / "train" / "ant" / "ant_train_2.png", root / "train" / "ant" / "copy.png")
    assert findings(root, unlabeled="rest") == {}


def test_an_unlabelled_image_that_is_a_labelled_one_is_noted(root):
    source = root / "train" / "bee" / "bee_train_0.png"
    shutil.copy(source, root / "unlabeled" / "found.png")
    text = f"{root}/unlabeled/found.png: the pixels of {source}"
    assert findings(root) == {("labelled copy", "unlabelled"): (text,)}


@pytest.mark.parametrize("pool", [False, True])
def test_a_held_out_image_that_is_trained_on_is_named(root, pool):
    source = root / "test" / "bee" / "bee_test_0.png"
    target = root / "unlabeled" / "found.png" if pool else root / "train" / "bee" / "other.bmp"
    Image.open(source).save(target)
    found = findings(root, unlabeled="rest")
    text = f"{target}: the pixels of the validation image {source}"
    assert found == {("same content", "unlabelled" if pool else "labelled"): (text,)}


def test_a_list_that_misses_a_class_is_noted(root):
    (root / "names.txt").write_text("ant_train_0.png\n")
    found = findings(root, labeled_list=root / "names.txt")
    assert [*found] == [("one class", "labelled")]
    assert found["one class", "labelled"][0].startswith("ant alone, in 1 of them")


def test_more_than_255_classes_are_counted(tmp_path):
    classes = tuple(f"c{i:03d}" for i in range(260))
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(tmp_path / part / name / "a.bmp")
    report = full_check(image_folder(tmp_path, val_per_class=0), workers=0, progress=False)
    assert report.findings == ()
    assert report.parts[0].showing[:260].tolist() == [1] * 260


@pytest.mark.parametrize(("make", "layout"), [(make_cifar10, cifar10), (make_svhn, svhn), (make_stl10, stl10)])
def test_the_published_formats_are_checked(tmp_path, make, layout):
    make(tmp_path)
    report = full_check(layout(tmp_path, labeled_per_class=1), workers=0, progress=False)
    assert report.findings == ()
    assert report.parts[0].showing[:10].tolist() == [1] * 10
    assert [part.name for part in report.parts] == ["labelled", "unlabelled", "validation"]  # which is the test


def test_the_digits_are_checked():
    report = full_check(digits_classification(size=8), workers=0, progress=False)
    assert not report.wrong
    assert [part.images for part in report.parts] == [40, 1048, 300, 449]


def test_the_contact_sheet_names_classes(root, tmp_path):
    data = image_folder(root, val_per_class=1)
    picture, ids = draw_image(data.labeled, 0, data.info)
    assert (picture.shape, ids) == ((240, 320, 3), set())
    draw_contact_sheet(data, tmp_path / "sheet.png", {"labelled": [0]})
    assert Image.open(tmp_path / "sheet.png").width > 1000
