import numpy as np
import pytest

from helpers.class_data import make_svhn
from unimatch import DataError
from unimatch.data import svhn


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


def test_files_that_are_not_of_the_format_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"train_32x32\.mat: no such file"):
        svhn(tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(b"no matlab file")
    with pytest.raises(DataError, match=r"train_32x32\.mat: cannot be read"):
        svhn(tmp_path)
