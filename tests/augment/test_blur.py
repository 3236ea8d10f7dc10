import numpy as np
import pytest
from PIL import Image, ImageFilter

from unimatch.augment.blur import blur_kernel, blurred


def slow_boxes(sigma):
    """Three boxes, each of variance sigma^2 / 3: whole pixels inside, a part of one at either end."""
    inner = 0
    while (2 * inner + 3) ** 2 - 1 <= 4 * sigma**2:  # a box of n whole pixels has the variance (n^2 - 1) / 12
        inner += 1
    low, high = 0.0, 1.0  # the part of the outermost pixels, by bisection
    for _ in range(60):
        part = (low + high) / 2
        box = [part, *[1.0] * (2 * inner + 1), part]
        variance = sum(w * (i - inner - 1) ** 2 for i, w in enumerate(box)) / sum(box)
        low, high = (part, high) if variance < sigma**2 / 3 else (low, part)
    return np.array(box) / sum(box)


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3, 0.5, 1.0, 1.9, 2.0])
def test_blur_is_three_boxes_that_spread_by_sigma(sigma):
    image = np.random.default_rng(6).integers(0, 256, (24, 26, 3), np.uint8)
    result = blurred(image, sigma)
    box = slow_boxes(sigma)
    kernel = np.convolve(np.convolve(box, box), box)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert np.sqrt((kernel * offsets**2).sum()) == pytest.approx(sigma, abs=1e-6)
    assert np.allclose(blur_kernel(sigma), kernel, atol=1e-6)
    reach = len(kernel) // 2
    bordered = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), "symmetric")
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            around = bordered[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
            expected = (around * np.outer(kernel, kernel)[..., None]).sum((0, 1))
            assert np.abs(result[row, column] - expected).max() <= 1


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.5, 1.0, 2.0])
def test_blur_is_pillows_within_its_rounding(sigma):
    image = np.random.default_rng(7).integers(0, 256, (40, 44, 3), np.uint8)
    result = blurred(image, sigma)
    pillow = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))
    difference = np.abs(result.astype(int) - pillow)
    assert difference[8:-8, 8:-8].max() <= 4  # Pillow rounds after each of six passes
    assert difference.mean() <= 1
    # At the border, where Pillow repeats the outermost pixels: 4 to 7 on this noise if the image went on otherwise.
    assert max(difference[:3].mean(), difference[-3:].mean(), difference[:, :3].mean(), difference[:, -3:].mean()) <= 2


def test_blur_keeps_an_even_image():
    image = np.full((9, 7, 3), (10, 120, 250), np.uint8)
    assert all(np.array_equal(blurred(image, sigma), image) for sigma in np.linspace(0.1, 2, 20))
