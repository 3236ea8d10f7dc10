import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from unimatch.errors import DataError, worker_behind
from unimatch.images.arrays import read_colors, read_ids, read_image, read_mask

ORIENTATION = 0x0112

# What each EXIF orientation asks for, by the standard: where row 0 and column 0 of the stored image belong.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


def random_array(*shape, high=256, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8)


def with_orientation(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
def test_image_is_read_as_rgb(tmp_path, suffix):
    array = random_array(5, 7, 3)
    path = tmp_path / f"image{suffix}"
    Image.fromarray(array).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert np.array_equal(image, array)


def test_jpeg_is_read_as_rgb(tmp_path):
    array = np.full((16, 24, 3), (200, 60, 30), np.uint8)
    Image.fromarray(array).save(tmp_path / "image.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "image.jpg").astype(int) - array).max() <= 4


def test_gray_palette_one_bit_and_transparent_images_become_rgb(tmp_path):
    gray = random_array(4, 6)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert np.array_equal(read_image(tmp_path / "gray.png"), np.repeat(gray[..., None], 3, axis=2))

    indices = random_array(4, 6, high=3)
    palette = np.array([(255, 0, 0), (0, 255, 0), (10, 20, 30)], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.ravel().tolist())
    image.save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), palette[indices])

    bits = random_array(4, 6, high=2).astype(bool)
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert np.array_equal(read_image(tmp_path / "bits.png")[..., 1], bits * 255)

    transparent = random_array(4, 6, 4)
    Image.fromarray(transparent).save(tmp_path / "transparent.png")
    assert np.array_equal(read_image(tmp_path / "transparent.png"), transparent[..., :3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_images_and_masks(tmp_path, orientation):
    stored, stored_mask = random_array(4, 6, 3), random_array(4, 6, high=5)
    Image.fromarray(stored).save(tmp_path / "image.png", exif=with_orientation(orientation))
    Image.fromarray(stored_mask).save(tmp_path / "mask.png", exif=with_orientation(orientation))
    assert np.array_equal(read_image(tmp_path / "image.png"), UPRIGHT[orientation](stored))
    assert np.array_equal(read_mask(tmp_path / "mask.png"), UPRIGHT[orientation](stored_mask))


def test_gray_mask_holds_class_ids(tmp_path):
    ids = random_array(5, 6)
    Image.fromarray(ids).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, ids)


def test_palette_mask_holds_indices_and_not_colors(tmp_path):
    ids = random_array(5, 6, high=4)
    image = Image.fromarray(ids)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 128, 128, 128])
    assert image.mode == "P"
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), ids)


def test_one_bit_mask_holds_classes_0_and_1(tmp_path):
    ids = random_array(5, 11, high=2)
    Image.fromarray(ids.astype(bool)).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, ids)


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32)])
def test_deep_mask_holds_ids_above_255(tmp_path, suffix, dtype):
    ids = np.array([[0, 255, 256], [1000, 40000, 65535]], dtype)
    Image.fromarray(ids).save(tmp_path / f"mask.{suffix}")
    mask = read_mask(tmp_path / f"mask.{suffix}")
    assert mask.dtype == np.int32
    assert np.array_equal(mask, ids)


