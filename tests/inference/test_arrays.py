import numpy as np
import pytest
import torch
from PIL import Image

from unimatch.errors import DataError
from unimatch.images.bands import Bands
from unimatch.inference.arrays import is_tensor, to_array, to_arrays

RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
FOUR = Bands(bands=(4, 1), value_range=((0, 255), (0, 255)), mean=(0.5, 0.5), std=(0.2, 0.2))


def test_an_image_of_every_kind_is_the_same_array(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    kinds = [RGB, Image.fromarray(RGB), torch.from_numpy(RGB).permute(2, 0, 1), path, str(path)]
    assert [is_tensor(image) for image in kinds] == [False, False, True, False, False]
    for image in kinds:
        assert np.array_equal(to_array(image), RGB)


def test_grey_becomes_three_channels():
    assert np.array_equal(to_array(RGB[..., 0]), np.stack([RGB[..., 0]] * 3, axis=-1))


def test_bands_are_chosen_from_all_that_an_array_or_tensor_holds():
    stored = np.arange(4 * 5 * 4, dtype=np.uint8).reshape(4, 5, 4)
    for image in (stored, torch.from_numpy(stored).permute(2, 0, 1)):
        assert np.array_equal(to_array(image, FOUR), stored[..., [3, 0]])


def test_arrays_whose_bands_come_first_are_refused():
    """As rasterio reads them: columns would be taken for bands, and there are enough of them."""
    stored = np.arange(4 * 5 * 40, dtype=np.uint16).reshape(4, 5, 40).astype(np.uint8)
    with pytest.raises(
        DataError, match=r"\(4, 5, 40\), looks like \(N, H, W\), as rasterio reads it: give np.moveaxis"
    ):
        to_array(stored, FOUR)
    assert to_array(np.moveaxis(stored, 0, -1), FOUR).shape == (5, 40, 2)
    assert to_array(torch.from_numpy(stored), FOUR).shape == (5, 40, 2)
    assert to_array(torch.from_numpy(stored).permute(2, 0, 1), FOUR).shape == (4, 5, 2)


@pytest.mark.parametrize("image", [RGB.astype(np.float32), RGB[..., :2], RGB[:0], RGB[None]])
def test_what_is_no_image_is_refused_with_its_shape(image):
    with pytest.raises(DataError, match=r"an image must be \(H, W, 3\) or \(H, W\) for arrays"):
        to_array(image)


def test_two_dates_are_stacked_and_others_refused():
    assert np.array_equal(to_arrays([RGB, RGB + 1], 2), np.stack([RGB, RGB + 1]))
    for images in ([RGB], [RGB, RGB[:2]], Image.fromarray(RGB)):
        with pytest.raises(DataError, match="needs 2 images of one size"):
            to_arrays(images, 2)
