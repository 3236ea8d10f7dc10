import numpy as np
import torch
from PIL import Image

from unimatch.data.catalog import CAMVID
from unimatch.data.loading.bad_images import NAMED, BadImages
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair


def make(tmp_path, count):
    return BadImages(FileSource([FilePair(tmp_path / f"{i}.png") for i in range(count)], CAMVID))


def test_images_are_counted_and_named_once(tmp_path, caplog):
    bad = make(tmp_path, 50)
    assert bad.report() is None
    assert bad.names() == []
    bad.add(torch.tensor([[-1, -1], [7, -1], [3, 7]]))
    bad.add(torch.tensor([[-1, -1], [7, -1]]))
    assert bad.counts == {7: 3, 3: 1}
    assert [record.message.split(": ")[0] for record in caplog.records] == [str(tmp_path / f"{i}.png") for i in (7, 3)]
    assert all("cannot be read" in record.message for record in caplog.records)
    assert bad.names() == [str(tmp_path / "3.png"), str(tmp_path / "7.png")]
    assert bad.report() == "2 of 50 unlabelled images (4%) could not be read; others took their places 4 times"


def test_a_long_list_is_cut_short_in_the_log(tmp_path, caplog):
    bad = make(tmp_path, 50)
    bad.add(torch.arange(30))
    assert len(caplog.records) == NAMED
    assert "further ones are counted, not named" in caplog.records[-1].message
    assert len(bad.names()) == 30


def test_image_that_has_come_back_is_said_to(tmp_path, caplog):
    bad = make(tmp_path, 1)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "0.png")
    bad.add(torch.tensor([0]))
    assert "0.png: could not be read a moment ago, now it can" in caplog.text
