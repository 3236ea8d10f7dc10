import numpy as np
import pytest

from helpers.published import make_ade20k, png
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.archives import Member
from unimatch.data.prepare.mask_bytes import decode_mask, encode_mask, relabel
from unimatch.errors import DataError


def test_damaged_masks_are_named(tmp_path):
    expected = make_ade20k(tmp_path, unpacked=True)
    name = next(iter(expected))
    mask = tmp_path / "ADEChallengeData2016" / name
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(DataError, match=f"{name} cannot be read as a mask"):
        convert_archives("ade20k", tmp_path, tmp_path / "root", workers=0)
    mask.write_bytes(png(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(DataError, match=f"{name} is no 8-bit index image"):
        convert_archives("ade20k", tmp_path, tmp_path / "root", workers=0)


def test_a_mask_whose_checksum_is_wrong_is_refused(tmp_path):
    content = bytearray(png(np.zeros((4, 4), np.uint8)))
    content[content.index(b"IEND") - 5] ^= 1
    (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(DataError, match=r"mask\.png is damaged, as a checksum in it says"):
        decode_mask(Member(tmp_path, "mask.png", len(content)))


def test_masks_come_back_and_get_other_ids(tmp_path):
    mask = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    (tmp_path / "mask.png").write_bytes(encode_mask(mask))
    member = Member(tmp_path, "mask.png", 1)
    assert np.array_equal(decode_mask(member), mask)
    inverse = bytes(255 - i for i in range(256))
    (tmp_path / "inverse.png").write_bytes(relabel(member, inverse))
    assert np.array_equal(decode_mask(Member(tmp_path, "inverse.png", 1)), 255 - mask)
