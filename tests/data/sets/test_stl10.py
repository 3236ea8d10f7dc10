import numpy as np
import pytest

from helpers.class_data import classes_of, make_stl10, names_of
from unimatch import ConfigError, DataError
from unimatch.data import stl10


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
    with pytest.raises(ConfigError, match=r"fold=10: must be from 0 to 9"):
        stl10(tmp_path, fold=10)


def test_files_that_are_not_of_the_format_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such folder\. Download: .*STL10"):
        stl10(tmp_path)
    make_stl10(tmp_path)
    (tmp_path / "stl10_binary" / "test_y.bin").write_bytes(bytes([1, 2, 11]))
    with pytest.raises(DataError, match=r"test_y\.bin: 20 labels from 0 to 9 are needed"):
        stl10(tmp_path)
    (tmp_path / "stl10_binary" / "train_X.bin").write_bytes(b"\0" * 5000)
    with pytest.raises(DataError, match=r"train_X\.bin: cannot be read"):
        stl10(tmp_path)


@pytest.mark.parametrize("places", ["0 1 20", "0 1 -1", "0 one", "0 1 1"])
def test_a_fold_names_training_images_each_once(tmp_path, places):
    make_stl10(tmp_path)
    file = tmp_path / "stl10_binary" / "fold_indices.txt"
    file.write_text(f"0 1\n{places}\n")
    assert len(stl10(tmp_path, fold=0).labeled) == 2
    with pytest.raises(
        DataError, match=r"fold_indices\.txt: fold 1 must be numbers of training images, 0 to 19, each once"
    ):
        stl10(tmp_path, fold=1)
