import shutil

import pytest
from PIL import Image

from helpers.class_data import classes_of, make_image_folder, names_of
from unimatch import ConfigError, DataError
from unimatch.data import image_folder, imagenet
from unimatch.data.check.before_training import verify
from unimatch.images.folders import notes_taken


def test_folders_are_classes(tmp_path):
    make_image_folder(tmp_path)
    data = image_folder(tmp_path, labeled_per_class=1, val_per_class=1)
    assert data.info.classes == ("ant", "bee")
    for source in (data.labeled, data.val, data.test):
        for i in range(len(source)):
            assert f"/{data.info.classes[int(source.mask(i))]}/" in source.name(i)
    assert len(data.unlabeled) == 4 + 4
    assert classes_of(data.unlabeled)[4:] == [None] * 4
    assert not set(names_of(data.val)) & set(names_of(data.unlabeled))
    verify(data, needs_unlabeled=True)
    (tmp_path / "val").symlink_to(tmp_path / "test")
    assert len(image_folder(tmp_path, labeled_per_class=1).unlabeled) == 6 + 4
    for image in (tmp_path / "unlabeled").rglob("*.*"):
        image.unlink()
    assert len(image_folder(tmp_path, labeled_per_class=1).unlabeled) == 6


def test_imagenets_validation_images_are_its_test(tmp_path):
    make_image_folder(tmp_path)
    (tmp_path / "test").rename(tmp_path / "val")
    data = imagenet(tmp_path, labeled_per_class=1)
    assert data.info.name == "imagenet"
    assert names_of(data.val) == names_of(data.test)
    assert all("/val/" in name for name in names_of(data.test))
    assert "/train/" in imagenet(tmp_path, val_per_class=1).val.name(0)


