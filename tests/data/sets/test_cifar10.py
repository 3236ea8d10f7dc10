from collections import Counter

import numpy as np
import pytest

from helpers.class_data import classes_of, make_cifar10, names_of
from unimatch import DataError
from unimatch.data import cifar10
from unimatch.data.check.before_training import verify


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


def test_files_that_are_not_of_the_format_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such folder\. Download: .*CIFAR10"):
        cifar10(tmp_path)
    make_cifar10(tmp_path, per_batch=10)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(DataError, match="data_batch_3: holds no images"):
        cifar10(tmp_path)
    batch.unlink()
    with pytest.raises(DataError, match="data_batch_3: no such file"):
        cifar10(tmp_path)
