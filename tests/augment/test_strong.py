import colorsys
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch import ConfigError
from unimatch.augment.strong import Change, StrongAugmentation

property_test = settings(max_examples=60, deadline=None, derandomize=True)


def only(**changes):
    """The augmentation with every change off but those given."""
    off = {
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
        "jitter_probability": 0.0,
        "grayscale_probability": 0.0,
        "blur_probability": 0.0,
    }
    return StrongAugmentation(**{**off, **changes})


def random_image(seed, height=12, width=14):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def results(augmentation, image, count):
    rng = np.random.default_rng(0)
    return [augmentation(rng, image) for _ in range(count)]


def luma(image):
    """ITU-R 601, as Pillow and torchvision have it."""
    red, green, blue = image[..., 0].astype(float), image[..., 1].astype(float), image[..., 2].astype(float)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def fitted_factor(result, image, base):
    """The factor f of ``result = base + f * (image - base)``, from the values that were not clipped."""
    change, total = image - base, result - base
    free = (result > 0) & (result < 255)
    return float((change * total)[free].sum() / (change * change)[free].sum())


@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1))
@property_test
def test_keeps_shape_and_type_and_leaves_the_input(height, width, seed):
    image = random_image(seed, height, width)
    before = image.copy()
    result = StrongAugmentation()(np.random.default_rng(seed), image)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "change",
    [
        {"jitter_probability": 1.0, "brightness": 0.5},
        {"jitter_probability": 1.0, "contrast": 0.5},
        {"jitter_probability": 1.0, "saturation": 0.5},
        {"jitter_probability": 1.0, "hue": 0.25},
        {"grayscale_probability": 1.0},
        {"blur_probability": 1.0},
    ],
    ids=["brightness", "contrast", "saturation", "hue", "grayscale", "blur"],
)
def test_each_change_alone_does_something_and_leaves_the_input(change):
    image = random_image(0)
    before = image.copy()
    assert any(not np.array_equal(result, before) for result in results(only(**change), image, 10))
    assert np.array_equal(image, before)


def test_result_is_a_function_of_the_generator_alone():
    image = random_image(1)
    first = [StrongAugmentation()(np.random.default_rng(seed), image) for seed in range(20)]
    np.random.seed(5)  # noqa: NPY002 - the global state must not matter
    random.seed(5)
    second = [StrongAugmentation()(np.random.default_rng(seed), image) for seed in range(20)]
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert len({result.tobytes() for result in first}) > 10


def test_zero_probabilities_give_the_identity():
    augmentation = StrongAugmentation(jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0)
    image = random_image(2)
    assert all(np.array_equal(result, image) for result in results(augmentation, image, 50))


def test_zero_strengths_give_the_identity():
    image = random_image(3)
    assert all(np.array_equal(result, image) for result in results(only(jitter_probability=1.0), image, 50))


def test_defaults_are_the_published_settings():
    assert StrongAugmentation() == StrongAugmentation(
        brightness=0.5,
        contrast=0.5,
        saturation=0.5,
        hue=0.25,
        jitter_probability=0.8,
        grayscale_probability=0.2,
        blur_probability=0.5,
        blur_sigma=(0.1, 2.0),
    )


@pytest.mark.parametrize("seed", range(20))
def test_brightness_multiplies_and_clips(seed):
    image = random_image(seed)
    result = only(jitter_probability=1.0, brightness=0.5)(np.random.default_rng(seed), image)
    factor = fitted_factor(result, image.astype(float), np.zeros(image.shape))
    assert 0.5 - 0.01 <= factor <= 1.5 + 0.01
    assert np.abs(result - np.clip(image * factor, 0, 255)).max() <= 1.5


@pytest.mark.parametrize("seed", range(20))
def test_contrast_blends_with_the_mean_gray(seed):
    image = random_image(seed)
    result = only(jitter_probability=1.0, contrast=0.5)(np.random.default_rng(seed), image)
    mean = np.full(image.shape, luma(image).mean())
    factor = fitted_factor(result, image.astype(float), mean)
    assert 0.5 - 0.02 <= factor <= 1.5 + 0.02
    assert np.abs(result - np.clip(mean + factor * (image - mean), 0, 255)).max() <= 1.5


@pytest.mark.parametrize("seed", range(20))
def test_saturation_blends_with_the_gray_image(seed):
    image = random_image(seed)
    result = only(jitter_probability=1.0, saturation=0.5)(np.random.default_rng(seed), image)
    gray = np.repeat(luma(image)[..., None], 3, axis=2)
    factor = fitted_factor(result, image.astype(float), gray)
    assert 0.5 - 0.02 <= factor <= 1.5 + 0.02
    assert np.abs(result - np.clip(gray + factor * (image - gray), 0, 255)).max() <= 1.5


