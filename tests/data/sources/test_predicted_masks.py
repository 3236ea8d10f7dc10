import numpy as np
import pytest
from PIL import Image

from unimatch.data.catalog import DatasetInfo
from unimatch.data.check.one_image import read_label
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.data.sources.masks import mask_reader
from unimatch.data.sources.predicted_masks import is_predicted

COLORS = ((0, 0, 0), (200, 10, 0))
OTHERS = {
    "ids": {"ids": {0: 0, 1: 1, 255: 1}},
    "reduce_zero_label": {"reduce_zero_label": True},
    "colors": {"color_masks": True},
    "plain": {},
}


@pytest.fixture
def pair(tmp_path):
    """An image, and a mask below ``out/masks`` as pseudo labels are: class ids in a palette, unsure pixels 255."""
    image, mask = tmp_path / "a.png", tmp_path / "out" / "masks" / "some" / "a.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(image)
    stored = Image.fromarray(np.array([[0, 1], [1, 255]], np.uint8))
    stored.putpalette([*COLORS[0], *COLORS[1], *[255] * (768 - 6)])
    stored.save(mask)
    return FilePair(image, mask)


@pytest.mark.parametrize("kind", OTHERS)
def test_predicted_masks_store_class_ids_whatever_the_data_sets_own_store(kind, pair, tmp_path):
    info = DatasetInfo("some", ("ground", "cell"), COLORS, **OTHERS[kind])
    source = FileSource([pair], info)
    (tmp_path / "out" / "predict.json").write_text("{}")
    assert source.mask(0).tolist() == [[0, 1], [1, 255]]
    label = read_label((source, mask_reader(info)), 0, (2, 2))
    assert label.faults == ()
    assert label.classes == {0: 1, 1: 2, 255: 1}


def test_other_masks_are_read_as_the_data_set_says(pair):
    info = DatasetInfo("some", ("ground", "cell"), COLORS, ids={0: 0, 1: 1, 255: 1})
    assert not is_predicted(pair.mask)
    assert FileSource([pair], info).mask(0).tolist() == [[0, 1], [1, 1]]
