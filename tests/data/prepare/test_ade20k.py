import numpy as np

from helpers.published import make_ade20k, photo
from unimatch.data.prepare import ade20k, convert_archives


def test_images_are_copied_byte_by_byte(tmp_path):
    make_ade20k(tmp_path / "source")
    convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert (tmp_path / "root/images/training/ADE_train_00000001.jpg").read_bytes() == photo(0)


def test_every_id_becomes_one_less_and_other_void():
    table = np.frombuffer(ade20k.SHIFT, np.uint8)
    assert table[[0, 1, 2, 150]].tolist() == [255, 0, 1, 149]
