from pathlib import Path

import numpy as np
import pytest

from unimatch.data.sets.published_arrays import class_ids, folder_of
from unimatch.errors import DataError


def test_the_folder_may_be_below_the_root_or_the_root(tmp_path):
    with pytest.raises(DataError, match=r"no such folder\. Download: .*torchvision\.datasets\.STL10"):
        folder_of(tmp_path, "stl", "STL10")
    (tmp_path / "stl").mkdir()
    assert folder_of(tmp_path, "stl", "STL10") == folder_of(tmp_path / "stl", "stl", "STL10") == tmp_path / "stl"
    assert folder_of(str(tmp_path), "", "SVHN") == tmp_path


def test_labels_are_checked():
    found = class_ids(Path("labels"), [0, 9, 3], 3, 10)
    assert found.dtype == np.int64
    assert found.tolist() == [0, 9, 3]
    assert class_ids(Path("labels"), [0.0, 9.0], 2, 10).tolist() == [0, 9]
    assert class_ids(Path("labels"), [], 0, 10).shape == (0,)


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [0, 1, 10], [-1, 0, 1], [[0, 1, 2]], ["a", 1, 2], [0, 1, 2**70], [0.5, 1, 2], [float("nan"), 1, 2]],
)
def test_labels_that_cannot_be_are_refused(labels):
    with pytest.raises(
        DataError, match=r"labels: (3 labels from 0 to 9 are needed|the labels are no (whole )?numbers)"
    ):
        class_ids(Path("labels"), labels, 3, 10)
