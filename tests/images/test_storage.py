import itertools
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from unimatch.errors import DataError
from unimatch.images.arrays import read_colors, read_image, read_mask

DEEP = {
    "one.png": (np.uint16, 1, "1 band of 16-bit unsigned integers"),
    "three.png": (np.uint16, 3, "3 bands of 16-bit unsigned integers"),
    "four.png": (np.uint16, 4, "4 bands of 16-bit unsigned integers"),
    "one.tif": (np.uint16, 1, "1 band of 16-bit unsigned integers"),
    "three.tif": (np.uint16, 3, "3 bands of 16-bit unsigned integers"),
    "float.tif": (np.float32, 1, "1 band of 32-bit floats"),
    "floats.tif": (np.float32, 3, "3 bands of 32-bit floats"),
    "double.tif": (np.float64, 3, "3 bands of 64-bit floats"),
    "grey.jp2": (np.uint16, 1, "1 band of 16-bit unsigned integers"),
    "colour.jp2": (np.uint16, 3, "3 bands of 16-bit unsigned integers"),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_images_are_refused_with_their_bands_type_and_remedy(tmp_path, name):
    dtype, bands, text = DEEP[name]
    path = tmp_path / name
    array = np.full((80, 90, bands), 4000, dtype).squeeze()
    if cv2.haveImageWriter(str(path)):
        cv2.imwrite(str(path), array)
    elif bands == 1:
        Image.fromarray(array).save(path)
    else:
        pytest.skip("nothing here writes this kind")
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: {text} cannot be read as an image; ")
    assert "dataset.bands" in str(caught.value)


def flat(value):
    return Image.fromarray(np.full((8, 9, 3), value, np.uint8))


def test_pages_and_frames_are_refused_and_smaller_copies_are_none(tmp_path):
    for name in ("pages.tif", "frames.png", "frames.webp", "frames.gif"):
        flat(10).save(tmp_path / name, save_all=True, append_images=[flat(200)])
        with pytest.raises(DataError, match="holds 2 pages or frames"):
            read_image(tmp_path / name)
    flat(10).save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[flat(200)], quality=95)
    assert abs(int(read_image(tmp_path / "phone.jpg").max()) - 10) <= 2
    # A page of SubfileType 1 is a smaller copy, as image pyramids have them.
    copy = flat(200)
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    flat(10).save(tmp_path / "pyramid.tif", save_all=True, append_images=[copy])
    assert read_image(tmp_path / "pyramid.tif").max() == 10


def test_bands_beside_the_colours_and_other_colours_are_refused(tmp_path):
    rgba = Image.fromarray(np.full((8, 9, 4), 50, np.uint8))
    rgba.save(tmp_path / "alpha.tif")
    assert read_image(tmp_path / "alpha.tif").shape == (8, 9, 3)
    Image.new("RGBX", (9, 8)).save(tmp_path / "infrared.tif")
    with pytest.raises(DataError, match="4 bands of 8-bit unsigned integers"):
        read_image(tmp_path / "infrared.tif")
    Image.new("LAB", (9, 8)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match="colours of LAB; convert it to RGB"):
        read_image(tmp_path / "lab.tif")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_unknown_kinds_that_are_no_tiff_stay_unknown(tmp_path):
    for content in (b"", b"II*\0", b"II+\0" + bytes(20), bytes(50)):
        (tmp_path / "x.tif").write_bytes(content)
        with pytest.raises(DataError, match=r"none of BMP|it (is empty|holds zeros)"):
            read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("largest", [1, 3, 15, 200, 255, 1000, 65535])
def test_ids_of_grey_maps_are_as_stored_whatever_their_largest_is(tmp_path, largest):
    ids = np.array([[0, 1, 1], [largest // 2, largest - 1, largest]])
    path = tmp_path / "mask.pgm"
    path.write_bytes(b"P5 3 2 %d\n" % largest + ids.astype(">u2" if largest > 255 else np.uint8).tobytes())
    assert np.array_equal(read_mask(path), ids)
    if largest > 255:
        with pytest.raises(DataError, match="cannot be read as an image"):
            read_image(path)
        path.write_bytes(b"P6 1 1 %d\n" % largest + bytes(6))
        with pytest.raises(DataError, match="3 bands of 16-bit"):
            read_image(path)


LOSSY = {
    "a.jpg": {},
    "a.webp": {"quality": 90},
    "a.avif": {},
    "a.jp2": {},
    "jpeg.tif": {"compression": "jpeg"},
    "webp.tif": {"compression": "webp"},
}
LOSSLESS = {"b.webp": {"lossless": True}, "a.png": {}, "a.gif": {}, "b.tif": {"compression": "tiff_lzw"}}


@pytest.mark.parametrize("name", [*LOSSY, *LOSSLESS])
def test_compression_that_may_change_ids_is_known_by_the_content(tmp_path, name):
    path = tmp_path / name
    try:
        flat(3).resize((64, 64)).save(path, **(LOSSY | LOSSLESS)[name])
    except (OSError, KeyError, ValueError) as error:
        pytest.skip(f"this Pillow writes no such file ({error})")
    path = path.rename(tmp_path / "mask.png")
    assert read_colors(path).lossy == (name in LOSSY)


def test_a_page_of_transparency_is_no_second_picture(tmp_path):
    transparency = flat(200)
    transparency.encoderinfo = {"tiffinfo": {254: 4}}
    flat(10).save(tmp_path / "a.tif", save_all=True, append_images=[transparency])
    assert read_image(tmp_path / "a.tif").max() == 10


def test_pages_are_counted_up_to_a_limit(tmp_path, monkeypatch):
    flat(10).save(tmp_path / "pages.tif", save_all=True, append_images=[flat(200)] * 5)
    monkeypatch.setattr("unimatch.images.storage.COUNTED_PAGES", 3)
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match="holds 3 pages or frames"):
            read(tmp_path / "pages.tif")


@pytest.mark.parametrize(
    ("dtype", "compression"), [(bool, None), *itertools.product([np.uint8, np.uint16], [None, "zlib"])]
)
def test_ids_of_a_tiff_in_which_0_is_white_are_those_stored(tmp_path, dtype, compression):
    """Pillow turns those of 1 and 8 bits round; tifffile writes those of 1 bit so by default, and ImageJ its masks."""
    tifffile = pytest.importorskip("tifffile")
    ids = np.arange(48).reshape(6, 8) % 3 % (2 if dtype is bool else 3)
    options = {} if compression is None else {"compression": compression}
    for photometric in ("minisblack", "miniswhite"):
        tifffile.imwrite(tmp_path / "a.tif", ids.astype(dtype), photometric=photometric, **options)
        assert np.array_equal(read_mask(tmp_path / "a.tif"), ids)
        assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), ids)


@pytest.mark.parametrize("bits", [2, 4])
def test_ids_of_few_bits_too(tmp_path, bits):
    ids = np.arange(16) % 2**bits
    packed = np.packbits(np.unpackbits(ids.astype(np.uint8)[:, None], axis=1)[:, -bits:]).tobytes()
    for white, photometric in ((True, 0), (False, 1)):
        tags = {256: 16, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: len(packed)}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        start = 8 + len(packed)
        header = struct.pack("<2sHI", b"II", 42, start)
        (tmp_path / "a.tif").write_bytes(header + packed + struct.pack("<H", len(tags)) + entries + bytes(4))
        assert read_mask(tmp_path / "a.tif").ravel().tolist() == ids.tolist()
        shown = read_image(tmp_path / "a.tif")[0, :, 0]
        assert (shown[0] > shown[1]) == white  # photos are as they are shown