def hue_shift(result, image):
    """The most frequent turn of the colour circle, in turns, from pixels of strong colour."""
    turns = []
    for before, after in zip(image.reshape(-1, 3), result.reshape(-1, 3), strict=True):
        if int(before.max()) - int(before.min()) > 100:
            turns.append(colorsys.rgb_to_hsv(*after / 255)[0] - colorsys.rgb_to_hsv(*before / 255)[0])
    circle = np.exp(2j * np.pi * np.array(turns))
    return float(np.angle(circle.mean()) / (2 * np.pi))


@pytest.mark.parametrize("seed", range(20))
def test_hue_turns_the_colour_circle(seed):
    image = random_image(seed)
    result = only(jitter_probability=1.0, hue=0.25)(np.random.default_rng(seed), image)
    shift = hue_shift(result, image)
    assert abs(shift) <= 0.25 + 0.01
    errors = []
    for before, after in zip(image.reshape(-1, 3), result.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before / 255)
        expected = np.array(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)) * 255
        errors.append(np.abs(after - expected).max())
        assert abs(int(after.max()) - int(before.max())) <= 1
    # Eight-bit hues come in steps of two degrees, one of which is 8.5 grey levels at full colour.
    assert max(errors) <= 15
    assert np.mean(errors) <= 5


def test_hue_keeps_gray_pixels():
    image = random_image(4)
    image[:6] = image[:6, :, :1]
    for result in results(only(jitter_probability=1.0, hue=0.25), image, 20):
        assert np.array_equal(result[:6], image[:6])


def test_grayscale_gives_the_luma_in_all_channels():
    image = random_image(5)
    result = only(grayscale_probability=1.0)(np.random.default_rng(0), image)
    assert (result == result[..., :1]).all()
    assert np.abs(result[..., 0] - luma(image)).max() <= 1


def assert_uniform(values, low, high):
    """Quartiles and both ends of many draws, within 3% of the range."""
    allowed = 0.03 * (high - low)
    quartiles = low + (high - low) * np.array([0.25, 0.5, 0.75])
    assert np.abs(np.quantile(values, [0.25, 0.5, 0.75]) - quartiles).max() < allowed
    assert low - allowed / 3 < min(values) < low + allowed
    assert high - allowed < max(values) < high + allowed / 3


def test_brightness_factors_are_uniform():
    image = np.full((1, 1, 3), 150, np.uint8)
    drawn = results(only(jitter_probability=1.0, brightness=0.5), image, 4000)
    assert_uniform([result[0, 0, 0] / 150 for result in drawn], 0.5, 1.5)


def test_contrast_factors_are_uniform():
    image = np.array([[[70, 70, 70], [190, 190, 190]]], np.uint8)
    drawn = results(only(jitter_probability=1.0, contrast=0.5), image, 4000)
    assert_uniform([(int(result[0, 1, 0]) - int(result[0, 0, 0])) / 120 for result in drawn], 0.5, 1.5)


def test_saturation_factors_are_uniform():
    image = np.array([[[190, 90, 70]]], np.uint8)
    drawn = results(only(jitter_probability=1.0, saturation=0.5), image, 4000)
    assert_uniform([(int(result[0, 0, 0]) - int(result[0, 0, 2])) / 120 for result in drawn], 0.5, 1.5)


@pytest.mark.nightly
def test_hue_shifts_are_uniform():
    image = np.array([[[250, 10, 10]]], np.uint8)
    drawn = results(only(jitter_probability=1.0, hue=0.25), image, 4000)
    assert_uniform([hue_shift(result, image) for result in drawn], -0.25, 0.25)


def test_blur_sigmas_are_uniform():
    image = np.zeros((3, 40, 3), np.uint8)
    image[:, 20:] = 255
    offsets = np.arange(39) - 19
    sigmas = []
    for result in results(only(blur_probability=1.0, blur_sigma=(1.0, 3.0)), image, 3000):
        # An edge's differences are the blur's weights.
        weights = np.diff(result[1, :, 0].astype(float)) / 255
        sigmas.append(np.sqrt((weights * offsets**2).sum()))
    assert_uniform(sigmas, 1.0, 3.0)


def share_changed(augmentation, image, count=3000):
    return np.mean([not np.array_equal(result, image) for result in results(augmentation, image, count)])


@pytest.mark.parametrize("probability", [0.2, 0.8])
def test_share_of_each_change_is_its_probability(probability):
    # Values that the smallest drawn change still moves, but for one draw in a few hundred.
    image = np.array([[[250, 10, 10], [5, 100, 240]]], np.uint8)
    for change in (
        only(jitter_probability=probability, brightness=0.5),
        only(grayscale_probability=probability),
        only(blur_probability=probability, blur_sigma=(1.0, 2.0)),
    ):
        assert abs(share_changed(change, image) - probability) < 0.04


def test_grayscale_share_of_the_published_settings_is_a_fifth():
    image = random_image(7, 3, 3)
    drawn = results(StrongAugmentation(jitter_probability=0.0), image, 3000)
    assert abs(np.mean([(result == result[..., :1]).all() for result in drawn]) - 0.2) < 0.035


