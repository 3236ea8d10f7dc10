import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch import ConfigError
from unimatch.augment.geometry import Geometry, ScaledCrop, draw_geometry

IGNORED = 255

# One colour for each class id of the drawn masks, far apart in every channel.
PALETTE = np.array([(20, 230, 60), (220, 30, 120), (90, 110, 250), (160, 180, 10)], np.uint8)

property_test = settings(max_examples=100, deadline=None, derandomize=True)

sizes = st.integers(1, 60)
crops = st.integers(1, 48)
scales = st.tuples(st.floats(0.1, 3.0), st.floats(0.1, 3.0)).map(lambda pair: (min(pair), max(pair)))
seeds = st.integers(0, 2**32 - 1)


def block_mask(seed, height, width, ignored=False):
    """Random rectangles of the classes 0-3 (and of 255)."""
    rng = np.random.default_rng(seed)
    mask = np.full((height, width), rng.integers(len(PALETTE)), np.uint8)
    for _ in range(4):
        top, left = rng.integers(height), rng.integers(width)
        bottom, right = rng.integers(top, height) + 1, rng.integers(left, width) + 1
        mask[top:bottom, left:right] = rng.integers(len(PALETTE))
    if ignored:
        mask[rng.integers(height), rng.integers(width)] = IGNORED
    return mask


def paint(mask):
    return np.where((mask == IGNORED)[..., None], np.uint8(128), PALETTE[np.minimum(mask, len(PALETTE) - 1)])


def source_pixel(geometry, row, column):
    """The resized image's pixel that a view's pixel shows; None where the view is padded."""
    if geometry.flip:
        column = geometry.crop - 1 - column
    row, column = row + geometry.top, column + geometry.left
    return (row, column) if row < geometry.height and column < geometry.width else None


def neighbourhood(position, target, source):
    """The source pixels that may lend their colour to one target pixel, along one axis."""
    ratio = source / target
    centre, reach = (position + 0.5) * ratio - 0.5, max(ratio, 1.0)
    return slice(max(0, math.floor(centre - reach)), min(source, math.ceil(centre + reach) + 1))


@given(sizes, sizes, crops, st.sampled_from([0.0, 0.5, 1.0]), seeds)
@property_test
def test_without_resizing_view_is_an_exact_flipped_and_padded_cut(height, width, crop, flip, seed):
    mask = block_mask(seed, height, width)
    geometry = draw_geometry(np.random.default_rng(seed), height, width, crop=crop, scale=(1.0, 1.0), flip=flip)
    assert (geometry.height, geometry.width) == (height, width)
    view, mask_view = geometry.apply_to_image(paint(mask)), geometry.apply_to_mask(mask)
    for row in range(crop):
        for column in range(crop):
            source = source_pixel(geometry, row, column)
            expected_id = IGNORED if source is None else mask[source]
            expected_color = (0, 0, 0) if source is None else PALETTE[mask[source]]
            assert mask_view[row, column] == expected_id
            assert tuple(view[row, column]) == tuple(expected_color)


@given(sizes, sizes, st.integers(1, 24), scales, st.booleans(), seeds)
@property_test
def test_image_and_mask_stay_aligned_under_resizing(height, width, crop, scale, flip, seed):
    mask = block_mask(seed, height, width)
    geometry = draw_geometry(np.random.default_rng(seed), height, width, crop=crop, scale=scale, flip=float(flip))
    view, mask_view = geometry.apply_to_image(paint(mask)), geometry.apply_to_mask(mask)
    for row in range(crop):
        for column in range(crop):
            source = source_pixel(geometry, row, column)
            if source is None:
                continue
            around = mask[
                neighbourhood(source[0], geometry.height, height), neighbourhood(source[1], geometry.width, width)
            ]
            if (around == around[0, 0]).all():
                assert mask_view[row, column] == around[0, 0]
                assert np.abs(view[row, column].astype(int) - PALETTE[around[0, 0]]).max() <= 1


@given(sizes, sizes, crops, scales, st.booleans(), st.booleans(), seeds)
@property_test
def test_mask_view_invents_no_class(height, width, crop, scale, flip, ignored, seed):
    mask = block_mask(seed, height, width, ignored)
    geometry = draw_geometry(np.random.default_rng(seed), height, width, crop=crop, scale=scale, flip=float(flip))
    assert set(np.unique(geometry.apply_to_mask(mask))) <= {*np.unique(mask), IGNORED}