@pytest.mark.parametrize(("shape", "mode"), [((4, 5, 3), "RGB"), ((4, 5, 4), "RGBA")])
def test_mask_that_is_no_index_image_is_refused(tmp_path, shape, mode):
    path = tmp_path / "mask.png"
    Image.fromarray(random_array(*shape)).save(path)
    with pytest.raises(DataError) as caught:
        read_mask(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: a mask must be an index image (grey or palette), this one is {mode}")
    assert "dataset.colors" in message
    # Said once: the message is not wrapped into that of an unreadable file.
    assert "cannot be read" not in message


def test_color_mask_is_read_as_rgb_whatever_stores_the_colors(tmp_path):
    ids = random_array(4, 6, high=3)
    palette = np.array([(255, 0, 0), (0, 255, 0), (10, 20, 30)], np.uint8)
    Image.fromarray(palette[ids]).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([palette[ids], np.full((4, 6), 9, np.uint8)])).save(tmp_path / "rgba.png")
    indexed = Image.fromarray(ids)
    indexed.putpalette(palette.ravel().tolist())
    indexed.save(tmp_path / "palette.png")
    for name in ("rgb.png", "rgba.png", "palette.png"):
        assert np.array_equal(read_colors(tmp_path / name).values, palette[ids])
    Image.fromarray(ids.astype(np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: a mask of 1 band of 16-bit unsigned integers has no colours"):
        read_colors(tmp_path / "deep.png")


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_and_masks_are_left_as_stored_where_told(tmp_path, orientation, suffix):
    stored, ids, path = random_array(4, 6, 3), random_array(4, 6, high=5), tmp_path / f"image.{suffix}"
    options = {"tiffinfo": {ORIENTATION: orientation}} if suffix == "tif" else {"lossless": True}
    Image.fromarray(stored).save(path, exif=with_orientation(orientation), **options)
    assert np.array_equal(read_image(path), UPRIGHT[orientation](stored))
    assert np.array_equal(read_image(path, exif="stored"), stored)
    assert np.array_equal(read_colors(path, exif="stored").values, stored)
    Image.fromarray(ids).save(path, exif=with_orientation(orientation), **options)
    mask = read_ids(path, exif="stored")
    assert np.array_equal(mask.values, ids)
    assert mask.orientation == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_color_masks(tmp_path, orientation):
    stored = random_array(4, 6, 3)
    Image.fromarray(stored).save(tmp_path / "mask.png", exif=with_orientation(orientation))
    assert np.array_equal(read_colors(tmp_path / "mask.png").values, UPRIGHT[orientation](stored))


def test_cmyk_images_become_rgb(tmp_path):
    array = np.full((16, 24, 3), (200, 60, 30), np.uint8)
    for suffix in ("jpg", "tif"):
        Image.fromarray(array).convert("CMYK").save(tmp_path / f"image.{suffix}", quality=95)
        assert np.abs(read_image(tmp_path / f"image.{suffix}").astype(int) - array).max() <= 6


def test_grey_images_with_transparency_and_palettes_with_it_become_rgb(tmp_path):
    gray = random_array(4, 6)
    Image.fromarray(np.dstack([gray, 255 - gray])).save(tmp_path / "la.png")
    assert np.array_equal(read_image(tmp_path / "la.png"), np.repeat(gray[..., None], 3, axis=2))
    indices = random_array(4, 6, high=2)
    image = Image.fromarray(indices)
    image.putpalette([255, 0, 0, 10, 20, 30])
    image.save(tmp_path / "p.png", transparency=b"\x80\x20")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_image(tmp_path / "p.png"), np.array([(255, 0, 0), (10, 20, 30)])[indices])


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("reader", [read_image, read_mask, read_colors])
def test_huge_claimed_size_is_refused_before_memory_is_taken(tmp_path, reader):
    """A few bytes that claim 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"bomb\.png: cannot be read as .*3600000000 pixels.* exceeds limit"):
        reader(path)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize("reader", [read_image, read_mask])
def test_missing_file_is_named(tmp_path, reader):
    with pytest.raises(DataError, match="repair or remove") as caught:
        reader(tmp_path / "absent.png")
    assert str(caught.value).startswith(f"{tmp_path / 'absent.png'}: cannot be read")


@pytest.mark.parametrize("reader", [read_image, read_mask])
def test_file_that_is_no_image_is_named(tmp_path, reader):
    path = tmp_path / "notes.png"
    path.write_text("this is not an image")
    with pytest.raises(DataError, match="repair or remove") as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path}: cannot be read")


def encoded(array, kind):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "bmp"])
@pytest.mark.parametrize(("reader", "shape"), [(read_image, (20, 30, 3)), (read_mask, (20, 30))])
def test_truncated_file_is_named(tmp_path, kind, reader, shape):
    whole = encoded(random_array(*shape), kind)
    path = tmp_path / f"cut.{kind}"
    for share in (0.0, 0.1, 0.5, 0.8):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(
            DataError, match="repair or remove" if share else "it is empty, .*; copy it again"
        ) as caught:
            reader(path)
        assert str(caught.value).startswith(f"{path}: cannot be read")


@given(
    st.sampled_from(["png", "jpeg", "tiff", "bmp", "webp"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
    st.booleans(),
)
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_file_is_read_or_refused_with_its_name(tmp_path, kind, damages, is_mask):
    data = bytearray(encoded(random_array(8, 9) if is_mask else random_array(8, 9, 3), kind))
    for place, value in damages:
        data[int(place * len(data))] = value
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(bytes(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of some damages that it can read past
        try:
            array = read_mask(path) if is_mask else read_image(path)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert array.dtype == np.uint8
            assert array.ndim == (2 if is_mask else 3)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_loading_process_that_dies_while_a_file_is_read_is_no_fault_of_the_file(at_once, read, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):  # as PyTorch's handler of SIGCHLD does, wherever the program is
        dead = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        if at_once:
            raise dead
        raise OSError("broken data stream") from dead

    path = tmp_path / "a.tif"
    path.write_bytes(encoded(random_array(8, 9, 3), "tiff"))
    monkeypatch.setattr(Image, "open", interrupted)
    with pytest.raises(RuntimeError if at_once else OSError) as raised:
        read(path)
    assert worker_behind(raised.value)
    assert not isinstance(raised.value, DataError)


def test_sixteen_bit_images_are_refused_instead_of_clipped(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 63000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"deep\.png: 1 band of 16-bit unsigned integers .*dataset\.value_range"):
        read_image(path)


@pytest.mark.parametrize(("bits", "colors"), [(8, 2), (4, 2), (4, 16), (1, 2), (8, 256), (8, 3)])
def test_a_bmp_is_read_as_it_is_or_refused(tmp_path, bits, colors):
    """Pillow takes one with a palette of black and white for one of 1 bit, one with a ramp of greys for one of 8."""
    ids = random_array(5, 16, high=2)
    greys = [0, 255] if colors == 2 else range(colors)
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in greys)
    packed = np.packbits(np.unpackbits(ids[::-1, :, None], axis=2)[..., -bits:].reshape(5, -1), axis=1)
    rows = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4))).tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 16, 5, 1, bits, 0, len(rows), 0, 0, colors, 0)
    start = struct.pack("<2sIHHI", b"BM", 54 + len(palette) + len(rows), 0, 0, 54 + len(palette))
    path = tmp_path / "a.bmp"
    path.write_bytes(start + header + palette + rows)
    if (bits, colors) in ((8, 2), (4, 2), (4, 16)):
        for read in (read_mask, read_image):
            with pytest.raises(DataError, match=rf"a\.bmp: is a BMP of {bits} bits .* save it as PNG"):
                read(path)
    else:
        assert np.array_equal(read_mask(path), ids)


def test_signed_ids_of_8_bits_keep_their_sign_and_bands_beside_the_ids_are_refused(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    ids = np.array([[-128, -1, 0], [1, 2, 127]], np.int8)
    tifffile.imwrite(tmp_path / "a.tif", ids)
    assert np.array_equal(read_mask(tmp_path / "a.tif"), ids)
    two = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 2), np.uint8), extrasamples=["unspecified"], **two)
    with pytest.raises(DataError, match=r"a\.tif: 2 bands of 8-bit .* cannot be read as a mask"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize(("shape", "read"), [((4, 5, 3), read_image), ((4, 5), read_ids)])
def test_a_tiff_of_a_compression_that_is_not_read_is_called_so(shape, read, tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros(shape, np.uint8)).save(path)
    content, tag = path.read_bytes(), struct.pack("<HHI", 259, 3, 1)
    assert content.count(tag + struct.pack("<H", 1)) == 1
    path.write_bytes(content.replace(tag + struct.pack("<H", 1), tag + struct.pack("<H", 34712)))  # JPEG 2000
    with pytest.raises(
        DataError, match=r"a\.tif: a TIFF whose compression cannot be read; save it with LZW or Deflate"
    ):
        read(path)


def test_a_tiff_whose_compression_this_pillow_lacks_is_called_so(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    Image.new("RGB", (8, 8)).save(path, compression="lzma")

    def fail(image):
        raise OSError("decoder error -2")

    monkeypatch.setattr(TiffImageFile, "load", fail)
    with pytest.raises(
        DataError, match=r"a\.tif: .* \(a TIFF with LZMA compression, .* damaged\); save it with LZW or"
    ):
        read_image(path)
    Image.new("RGB", (8, 8)).save(path, compression="tiff_lzw")
    with pytest.raises(DataError, match=r"a\.tif: .* \(decoder error -2\); repair"):
        read_image(path)


def test_masks_in_lab_are_refused_as_images_are(tmp_path):
    path = tmp_path / "a.tif"
    Image.new("LAB", (4, 4)).save(path)
    for read in (read_image, read_colors):
        with pytest.raises(DataError, match=r"a\.tif: an? (image|mask) in the colours of LAB; convert it to RGB"):
            read(path)
