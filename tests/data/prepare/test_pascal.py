import io

import numpy as np
import pytest
import scipy.io
from PIL import Image

from helpers.published import make_pascal
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.archives import Member
from unimatch.data.prepare.pascal import sbd_mask
from unimatch.errors import DataError


def test_large_files_of_matlab_are_refused(tmp_path):
    make_pascal(tmp_path, unpacked=True)
    with (tmp_path / "benchmark_RELEASE/dataset/cls/2008_000002.mat").open("ab") as file:
        file.truncate(2_000_000)
    with pytest.raises(DataError, match=r"2008_000002\.mat has 2000000 bytes; at most 1048576 are expected"):
        convert_archives("pascal", tmp_path, tmp_path / "root", workers=0)


def test_a_mask_of_sbd_that_is_none_is_named(tmp_path):
    make_pascal(tmp_path, unpacked=True)
    mask = tmp_path / "benchmark_RELEASE/dataset/cls/2008_000002.mat"
    mask.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"2008_000002\.mat has no GTcls\.Segmentation"):
        convert_archives("pascal", tmp_path, tmp_path / "root", workers=0)


def mat(folder, mask):
    scipy.io.savemat(folder / "a.mat", {"GTcls": {"Segmentation": np.asarray(mask, np.uint8)}})
    return Member(folder, "a.mat", 1)


def test_a_mask_of_sbd_keeps_its_ids(tmp_path):
    mask = np.arange(21).reshape(3, 7)
    with Image.open(io.BytesIO(sbd_mask(mat(tmp_path, mask)))) as image:
        assert np.array_equal(np.asarray(image), mask)


def test_an_id_that_is_no_class_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.mat is no mask of classes 0-20"):
        sbd_mask(mat(tmp_path, [[0, 21]]))