@given(sizes, sizes, crops, scales, st.booleans(), seeds)
@property_test
def test_padding_is_invalid_black_and_ignored(height, width, crop, scale, flip, seed):
    mask = block_mask(seed, height, width)
    geometry = draw_geometry(np.random.default_rng(seed), height, width, crop=crop, scale=scale, flip=float(flip))
    valid = geometry.valid()
    assert valid.shape == (crop, crop)
    assert valid.dtype == np.bool_
    for row in range(crop):
        for column in range(crop):
            assert valid[row, column] == (source_pixel(geometry, row, column) is not None)
    # No colour of the palette is black in any channel and no class is 255, so both views show their padding.
    assert np.array_equal(geometry.apply_to_mask(mask) == IGNORED, ~valid)
    assert np.array_equal((geometry.apply_to_image(paint(mask)) == 0).all(axis=2), ~valid)


@given(sizes, sizes, crops, scales, st.floats(0.0, 1.0), seeds)
@property_test
def test_view_is_crop_by_crop_and_inputs_stay(height, width, crop, scale, flip, seed):
    mask = block_mask(seed, height, width)
    image = paint(mask)
    mask_before, image_before = mask.copy(), image.copy()
    geometry = draw_geometry(np.random.default_rng(seed), height, width, crop=crop, scale=scale, flip=flip)
    view, mask_view = geometry.apply_to_image(image), geometry.apply_to_mask(mask)
    assert (view.shape, view.dtype) == ((crop, crop, 3), np.uint8)
    assert (mask_view.shape, mask_view.dtype) == ((crop, crop), np.uint8)
    assert np.array_equal(image, image_before)
    assert np.array_equal(mask, mask_before)


@given(sizes, sizes, crops, scales, seeds)
@property_test
def test_drawn_geometry_obeys_its_limits(height, width, crop, scale, seed):
    geometry = draw_geometry(np.random.default_rng(seed), height, width, crop=crop, scale=scale, flip=0.5)
    long_side, new_long = max(height, width), max(geometry.height, geometry.width)
    assert max(1, math.floor(long_side * scale[0] - 1e-9)) <= new_long <= max(1, long_side * scale[1])
    # The short side keeps the ratio, to the nearest whole pixel and at least one.
    ratio = new_long / long_side
    for new, old in ((geometry.height, height), (geometry.width, width)):
        assert new >= 1
        assert abs(new - max(1.0, old * ratio)) <= 0.5 + 1e-9
    # The window lies inside, or starts at 0 where the image is smaller.
    for start, length in ((geometry.top, geometry.height), (geometry.left, geometry.width)):
        assert 0 <= start <= max(length - crop, 0)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
@property_test
def test_mask_takes_the_nearest_pixel_by_centres(height, width, new_height, new_width):
    # 12 x 12 pixels fit into 144 different ids.
    mask = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    crop = max(new_height, new_width)
    view = Geometry(new_height, new_width, 0, 0, False, crop).apply_to_mask(mask)
    for row in range(new_height):
        for column in range(new_width):
            source_row, source_column = divmod(int(view[row, column]), width)
            # A centre on the border between two pixels may take either.
            assert abs(source_row + 0.5 - (row + 0.5) * height / new_height) <= 0.5 + 1e-9
            assert abs(source_column + 0.5 - (column + 0.5) * width / new_width) <= 0.5 + 1e-9


@given(st.integers(2, 14), st.integers(2, 14), st.integers(0, 14), st.integers(0, 14), seeds)
@property_test
def test_enlarging_interpolates_between_pixel_centres(height, width, more_height, more_width, seed):
    new_height, new_width = height + more_height, width + more_width
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    view = Geometry(new_height, new_width, 0, 0, False, max(new_height, new_width)).apply_to_image(image)
    for row in range(new_height):
        y = min(max((row + 0.5) * height / new_height - 0.5, 0), height - 1)
        above, part_below = int(y), y - int(y)
        below = min(above + 1, height - 1)
        for column in range(new_width):
            x = min(max((column + 0.5) * width / new_width - 0.5, 0), width - 1)
            left, part_right = int(x), x - int(x)
            right = min(left + 1, width - 1)
            upper = image[above, left] * (1 - part_right) + image[above, right] * part_right
            lower = image[below, left] * (1 - part_right) + image[below, right] * part_right
            expected = upper * (1 - part_below) + lower * part_below
            # The interpolation has weights of a few bits.
            assert np.abs(view[row, column] - expected).max() <= 1.5


@given(st.integers(2, 20), st.integers(2, 20), st.data())
@property_test
def test_shrinking_is_a_triangle_over_the_covered_pixels(height, width, data):
    new_height = data.draw(st.integers(1, height - 1))
    new_width = data.draw(st.integers(1, width))
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    view = Geometry(new_height, new_width, 0, 0, False, max(new_height, new_width)).apply_to_image(image)

    def triangle(position, target, source):
        centre, reach = (position + 0.5) * source / target, max(source / target, 1.0)
        return [max(0.0, 1 - abs(pixel + 0.5 - centre) / reach) for pixel in range(source)]

    for row in range(new_height):
        for column in range(new_width):
            weights = np.outer(triangle(row, new_height, height), triangle(column, new_width, width))
            expected = (image * weights[..., None]).sum((0, 1)) / weights.sum()
            assert np.abs(view[row, column] - expected).max() <= 1.5


