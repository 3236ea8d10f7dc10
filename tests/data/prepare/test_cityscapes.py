import pytest

from helpers.published import make_cityscapes
from unimatch.data.prepare import cityscapes, convert_archives
from unimatch.errors import DataError


def test_19_ids_are_classes_and_all_others_void():
    table = cityscapes.TRAIN_IDS
    assert len(table) == 256
    assert sorted(set(table)) == [*range(19), 255]
    assert (table[7], table[8], table[33], table[0], table[34]) == (0, 1, 18, 255, 255)  # road, sidewalk, bicycle


def test_masks_without_their_images_archive_are_refused(tmp_path):
    make_cityscapes(tmp_path / "source")
    (tmp_path / "source" / cityscapes.IMAGES).unlink()
    with pytest.raises(DataError, match=r"leftImg8bit_trainvaltest\.zip"):
        convert_archives("cityscapes", tmp_path / "source", tmp_path / "root", workers=0)
