from collections import Counter

import numpy as np
import pytest

from class_data import make_cifar10, make_image_folder, make_stl10, make_svhn
from unimatch import cifar10, digits_classification, image_folder, imagenet, stl10, svhn
from unimatch.data.class_sources import choose_per_class
from unimatch.data.verify import verify
from unimatch.errors import ConfigError, DataError


def classes_of(source):
    masks = (source.mask(i) for i in range(len(source)))
    return [None if mask is None else int(mask) for mask in masks]


def names_of(source):
    return [source.name(i) for i in range(len(source))]


def test_cifar10_is_read_as_published(tmp_path):
    images, labels = make_cifar10(tmp_path)
    data = cifar10(tmp_path, labeled_per_class=4, val_per_class=2)
    assert data.info.classes[3] == "cat"
    assert Counter(classes_of(data.labeled)) == dict.fromkeys(range(10), 4)
    assert Counter(classes_of(data.val)) == dict.fromkeys(range(10), 2)
    assert len(data.unlabeled) == 150 - 20
    assert len(data.test) == 30
    for source, first in ((data.labeled, 0), (data.unlabeled, 0), (data.test, 150)):
        for i in range(len(source)):
            place = first + int(source.name(i).rpartition("/")[2])
            assert np.array_equal(source.image(i), images[place])
            assert source.mask(i) == labels[place]
            assert source.image(i).flags.c_contiguous
    assert set(names_of(data.labeled)) <= set(names_of(data.unlabeled))
    assert not set(names_of(data.val)) & set(names_of(data.unlabeled))
    rest = cifar10(tmp_path / "cifar-10-batches-py", labeled_per_class=4, val_per_class=2, unlabeled="rest")
    assert not set(names_of(rest.labeled)) & set(names_of(rest.unlabeled))
    assert len(rest.unlabeled) == 150 - 20 - 40
    verify(data, needs_unlabeled=True)


def test_svhn_is_read_as_published(tmp_path):
    parts = make_svhn(tmp_path)
    data = svhn(tmp_path, labeled_per_class=2, val_per_class=1)
    assert len(data.unlabeled) == 30 + 40
    for part, source in (("test", data.test), ("train", data.labeled), ("extra", data.unlabeled)):
        for i in range(len(source)):
            found, place = source.name(i).split("/")[1:]
            assert found == part or source is data.unlabeled
            images, labels = parts[found]
            assert np.array_equal(source.image(i), images[int(place)])
            assert source.mask(i) == labels[int(place)]
    assert len(svhn(tmp_path, extra=False).unlabeled) == 40


def test_stl10_is_read_as_published(tmp_path):
    parts = make_stl10(tmp_path)
    data = stl10(tmp_path, labeled_per_class=1, val_per_class=1)
    assert len(data.unlabeled) == 10 + 20
    assert classes_of(data.unlabeled)[10:] == [None] * 20
    for source in (data.labeled, data.unlabeled, data.test):
        for i in range(len(source)):
            part, place = source.name(i).split("/")[1:]
            images, labels = parts[part]
            assert np.array_equal(source.image(i), images[int(place)])
            assert part == "unlabeled" or source.mask(i) == labels[int(place)]
    assert len(stl10(tmp_path, fold=3).labeled) == 17
    assert set(names_of(stl10(tmp_path, fold=3).labeled)) == {f"stl10/train/{i}" for i in range(3, 20)}
    with pytest.raises(ConfigError, match=r"dataset\.fold=10: must be from 0 to 9"):
        stl10(tmp_path, fold=10)


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


def test_digits_are_scikit_learns():
    data = digits_classification(size=8)
    assert len(data.labeled) == 40
    assert len(data.val) == 300
    assert len(data.test) == 449
    assert len(data.unlabeled) == 1797 - 449 - 300
    assert data.labeled.image(0).shape == (8, 8, 3)
    everything = set(names_of(data.unlabeled)) | set(names_of(data.val))
    assert len(everything) == 1348
    assert data.test.image(0).max() == 255
    with pytest.raises(ConfigError, match=r"dataset\.size=4"):
        digits_classification(size=4)


