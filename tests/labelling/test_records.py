from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.cases import bits, deep, paged
from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.records import Painted

IDS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
NAMES = dict(enumerate("abcd"))


def draw(path, *, colored=False):
    member = Member(path.parent, path.name, path.stat().st_size)
    ids = {name: i for i, name in NAMES.items()}
    return Painted(member, NAMES, colored).draw("", (4, 3), ids, 0)


@pytest.mark.parametrize("write", [bits(2), bits(4), bits(8), lambda ids, path: Image.fromarray(ids).save(path)])
def test_ids_in_exports_are_as_stored(tmp_path: Path, write):
    write(IDS, tmp_path / "m.png")
    assert np.array_equal(draw(tmp_path / "m.png"), IDS)


def test_masks_of_which_a_part_would_be_read_are_refused(tmp_path):
    paged(IDS, tmp_path / "m.tif")
    with pytest.raises(DataError, match=r"m\.tif: holds 3 pages"):
        draw(tmp_path / "m.tif")
    deep([0, 1, 2])(np.dstack([IDS] * 3), tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png: 3 bands of 16-bit"):
        draw(tmp_path / "m.png", colored=True)
