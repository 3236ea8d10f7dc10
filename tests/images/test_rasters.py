"""Reading values of any bands and types from files."""

import struct
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.rasters import write_png16, write_tiff
from unimatch import DataError
from unimatch.errors import worker_behind
from unimatch.images.arrays import read_image, read_mask
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.rasters import georeference, pixel_count, read_bands, read_dates, read_stored, read_tiff

VALUES = np.random.default_rng(0).integers(0, 256, (20, 30, 5))


def five(path, **options):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, **options)
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "contig"},
        {"planarconfig": "separate"},
        {"planarconfig": "contig", "tile": (16, 16)},
        {"planarconfig": "contig", "compression": "zlib"},
        {"planarconfig": "contig", "bigtiff": True, "byteorder": ">"},
    ],
    ids=["samples", "planes", "tiles", "deflate", "big"],
)
def test_tiffs_are_read_whole(tmp_path, kind, options):
    values = VALUES.astype(kind)
    stored = np.moveaxis(values, -1, 0) if options["planarconfig"] == "separate" else values
    read = read_stored(five(tmp_path / "a.tif", data=stored, photometric="minisblack", **options))
    assert read.dtype == kind
    assert np.array_equal(read, values)


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True, "metadata": {"axes": "CYX"}}, {"ome": True, "metadata": {"axes": "CYX"}}]
)
def test_bands_may_be_pages_or_channels(tmp_path, options):
    values = VALUES.astype(np.uint16)
    path = five(tmp_path / "a.tif", data=np.moveaxis(values, -1, 0), photometric="minisblack", **options)
    assert np.array_equal(read_stored(path), values)


@pytest.mark.parametrize("shape", [(20, 30), (1, 1), (1, 30, 3), (20, 1, 3)])
def test_axes_of_one_are_kept(tmp_path, shape):
    values = VALUES.ravel()[: np.prod(shape)].reshape(shape).astype(np.uint16)
    expected = values if len(shape) == 3 else values[..., None]
    assert np.array_equal(read_stored(five(tmp_path / "a.tif", data=values)), expected)


def test_series_of_images_are_refused_with_their_axes(tmp_path):
    frames = np.moveaxis(VALUES, -1, 0).astype(np.uint16)
    path = five(tmp_path / "time.tif", data=frames, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(DataError, match=r"time.tif: one image .* T of 5, Y of 20, X of 30; save them one by one"):
        read_stored(path)
    import tifffile

    tifffile.imwrite(tmp_path / "bands.tif", np.stack([frames] * 3), photometric="minisblack")  # axes without names
    with pytest.raises(DataError, match=r"holds 1 image, the first with axes Q of 3, Q' of 5, Y of 20, X of 30; save"):
        read_stored(tmp_path / "bands.tif")
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(frames[0])
        file.write(frames[0, :9])
    with pytest.raises(DataError, match="holds 2 images"):
        read_stored(tmp_path / "two.tif")
    five(tmp_path / "white.tif", data=VALUES[..., 0].astype(np.uint8), photometric="miniswhite")
    with pytest.raises(DataError, match="its values stand for others"):
        read_stored(tmp_path / "white.tif")


def test_smaller_copies_beside_the_image_are_no_further_images(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        options = {"planarconfig": "contig", "photometric": "minisblack"}
        file.write(VALUES[..., :2].astype(np.uint16), **options)
        file.write(VALUES[::2, ::2, :2].astype(np.uint16), subfiletype=1, **options)
    assert read_stored(tmp_path / "a.tif").shape == (20, 30, 2)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "damage", [lambda content: content[:300], lambda content: content[:8] + b"\xff" * 40, lambda _: b"II*\0"]
)
def test_damaged_tiffs_are_named(tmp_path, damage):
    path = five(tmp_path / "a.tif", data=VALUES.astype(np.uint16), photometric="minisblack", planarconfig="contig")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"a.tif: cannot be read as TIFF"):
        read_stored(path)
    assert georeference(path) is None


def changed_tag(path, tag, value):
    """The file with another value in one of its tags of a single number."""
    content = path.read_bytes()
    at = content.index(struct.pack("<HHI", tag, 4, 1)) + 8
    path.write_bytes(content[:at] + struct.pack("<I", value) + content[at + 4 :])


def test_tiffs_that_lack_a_part_are_not_filled_up(tmp_path):
    """Decoders of JPEG make what is absent grey; one strip of a few bytes may claim to be a million."""
    path = five(tmp_path / "a.tif", data=VALUES[..., :3].astype(np.uint8), photometric="rgb")
    changed_tag(path, 257, 2**22)
    with pytest.raises(DataError, match=r"a.tif: cannot be read as TIFF \(it names 1 strips or tiles of 209716\)"):
        read_stored(path)
    Image.fromarray(VALUES[..., :3].astype(np.uint8)).save(tmp_path / "b.tif", compression="jpeg")
    changed_tag(tmp_path / "b.tif", 279, 10_000)
    with pytest.raises(DataError, match=r"b.tif: cannot be read as TIFF \(it is cut short\)"):
        read_stored(tmp_path / "b.tif")


