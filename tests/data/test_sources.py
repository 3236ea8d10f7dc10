import io
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unimatch.data.catalog import CAMVID, DatasetInfo, distinct_colors
from unimatch.data.files import FilePair
from unimatch.data.sources import FileSource
from unimatch.errors import DataError
from unimatch.images import read_image, read_mask

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


@pytest.mark.parametrize(
    ("shape", "dtype", "mode"),
    [((4, 5, 3), np.uint8, "RGB"), ((4, 5, 4), np.uint8, "RGBA"), ((4, 5), np.uint16, "I;16")],
)
def test_mask_that_is_no_8_bit_index_image_is_refused(tmp_path, shape, dtype, mode):
    path = tmp_path / "mask.png"
    Image.fromarray(np.zeros(shape, dtype)).save(path)
    with pytest.raises(DataError) as caught:
        read_mask(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert mode in message
    assert "save class ids, not colours" in message
    # Said once: the message is not wrapped into that of an unreadable file.
    assert "cannot be read" not in message


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
        with pytest.raises(DataError, match="repair or remove") as caught:
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


def test_source_maps_ignored_ids_to_255_and_no_others(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "mask.png")
    Image.fromarray(random_array(16, 16, 3)).save(tmp_path / "image.png")
    pair = FilePair(tmp_path / "image.png", tmp_path / "mask.png")
    for ignored in ({11, 255}, {0, 7, 255}, set()):
        info = DatasetInfo("some", ("a", "b"), distinct_colors(2), ignore_ids=frozenset(ignored))
        mask = FileSource([pair], info).mask(0)
        assert mask.dtype == np.uint8
        assert mask.ravel().tolist() == [255 if i in ignored else i for i in range(256)]


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


def test_sixteen_bit_images_are_refused_instead_of_clipped(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 63000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"deep\.png.*more than 8 bits"):
        read_image(path)