def test_changes_are_drawn_independently_of_each_other():
    augmentation = only(grayscale_probability=0.5, blur_probability=0.5, blur_sigma=(1.0, 2.0))
    # Top rows of one colour are only turned gray; at the bottom a blur mixes light and dark.
    image = np.zeros((40, 8, 3), np.uint8)
    image[:20] = (200, 40, 90)
    image[20:, ::2] = 255
    counts = np.zeros((2, 2))
    for result in results(augmentation, image, 2000):
        counts[int(result[0, 0, 0] == result[0, 0, 1]), int(result[-1, 0, 0] < 250)] += 1
    assert np.abs(counts / 2000 - 0.25).max() < 0.05


def test_jitter_changes_come_in_random_order():
    # Half black, half white: brightness and contrast do not commute where one clips. Of a factor above 1 and a
    # contrast below 1, brightness first gives low + high = 255 and contrast first a larger sum.
    image = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    brightness_first = contrast_first = 0
    for result in results(only(jitter_probability=1.0, brightness=0.5, contrast=0.5), image, 3000):
        low, high = int(result[0, 0, 0]), int(result[0, 1, 0])
        if low > 3:
            brightness_first += abs(low + high - 255) <= 1
            contrast_first += low + high > 258
    assert abs(brightness_first / 3000 - 0.125) < 0.035
    assert abs(contrast_first / 3000 - 0.125) < 0.035


def test_colours_change_first_then_they_are_dropped_then_comes_the_blur():
    image, order, amounts = random_image(0), (2, 3, 0, 1), (1.4, 0.6, 1.5, 0.2)
    parts = (Change(order, amounts, False, 0.0), Change((), amounts, True, 0.0), Change((), amounts, False, 1.5))

    def one_by_one(*which):
        result = image
        for position in which:
            result = parts[position].apply(result)
        return result

    found = Change(order, amounts, True, 1.5).apply(image)
    assert np.array_equal(found, one_by_one(0, 1, 2))
    for other in ((1, 0, 2), (0, 2, 1), (2, 0, 1)):
        assert not np.array_equal(found, one_by_one(*other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hue": 0.6}, r"^hue=0.6: must be 0 to 0.5$"),
        ({"brightness": -0.1}, r"^brightness=-0.1: must be 0 to 1$"),
        ({"saturation": float("nan")}, r"^saturation=nan: must be 0 to 1$"),
        ({"blur_probability": 2.0}, r"^blur_probability=2.0: must be a probability"),
        ({"blur_sigma": (0, 0)}, r"^blur_sigma=\[0, 0\]: must be the lowest and the highest"),
        ({"blur_sigma": (1,)}, r"^blur_sigma=\[1\]: must be the lowest and the highest"),
        ({"blur_sigma": (1, 2, 3)}, r"^blur_sigma=\[1, 2, 3\]: must be the lowest and the highest"),
        ({"blur_sigma": (1, float("inf"))}, r"^blur_sigma=\[1, inf\]: must be the lowest and the highest"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        StrongAugmentation(**options)


def torchvision_like(image, brightness, contrast, saturation, order):
    """Blends as torchvision has them, in floats, rounded and clipped after each."""
    image = image.astype(float)
    for which in order:
        if which == 0:
            image = brightness * image
        elif which == 1:
            image = contrast * image + (1 - contrast) * luma(image).mean()
        else:
            image = saturation * image + (1 - saturation) * luma(image)[..., None]
        image = image.clip(0, 255).round()
    return image


@pytest.mark.parametrize("seed", range(12))
def test_blends_in_a_row_are_torchvisions(seed):
    image = random_image(seed, 20, 30)
    result = only(jitter_probability=1.0, brightness=0.5, contrast=0.5, saturation=0.5)(
        np.random.default_rng(seed), image
    )
    rng = np.random.default_rng(seed)
    rng.random()
    factors = [rng.uniform(0.5, 1.5) for _ in range(3)]
    rng.uniform(0.0, 0.0)
    order = [which for which in rng.permutation(4) if which < 3]
    # The weights have ten bits, and each change passes on and adds to the rounding of the one before.
    difference = np.abs(result - torchvision_like(image, *factors, order))
    assert difference.max() <= 3
    assert difference.mean() <= 0.5


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
@property_test
def test_padding_is_left_out_of_the_work_and_not_of_the_result(height, width, seed):
    image = np.zeros((20, 20, 3), np.uint8)
    shown = (slice(height), slice(20 - width, None))
    image[shown] = random_image(seed, height, width)
    whole = StrongAugmentation(jitter_probability=1.0)(np.random.default_rng(seed), image)
    part = StrongAugmentation(jitter_probability=1.0)(np.random.default_rng(seed), image, shown)
    assert np.abs(whole.astype(int) - part).max() <= 1
