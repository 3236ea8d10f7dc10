import pickle

import numpy as np
from PIL import Image

import unimatch.data
from unimatch.data.catalog import CAMVID, DIGITS
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.data.sources.one_class import ClassFiles
from unimatch.data.sources.subset import Subset, subset_of


def test_some_images_of_a_source_keep_their_names_images_and_masks():
    whole = unimatch.data.digits(labeled=5, train=8, val=2, size=32).labeled
    part = pickle.loads(pickle.dumps(subset_of(whole, [4, 1])))
    assert isinstance(part, Subset)
    assert len(part) == 2
    for place, index in enumerate((4, 1)):
        assert part.name(place) == whole.name(index)
        assert np.array_equal(part.image(place), whole.image(index))
        assert np.array_equal(part.mask(place), whole.mask(index))


def test_some_files_are_files(tmp_path):
    for i in range(3):
        Image.fromarray(np.full((4, 5, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
        Image.fromarray(np.full((4, 5), i, np.uint8)).save(tmp_path / f"{i}_mask.png")
    whole = FileSource([FilePair(tmp_path / f"{i}.png", tmp_path / f"{i}_mask.png") for i in range(3)], CAMVID)
    part = subset_of(whole, [2, 0])
    assert isinstance(part, FileSource)
    assert [part.pairs.image(i) for i in range(2)] == [str(tmp_path / "2.png"), str(tmp_path / "0.png")]
    assert [int(part.mask(i).max()) for i in range(2)] == [2, 0]
    assert len(whole) == 3
    classes = subset_of(ClassFiles([str(tmp_path / f"{i}.png") for i in range(3)], np.array([7, 8, 9]), DIGITS), [2, 0])
    assert isinstance(classes, ClassFiles)
    assert [(classes.name(i), int(classes.mask(i))) for i in range(2)] == [
        (str(tmp_path / "2.png"), 9),
        (str(tmp_path / "0.png"), 7),
    ]