def test_labeled_images_are_nested_and_drawn_by_the_seed():
    few, more, other = (
        set(names_of(digits_classification(labeled_per_class=count, split_seed=seed).labeled))
        for count, seed in ((2, 0), (5, 0), (2, 1))
    )
    assert few < more
    assert len(more) == 50
    assert few != other
    # What is held out for validation does not depend on it.
    held = {tuple(names_of(digits_classification(split_seed=seed).val)) for seed in (0, 1)}
    assert len(held) == 1


def test_every_class_gets_its_number_of_images():
    labels = np.array([2, 0, 0, 1, 2, 2, 1, 0])
    options = {"key": "dataset.labeled_per_class", "classes": ("a", "b", "c")}
    chosen, rest = choose_per_class(labels, 2, 0, **options)
    assert Counter(labels[chosen].tolist()) == {0: 2, 1: 2, 2: 2}
    assert sorted(chosen + rest) == list(range(8))
    assert choose_per_class(labels, None, 0, **options) == (list(range(8)), [])
    with pytest.raises(ConfigError, match=r"dataset\.labeled_per_class=3: .* class b has 2 images"):
        choose_per_class(labels, 3, 0, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labeled_per_class": 0}, r"dataset\.labeled_per_class=0"),
        ({"labeled_per_class": 4, "val_per_class": 200}, r"dataset\.val_per_class=200: .* the class"),
        ({"val_per_class": -1}, r"dataset\.val_per_class=-1"),
        ({"unlabeled": "all"}, r"dataset\.unlabeled=all: must be train or rest"),
    ],
)
def test_choices_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        digits_classification(**options)


def test_files_that_are_not_of_the_format_are_refused(tmp_path):
    for layout, dataset in ((cifar10, "CIFAR10"), (stl10, "STL10")):
        with pytest.raises(DataError, match=f"no such folder. Download: .*{dataset}"):
            layout(tmp_path)
    with pytest.raises(DataError, match=r"train_32x32\.mat: no such file"):
        svhn(tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(b"no matlab file")
    with pytest.raises(DataError, match=r"train_32x32\.mat: cannot be read"):
        svhn(tmp_path)
    make_cifar10(tmp_path, per_batch=10)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(DataError, match="data_batch_3: holds no images"):
        cifar10(tmp_path)
    make_stl10(tmp_path)
    (tmp_path / "stl10_binary" / "test_y.bin").write_bytes(bytes([1, 2, 11]))
    with pytest.raises(DataError, match=r"test_y\.bin: 20 labels from 0 to 9 are needed"):
        stl10(tmp_path)
    (tmp_path / "stl10_binary" / "train_X.bin").write_bytes(b"\0" * 5000)
    with pytest.raises(DataError, match=r"train_X\.bin: cannot be read"):
        stl10(tmp_path)


def test_folders_that_are_no_data_set_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds a folder of images for each class"):
        image_folder(tmp_path)
    make_image_folder(tmp_path, classes=("ant",))
    with pytest.raises(DataError, match="at least two folders"):
        image_folder(tmp_path)
    make_image_folder(tmp_path / "two")
    (tmp_path / "two" / "test" / "cow").mkdir()
    (tmp_path / "two" / "test" / "ant" / "ant_test_0.png").rename(tmp_path / "two" / "test" / "cow" / "x.png")
    with pytest.raises(DataError, match="the class cow has no folder of training images"):
        image_folder(tmp_path / "two")


def test_a_list_and_a_number_contradict_each_other(tmp_path):
    make_image_folder(tmp_path)
    (tmp_path / "list.txt").write_text("ant_train_0.png\n")
    with pytest.raises(ConfigError, match="labeled_list: goes with neither"):
        image_folder(tmp_path, labeled_list=tmp_path / "list.txt", labeled_per_class=1, val_per_class=0)