def test_a_list_names_the_labeled_images(tmp_path):
    make_image_folder(tmp_path)
    path = tmp_path / "labeled.txt"
    path.write_text("bee_train_1.png\n\nant/ant_train_2.png\n")
    data = image_folder(tmp_path, labeled_list=path, val_per_class=0, unlabeled="rest")
    assert classes_of(data.labeled) == [0, 1]
    assert [name.rpartition("/")[2] for name in names_of(data.labeled)] == ["ant_train_2.png", "bee_train_1.png"]
    assert len(data.unlabeled) == 4 + 4
    for text, message in (
        ("cat_1.png\n", "line 1: cat_1.png is no training image"),
        ("bee_train_1.png\nbee/bee_train_1.png\n", "line 2: .* is in line 1 too"),
        ("\n", "names no images|empty"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            image_folder(tmp_path, labeled_list=path, val_per_class=0)


def test_folders_of_classes_may_lie_below_the_root(tmp_path):
    plain = make_image_folder(tmp_path / "plain") or tmp_path / "plain"
    root = tmp_path / "photos"
    shutil.copytree(plain / "train", root)
    shutil.copytree(plain / "unlabeled", root / "Unlabelled")
    (root / "docs").mkdir()
    (root / "docs" / "about.txt").touch()
    data = image_folder(root, labeled_per_class=1, val_per_class=1)
    assert data.info.classes == ("ant", "bee")
    assert data.test is None
    with pytest.raises(DataError, match=r"photos/mine: no such folder"):
        image_folder(root, train="mine")
    assert len(data.unlabeled) == 4 + 4
    assert {name.rpartition("/")[0] for name in names_of(data.labeled)} == {str(root / name) for name in ("ant", "bee")}
    (root / "labeled.txt").write_text("ant/ant_train_2.png\nbee_train_1.png\n")
    (root / "val.txt").write_text("ant/ant_train_0.png\nbee_train_0.png\n")
    listed = image_folder(root, labeled_list=root / "labeled.txt", val_list=root / "val.txt")
    assert sorted(names_of(listed.labeled)) == [str(root / "ant/ant_train_2.png"), str(root / "bee/bee_train_1.png")]


@pytest.mark.parametrize(
    "names",
    [
        ("images", "masks"),
        ("ant", "val"),
        ("train_set", "bee"),
        ("A", "label"),
        ("with_mask", "labels"),
        ("JPEGImages", "x"),
        ("ant", "docs"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        if name != "docs":
            Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    with pytest.raises(DataError, match=r"train: no such folder \(.*\); it holds a folder of images for each class"):
        image_folder(tmp_path)


def test_folders_that_are_no_data_set_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds a folder of images for each class"):
        image_folder(tmp_path)
    make_image_folder(tmp_path, classes=("ant",))
    with pytest.raises(DataError, match="at least two folders"):
        image_folder(tmp_path)
    make_image_folder(tmp_path / "two")
    (tmp_path / "two" / "test" / "cow").mkdir()
    (tmp_path / "two" / "test" / "ant" / "ant_test_0.png").rename(tmp_path / "two" / "test" / "cow" / "x.png")
    with pytest.raises(DataError, match="the class 'cow' has no folder of training images"):
        image_folder(tmp_path / "two")


@pytest.mark.parametrize("held_out", [3, 2])
def test_holding_out_leaves_each_class_something(tmp_path, held_out):
    make_image_folder(tmp_path, per_class=3)
    if held_out < 3:
        assert len(image_folder(tmp_path, val_per_class=held_out).labeled) == 2
        return
    with pytest.raises(ConfigError, match=r"val_per_class=3: leaves no image of the class ant to train on"):
        image_folder(tmp_path, val_per_class=held_out)


def test_an_empty_class_and_a_file_of_no_class_are_told_what_to_do(tmp_path):
    make_image_folder(tmp_path)
    (tmp_path / "train" / "cow").mkdir()
    with pytest.raises(ConfigError, match="the class cow has no images; add some, or remove its folder"):
        image_folder(tmp_path, labeled_per_class=1, val_per_class=0)
    (tmp_path / "train" / "cow").rmdir()
    (tmp_path / "train" / "ant" / "ant_train_0.png").rename(tmp_path / "train" / "lost.png")
    with pytest.raises(DataError, match=r"lost\.png: lies in no folder of a class; move it to CLASS/"):
        image_folder(tmp_path, val_per_class=0)


def test_a_list_and_a_number_contradict_each_other(tmp_path):
    make_image_folder(tmp_path)
    (tmp_path / "list.txt").write_text("ant_train_0.png\n")
    with pytest.raises(ConfigError, match="labeled_list: goes with neither"):
        image_folder(tmp_path, labeled_list=tmp_path / "list.txt", labeled_per_class=1, val_per_class=0)


def test_a_list_names_the_images_held_out(tmp_path):
    make_image_folder(tmp_path)
    for name, line in (("labeled", "ant_train_0.png"), ("val", "bee/bee_train_1.png")):
        (tmp_path / f"{name}.txt").write_text(f"{line}\n")
    lists = {"labeled_list": tmp_path / "labeled.txt", "val_list": tmp_path / "val.txt"}
    data = image_folder(tmp_path, **lists, unlabeled="rest")
    assert [name.rpartition("/")[2] for name in names_of(data.labeled)] == ["ant_train_0.png"]
    assert [name.rpartition("/")[2] for name in names_of(data.val)] == ["bee_train_1.png"]
    assert len(data.unlabeled) == 4 + 4
    assert len(image_folder(tmp_path, val_list=tmp_path / "val.txt").labeled) == 5
    with pytest.raises(ConfigError, match=r"val_list and val_per_class both"):
        image_folder(tmp_path, val_list=tmp_path / "val.txt", val_per_class=1)
    with pytest.raises(ConfigError, match=r"bee_train_1\.png: is in labeled_list and in val_list"):
        image_folder(tmp_path, labeled_list=tmp_path / "val.txt", val_list=tmp_path / "val.txt")


def test_a_name_that_several_classes_have_wants_its_folder(tmp_path):
    make_image_folder(tmp_path)
    for name in ("ant", "bee"):
        (tmp_path / "train" / name / f"{name}_train_0.png").rename(tmp_path / "train" / name / "0.png")
    (tmp_path / "labeled.txt").write_text("bee/0.png\n")
    assert classes_of(image_folder(tmp_path, labeled_list=tmp_path / "labeled.txt").labeled) == [1]
    (tmp_path / "labeled.txt").write_text("0.png\n")
    with pytest.raises(DataError, match=r"line 1: several classes have an image 0\.png; write CLASS/0\.png"):
        image_folder(tmp_path, labeled_list=tmp_path / "labeled.txt")


@pytest.mark.parametrize("name", ["unlabeled", "Unlabelled"])
def test_unlabelled_images_among_the_classes_are_no_class(tmp_path, name):
    root = tmp_path
    make_image_folder(root)
    expected = image_folder(root, labeled_per_class=1, val_per_class=1)
    (root / "unlabeled").rename(root / "train" / name)
    data = image_folder(root, labeled_per_class=1, val_per_class=1)
    assert data.info.classes == expected.info.classes
    assert len(data.unlabeled) == len(expected.unlabeled)
    assert classes_of(data.unlabeled) == classes_of(expected.unlabeled)


@pytest.mark.parametrize("place", ["test", "test/test"])
def test_test_images_without_folders_of_classes_are_said_not_to_be_used(tmp_path, place):
    """As competitions publish them."""
    make_image_folder(tmp_path)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / place).mkdir(parents=True)
    image = next((tmp_path / "train" / "ant").iterdir())
    shutil.copy(image, tmp_path / place / "1.png")
    shutil.copytree(tmp_path / "unlabeled", tmp_path / "more")
    with notes_taken() as notes:
        assert image_folder(tmp_path, val_per_class=1).test is None
    assert [text.partition("not used")[0] for _, text in notes] == [f"{tmp_path / 'test'}: ", f"{tmp_path}: "]
    assert "not used: more; unlabelled images go to" in notes[1][1]


def test_classes_whose_names_look_alike_are_told(tmp_path):
    make_image_folder(tmp_path)
    shutil.copytree(tmp_path / "train" / "ant", tmp_path / "train" / "Ant")
    with notes_taken() as notes:
        assert image_folder(tmp_path, val_per_class=1).info.classes == ("Ant", "ant", "bee")
    assert [kind for kind, _ in notes] == ["classes alike"]
    for name in ("\u00fc", "u\u0308"):
        shutil.copytree(tmp_path / "train" / "ant", tmp_path / "train" / name)
    with pytest.raises(DataError, match="has two classes called \u00fc, in two Unicode forms; join their folders"):
        image_folder(tmp_path, val_per_class=1)


@pytest.mark.parametrize("key", ["val_per_class", "val_list"])
def test_a_validation_folder_that_is_not_used_is_told(tmp_path, key):
    make_image_folder(tmp_path)
    shutil.copytree(tmp_path / "test", tmp_path / "val")
    (tmp_path / "val.txt").write_text("ant_train_0.png\nbee_train_0.png\n")
    with notes_taken() as notes:
        image_folder(tmp_path)
    assert not notes
    with notes_taken() as notes:
        data = image_folder(tmp_path, **{key: 1 if key == "val_per_class" else tmp_path / "val.txt"})
    assert "/train/" in data.val.name(0)
    text = f"{tmp_path / 'val'}: not used; {key} holds out images of {tmp_path / 'train'} for validation instead"
    assert notes == [("folder not used", text)]


def test_a_line_that_names_no_image_is_told_what_to_be(tmp_path):
    make_image_folder(tmp_path)
    path = tmp_path / "labeled.txt"
    for line, remedy in [
        ("train/ant/ant_train_0.png", "write CLASS/FILE"),
        ("ant/ant_train_0", "'ant_train_0.png' is there"),
    ]:
        path.write_text(line)
        with pytest.raises(DataError, match=rf"line 1: {line} is no training image below .*train.*{remedy}"):
            image_folder(tmp_path, labeled_list=path, val_per_class=0)
