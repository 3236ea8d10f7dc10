from collections import Counter

import numpy as np
import pytest

from unimatch import ConfigError
from unimatch.augment import PaddedCrop


def view(crop, image, seed=0, **options):
    return PaddedCrop(**options).cut(np.random.default_rng(seed), image, None, crop).image


def numbered(height, width):
    """An image that says of each pixel where it was: row in red, column in green."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1)


def test_a_weak_view_is_a_crop_of_the_mirrored_border_and_a_flip():
    image = numbered(12, 12)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    crops = {
        (top, left, flip): padded[top : top + 12, left : left + 12][:, :: -1 if flip else 1].tobytes()
        for top in range(9)
        for left in range(9)
        for flip in (False, True)
    }
    by_bytes = {value: key for key, value in crops.items()}
    seen = Counter(by_bytes[view(12, image, seed).tobytes()] for seed in range(1500))
    assert len(seen) > 155  # of 162
    assert 650 < sum(count for (_, _, flip), count in seen.items() if flip) < 850


def test_without_padding_and_flip_an_image_of_the_crops_size_stays():
    image = numbered(8, 8)
    assert np.array_equal(view(8, image, padding=0, flip=0.0), image)


def test_images_of_any_size_are_resized_by_their_short_side():
    for shape in ((40, 60), (60, 40), (7, 9), (20, 500), (20, 20)):
        assert view(16, numbered(shape[0] % 256, shape[1] % 256), resize=20, padding=0).shape == (16, 16, 3)
    assert view(16, numbered(5, 8), padding=0).shape == (16, 16, 3)  # smaller than the crop
    # The long side follows: of 10 x 30 pixels, resized to 20 x 60, a crop begins at any of 41 columns.
    crops = {view(20, numbered(10, 30), seed, resize=20, padding=0, flip=0.0).tobytes() for seed in range(400)}
    assert len(crops) == 41


def test_shrinking_averages():
    image = np.zeros((8, 8, 3), np.uint8)
    image[::2, ::2] = 200  # one pixel of four
    assert np.abs(view(4, image, resize=4, padding=0).astype(int)[1:-1, 1:-1] - 50).max() <= 1
    # As large as it is, unless it is smaller than the crop.
    assert np.array_equal(view(4, image, padding=0, flip=0.0, seed=1) % 200, np.zeros((4, 4, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": -1}, "padding=-1"),
        ({"resize": 0}, "resize=0"),
        ({"padding": 10**20}, r"padding=100000000000000000000: must be at most 32767"),
        ({"resize": 2**15}, r"resize=32768: must be at most 32767"),
        ({"flip": 2.0}, r"flip=2\.0: must be a probability"),
    ],
)
def test_impossible_numbers_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        PaddedCrop(**options)
