import pickle

import numpy as np
import pytest
from PIL import Image

from unimatch.data.catalog import CAMVID
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.errors import DataError


def random_array(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_source_reads_each_pair_and_names_its_image(tmp_path):
    pairs = []
    for i in range(3):
        Image.fromarray(random_array(4, 5, 3, seed=i)).save(tmp_path / f"{i}.png")
        pairs.append(FilePair(tmp_path / f"{i}.png"))
    source = FileSource(pairs, CAMVID)
    assert len(source) == 3
    for i in range(3):
        assert source.name(i) == str(tmp_path / f"{i}.png")
        assert np.array_equal(source.image(i), random_array(4, 5, 3, seed=i))
        assert source.mask(i) is None


def test_source_travels_to_workers_with_its_files(tmp_path):
    Image.fromarray(random_array(4, 5, 3)).save(tmp_path / "image.png")
    Image.fromarray(np.full((4, 5), 11, np.uint8)).save(tmp_path / "mask.png")
    pairs = [FilePair(tmp_path / "image.png", tmp_path / "mask.png")]
    source = pickle.loads(pickle.dumps(FileSource(pairs, CAMVID, roots=[tmp_path])))
    assert source.pairs[0] == pairs[0]
    assert np.array_equal(source.image(0), random_array(4, 5, 3))
    assert (source.mask(0) == 255).all()


def test_files_outside_the_roots_are_refused(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "outside.png"
    inside.mkdir()
    Image.fromarray(random_array(4, 5, 3)).save(outside)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(inside / "mask.png")
    (inside / "link.png").symlink_to(outside)
    (tmp_path / "into").symlink_to(inside)
    source = FileSource([FilePair(inside / "link.png", tmp_path / "into" / "mask.png")], CAMVID, roots=[inside])
    assert source.mask(0).shape == (4, 5)  # a link into the root is no way out of it
    with pytest.raises(DataError, match=r"link\.png: .*outside\.png lies outside .*in; .*allow_outside=true"):
        source.image(0)
    assert FileSource(source.pairs, CAMVID, roots=[inside, tmp_path]).image(0).shape == (4, 5, 3)
    assert FileSource(source.pairs, CAMVID).image(0).shape == (4, 5, 3)
    outside.unlink()
    with pytest.raises(
        DataError, match=r"link\.png: is a link to .*outside\.png, which is not there; correct or remove"
    ):
        source.image(0)


def test_a_folder_with_a_like_name_is_outside(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data2").mkdir()
    Image.fromarray(random_array(4, 5, 3)).save(tmp_path / "data2" / "image.png")
    with pytest.raises(DataError, match="lies outside"):
        FileSource([FilePair(tmp_path / "data2" / "image.png")], CAMVID, roots=[tmp_path / "data"]).image(0)
