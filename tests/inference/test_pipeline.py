import errno
from functools import partial

import numpy as np
import pytest
from PIL import Image

from helpers.support import save_run
from unimatch import DataError, Predictor
from unimatch.errors import WriteError
from unimatch.images.arrays import read_image
from unimatch.inference import pipeline
from unimatch.inference.inputs import Photo
from unimatch.inference.outputs import Writer
from unimatch.inference.pipeline import Pipeline


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor(save_run(tmp_path_factory.mktemp("run") / "best.ckpt", "nowhere"), device="cpu")


@pytest.fixture
def photos(tmp_path):
    """Seven images of two sizes, taking turns."""
    found = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        pixels = np.random.default_rng(i).integers(0, 256, (20 + 4 * (i % 2), 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        found.append(Photo(str(i), path, partial(read_image, path)))
    return found


def masks(output):
    return {path.stem: np.asarray(Image.open(path)) for path in (output / "masks").iterdir()}


@pytest.mark.parametrize(("batch_size", "pixels"), [(1, 10**9), (3, 10**9), (3, 1000), (100, 10**9)])
def test_every_image_gets_its_own_mask(batch_size, pixels, predictor, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "PIXELS", pixels)
    told = []
    writer = Writer(tmp_path / "out", predictor.facts, ())
    work = Pipeline(predictor, writer, batch_size=batch_size, progress=lambda *what: told.append(what))
    work.run(iter(photos))
    assert sorted(told) == [(str(i), None) for i in range(7)]
    assert work.failures == work.pixels == {}
    found = masks(tmp_path / "out")
    for photo in photos:
        assert np.array_equal(found[photo.name], predictor(photo.load()).mask)


def test_one_that_fails_is_named_and_the_others_go_on(predictor, photos, tmp_path):
    def broken():
        raise DataError("3.png: cannot be read")

    photos[3] = Photo("3", photos[3].path, broken)
    work = Pipeline(predictor, Writer(tmp_path / "out", predictor.facts, ()), batch_size=2)
    work.run(iter(photos))
    assert work.failures == {"3": "3.png: cannot be read"}
    assert masks(tmp_path / "out").keys() == {"0", "1", "2", "4", "5", "6"}


@pytest.mark.parametrize("writes", ["write_output", "append"])
def test_a_full_disk_ends_it_at_once(writes, predictor, photos, tmp_path, monkeypatch):
    work = Pipeline(predictor, Writer(tmp_path / "out", predictor.facts, ()), batch_size=2)
    error = OSError(errno.ENOSPC, "No space left on device")
    error = WriteError("a.png: cannot be written; make room") if writes == "write_output" else error

    def full(*arguments, **options):
        raise error

    monkeypatch.setattr(f"unimatch.inference.outputs.{writes}", full)
    with pytest.raises(WriteError):
        work.run(iter(photos))
    assert work.failures == {}


def test_a_prediction_that_fails_is_named_for_each_of_its_images(predictor, photos, tmp_path, monkeypatch):
    def fail(self, images):
        raise MemoryError

    monkeypatch.setattr(Pipeline, "predict_images", fail)
    work = Pipeline(predictor, Writer(tmp_path / "out", predictor.facts, ()), batch_size=2)
    work.run(iter(photos))
    assert work.failures == {str(i): "MemoryError()" for i in range(7)}