def test_tags_that_hold_text_where_numbers_belong_are_named(tmp_path):
    path = five(tmp_path / "a.tif", data=VALUES[..., 0].astype(np.uint8), photometric="minisblack")
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<HH", 277, 3), struct.pack("<HH", 277, 2)))
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=r"a.tif: "):
            read(path)


def test_colours_of_lab_are_no_red_green_and_blue(tmp_path):
    path = five(tmp_path / "a.tif", data=VALUES[..., :3].astype(np.uint8), photometric="cielab")
    for bands in (PHOTOS, Bands(value_range=[(0, 255)] * 3)):
        with pytest.raises(DataError, match=r"a.tif: .*LAB"):
            read_bands(path, bands)


def test_sizes_are_known_from_headers_and_limited(tmp_path, monkeypatch):
    path = five(tmp_path / "a.tif", data=VALUES.astype(np.float64), photometric="minisblack", planarconfig="contig")
    assert pixel_count(path) == 600
    write_png16(tmp_path / "a.png", VALUES[..., :3].astype(np.uint16))
    assert pixel_count(tmp_path / "a.png") == 600
    (tmp_path / "b.tif").write_bytes(b"MM")
    assert pixel_count(tmp_path / "b.tif") == 0
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 299)
    with pytest.raises(DataError, match=r"30 x 20 pixels in 0 MiB; cut it up"):
        read_stored(path)


def test_pngs_of_sixteen_bits_are_read_whole(tmp_path):
    values = VALUES[..., :3].astype(np.uint16) * 257 - 1
    write_png16(tmp_path / "rgb.png", values)
    assert np.array_equal(read_stored(tmp_path / "rgb.png"), values)
    Image.fromarray(values[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_stored(tmp_path / "grey.png"), values[..., :1])


@pytest.mark.parametrize("bits", [12, 15, 16])
def test_grey_of_any_bits_is_read_as_stored(tmp_path, bits):
    """Not as Pillow spreads it over 16 bits; Sentinel-2 has 15 of them in JPEG 2000."""
    values = VALUES[..., :1].astype(np.uint16) * (2**bits // 256)
    (tmp_path / "a.pgm").write_bytes(b"P5 30 20 %d\n" % (2**bits - 1) + values.astype(">u2").tobytes())
    assert np.array_equal(read_stored(tmp_path / "a.pgm"), values)
    path = tmp_path / "a.j2k"
    # What is written in 16 bits around their middle is read in fewer bits around theirs.
    Image.fromarray(values[..., 0] + np.uint16(2**15 - 2 ** (bits - 1))).save(path, irreversible=False)
    content = bytearray(path.read_bytes())
    content[content.find(b"\xff\x4f\xff\x51") + 42] = bits - 1
    path.write_bytes(content)
    assert np.array_equal(read_stored(path), values)
    assert np.array_equal(read_mask(path), values[..., 0])


def test_colours_that_would_lose_their_low_bits_are_refused(tmp_path):
    values = VALUES[..., :3].astype(np.uint16) * 16
    (tmp_path / "a.ppm").write_bytes(b"P6 30 20 4095\n" + values.astype(">u2").tobytes())
    cv2.imwrite(str(tmp_path / "a.jp2"), np.tile(values, (4, 4, 1)))
    for name in ("a.ppm", "a.jp2"):
        with pytest.raises(DataError, match=rf"{name}: 3 bands of 16-bit .* read whole from .*; save it as TIFF or PN"):
            read_stored(tmp_path / name)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_what_a_tag_turns_is_refused_or_left_as_stored(tmp_path, suffix):
    values = VALUES[..., :3].astype(np.uint16)
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        five(path, data=values, extratags=[(274, "H", 1, 6)])
    else:
        write_png16(path, values)
        content, tag = path.read_bytes(), b"eXIf" + exif_turned().tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(tag) - 4) + tag + struct.pack(">I", zlib.crc32(tag))
        path.write_bytes(content[:33] + chunk + content[33:])
    with pytest.raises(DataError, match=r"turned by its orientation tag; .*dataset\.exif=stored"):
        read_stored(path)
    assert np.array_equal(read_stored(path, exif="stored"), values)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, orientation):
    values = VALUES[..., :3].astype(np.uint16)
    five(tmp_path / "a.tif", data=values, extratags=[(274, "H", 1, orientation)])
    assert np.array_equal(read_stored(tmp_path / "a.tif"), values)


def test_a_preview_behind_a_camera_s_picture_is_no_second_image(tmp_path):
    photo = Image.fromarray(VALUES[..., :3].astype(np.uint8))
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photo.rotate(90)])
    bands = Bands(value_range=[(0, 255)] * 3)
    assert np.array_equal(read_bands(tmp_path / "a.jpg", bands), read_image(tmp_path / "a.jpg"))