@given(sizes, sizes, st.integers(1, 12), st.integers(1, 12), seeds)
@property_test
def test_a_window_is_that_of_the_whole_image_resized(height, width, new_height, new_width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = Geometry(new_height, new_width, 0, 0, False, max(new_height, new_width)).apply_to_image(image)
    for top in range(0, new_height, 3):
        for left in range(0, new_width, 2):
            view = Geometry(new_height, new_width, top, left, False, 3).apply_to_image(image)
            expected = whole[top : top + 3, left : left + 3][: new_height - top, : new_width - left].astype(int)
            assert np.abs(view[: expected.shape[0], : expected.shape[1]] - expected).max() <= 1


@given(sizes, sizes, crops, scales, seeds)
@property_test
def test_flip_mirrors_the_unflipped_view(height, width, crop, scale, seed):
    image = paint(block_mask(seed, height, width))
    drawn = draw_geometry(np.random.default_rng(seed), height, width, crop=crop, scale=scale, flip=0.0)
    flipped = Geometry(drawn.height, drawn.width, drawn.top, drawn.left, True, crop)
    assert np.array_equal(flipped.apply_to_image(image), drawn.apply_to_image(image)[:, ::-1])
    assert np.array_equal(flipped.valid(), drawn.valid()[:, ::-1])


@pytest.mark.parametrize(("height", "width"), [(10, 8), (8, 10)])
def test_long_side_is_uniform_over_the_whole_range(height, width):
    rng = np.random.default_rng(0)
    drawn = [draw_geometry(rng, height, width, crop=4, scale=(0.5, 2.0), flip=0.5) for _ in range(8000)]
    lengths = [max(geometry.height, geometry.width) for geometry in drawn]
    counts = np.bincount(lengths, minlength=21)
    assert counts[:5].sum() == 0
    assert len(counts) == 21
    # 16 lengths from 5 to 20, 500 draws each; 5 standard deviations are 108.
    assert np.abs(counts[5:] - 500).max() < 110
    assert all((geometry.height > geometry.width) == (height > width) for geometry in drawn)


def test_window_is_uniform_over_all_positions():
    rng = np.random.default_rng(1)
    drawn = [draw_geometry(rng, 9, 12, crop=5, scale=(1.0, 1.0), flip=0.5) for _ in range(8000)]
    counts = np.zeros((5, 8))
    for geometry in drawn:
        counts[geometry.top, geometry.left] += 1
    assert np.abs(counts - 200).max() < 75


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_share_of_flips_is_the_probability(probability):
    rng = np.random.default_rng(2)
    drawn = [draw_geometry(rng, 6, 6, crop=3, scale=(0.5, 2.0), flip=probability) for _ in range(4000)]
    share = np.mean([geometry.flip for geometry in drawn])
    assert share == probability if probability in (0.0, 1.0) else abs(share - probability) < 0.04


def test_geometry_is_a_function_of_the_generator():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return [draw_geometry(rng, 40, 50, crop=20, scale=(0.5, 2.0), flip=0.5) for _ in range(5)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_shrinking_one_side_alone_averages():
    image = np.zeros((1, 60, 3), np.uint8)
    image[:, ::3] = 255
    view = Geometry(height=1, width=20, top=0, left=0, flip=False, crop=20).apply_to_image(image)
    assert np.all(np.abs(view[0, 1:-1].astype(int) - 85) <= 1)


def test_a_crop_of_one_pixel_can_be_flipped_and_made_a_tensor():
    geometry = Geometry(height=3, width=3, top=1, left=2, flip=True, crop=1)
    image = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert torch.from_numpy(geometry.apply_to_image(image)).tolist() == [[[15, 16, 17]]]
    assert torch.from_numpy(geometry.valid()).tolist() == [[True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, r"^flip=1\.5: must be a probability"),
        ({"scale": (0.0, 1.0)}, r"^scale=\[0\.0, 1\.0\]: must be the lowest and the highest"),
        ({"scale": (2.0, 0.5)}, r"^scale=\[2\.0, 0\.5\]"),
        ({"scale": (1.0,)}, r"^scale=\[1\.0\]"),
        ({"scale": (0.5, float("inf"))}, r"^scale=\[0\.5, inf\]"),
    ],
)
def test_impossible_numbers_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ScaledCrop(**options)


def test_the_defaults_are_the_published_ones():
    assert ScaledCrop() == ScaledCrop(scale=(0.5, 2.0), flip=0.5)