def test_eight_bits_are_what_photos_are(tmp_path):
    photo = VALUES[..., :3].astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(photo).save(tmp_path / "a.jpg", exif=exif_turned())
    Image.fromarray(photo).quantize(16).save(tmp_path / "palette.png")
    full = Bands(value_range=[(0, 255)] * 3)
    for name in ("a.png", "a.jpg", "palette.png"):
        expected = read_image(tmp_path / name)
        assert np.array_equal(read_bands(tmp_path / name, full), expected)
        assert np.array_equal(read_bands(tmp_path / name, PHOTOS), expected)


def exif_turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


@pytest.mark.parametrize(
    ("name", "message"), [("a.gif", "holds 2 images"), ("a.jpg", "CMYK"), ("none.png", "none.png: cannot be read")]
)
def test_what_has_no_bands_of_values_is_refused(tmp_path, name, message):
    photo = Image.fromarray(VALUES[..., :3].astype(np.uint8))
    photo.save(tmp_path / "a.gif", save_all=True, append_images=[photo.rotate(90)])
    photo.convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=message):
        read_stored(tmp_path / name)


def test_dates_are_read_alike_and_must_be_of_one_size(tmp_path):
    values = VALUES[..., :3].astype(np.uint16)
    for name, stored in (("a.png", values), ("b.png", values + 1), ("c.png", values[:9])):
        write_png16(tmp_path / name, stored)
    bands = Bands((3,), [(0, 256)], mean=(0,), std=(1,))
    pair = read_dates([tmp_path / "a.png", tmp_path / "b.png"], bands)
    assert pair.shape == (2, 20, 30, 1)
    assert np.array_equal(pair[1, ..., 0], np.rint((values[..., 2] + 1) * (255 / 256)))
    with pytest.raises(DataError, match="the second date is 30 x 9 pixels"):
        read_dates([tmp_path / "a.png", tmp_path / "c.png"], bands)


def test_tiffs_that_say_no_place_have_none(tmp_path):
    path = five(tmp_path / "a.tif", data=VALUES[..., 0].astype(np.uint8))
    assert georeference(path) is None
    Image.fromarray(VALUES[..., 0].astype(np.uint8)).save(tmp_path / "a.png")
    assert georeference(tmp_path / "a.png") is None


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    import sys

    from unimatch import ConfigError

    (tmp_path / "a.tif").write_bytes(b"II*\0")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ConfigError, match=r"pip install 'unimatch\[science\]'"):
        read_stored(tmp_path / "a.tif")


def test_made_tiffs_have_all_bands(tmp_path):
    pytest.importorskip("tifffile")
    write_tiff(tmp_path / "a.tif", VALUES.astype(np.float32))
    assert np.array_equal(read_stored(tmp_path / "a.tif"), VALUES)


def test_a_mask_of_the_pixels_beside_the_image_is_no_further_image(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(VALUES[..., 0].astype(np.uint16))
        file.write(VALUES[..., 1] > 99, subfiletype=4)
    assert np.array_equal(read_stored(tmp_path / "a.tif"), VALUES[..., :1])


def test_images_of_too_many_bytes_are_refused(tmp_path, monkeypatch):
    path = five(tmp_path / "a.tif", data=VALUES.astype(np.uint16), photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr("unimatch.images.rasters.LARGEST", VALUES.size * 2 - 1)
    with pytest.raises(DataError, match="30 x 20 pixels in 0 MiB; cut it up"):
        read_stored(path)


def test_a_damaged_file_is_one_message(tmp_path, caplog, capfd):
    """Not also what the library logs of it; what that logs for others stays."""
    path = five(tmp_path / "a.tif", data=VALUES.astype(np.uint16), photometric="minisblack", planarconfig="contig")
    content, heard = path.read_bytes(), 0
    import tifffile

    for offset in range(0, len(content) - 4, 61):
        path.write_bytes(content[:offset] + b"\xff" * 4 + content[offset + 4 :])
        with suppress(DataError):
            read_stored(path)
        assert not caplog.records
        assert capfd.readouterr() == ("", "")
        with suppress(Exception):
            tifffile.imread(path)
        heard += len(caplog.records)
        caplog.clear()
        capfd.readouterr()
    assert heard


@pytest.mark.parametrize("at_once", [True, False])
def test_a_loading_process_that_dies_while_a_tiff_is_read_is_no_fault_of_the_file(at_once, tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 3), np.uint16))

    def interrupted(*arguments, **options):  # as PyTorch's handler of SIGCHLD does, wherever the program is
        dead = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        if at_once:
            raise dead
        raise OSError("broken data stream") from dead

    monkeypatch.setattr(tifffile, "TiffFile", interrupted)
    with pytest.raises(RuntimeError if at_once else OSError) as raised:
        read_tiff(tmp_path / "a.tif", "turn")
    assert worker_behind(raised.value)
    assert not isinstance(raised.value, DataError)
