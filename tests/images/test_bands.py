"""What bands mean: values to levels and back to pictures."""

import json

import numpy as np
import pytest

from unimatch import ConfigError, DataError
from unimatch.images.bands import PHOTOS, Bands


def one_band(**settings) -> Bands:
    return Bands((1,), mean=(0.5,), std=(0.25,), **settings)


@pytest.mark.parametrize(
    ("kind", "high"),
    [(np.uint8, 255), (np.uint16, 4095), (np.int32, 10_000_000), (np.float32, 1.0), (np.float64, 3e-5)],
)
def test_all_levels_come_back_from_values_of_any_type(kind, high):
    wanted = np.arange(256)
    values = (
        (wanted * (high / 255)).astype(kind) if kind in (np.float32, np.float64) else np.rint(wanted * (high / 255))
    )
    levels = one_band(value_range=[(0, high)]).levels(values.astype(kind)[None, :, None], "it")
    assert np.array_equal(levels[0, :, 0], wanted)


def test_values_beyond_the_range_are_cut_off_and_each_band_has_its_own():
    bands = Bands((1, 2), [(-10, 10), (100, 200)], mean=(0, 0), std=(1, 1))
    levels = bands.levels(np.array([[[-99, 100], [0, 140], [99, 201]]], np.int16), "it")
    assert levels.tolist() == [[[0, 0], [128, 102], [255, 255]]]


def test_bands_are_chosen_by_number_and_in_order():
    stored = np.arange(5)[None, None]
    assert Bands((4, 1), mean=(0, 0), std=(1, 1)).choose(stored, "it").tolist() == [[[3, 0]]]
    with pytest.raises(DataError, match=r"it: has 5 band\(s\).*asks for 6"):
        Bands((6,), mean=(0,), std=(1,)).choose(stored, "it")
    with pytest.raises(DataError, match=r"it: has 5 bands, and one or three are read; train"):
        PHOTOS.choose(stored, "it")
    assert PHOTOS.choose(stored[..., :1], "it").tolist() == [[[0, 0, 0]]]  # grey


def test_pixels_without_data_are_zero_and_no_others_are():
    values = np.array([[[0, 7], [7, 0], [7, 7], [8, 8], [9, 9]]], np.uint16)
    bands = Bands((1, 2), [(7, 9)] * 2, no_data=0, mean=(0, 0), std=(1, 1))
    levels = bands.levels(values, "it")
    assert levels.tolist() == [[[0, 0], [0, 0], [1, 1], [128, 128], [255, 255]]]
    assert bands.without_data(levels).tolist() == [[True, True, False, False, False]]
    pair = np.stack([levels, levels[:, ::-1]])  # where one date has none
    assert bands.without_data(pair).tolist() == [[True, True, False, True, True]]
    assert PHOTOS.without_data(levels) is None


@pytest.mark.parametrize("no_data", ["nan", -9999])
def test_values_that_are_not_finite_are_no_data_once_there_is_such_a_thing(no_data):
    values = np.array([[[np.nan], [np.inf], [-9999], [1.0]]], np.float32)
    bands = one_band(value_range=[(0, 1)], no_data=no_data)
    assert bands.levels(values, "it")[0, :, 0].tolist() == [0, 0, 1 if no_data == "nan" else 0, 255]
    with pytest.raises(DataError, match=r"it: 2 values are not finite.*dataset.no_data=nan"):
        one_band(value_range=[(0, 1)]).levels(values, "it")


@pytest.mark.parametrize(
    ("values", "value_range", "message"),
    [
        (np.array([[[7], [4000]]], np.uint16), None, r"stores uint16 from 7 to 4000; .*dataset.value_range=\[LOW"),
        (np.zeros((1, 1, 1), np.float32), None, "stores float32 from 0 to 0"),
        (
            np.zeros((1, 1, 1), np.uint8),
            [(0, 4095)],
            "stores 8 bits, and the training's dataset.value_range goes to 4095",
        ),
        (np.full((1, 1, 1), 9, np.uint8), [(0, 1)], "stores 8 bits, and the training's dataset.value_range goes to 1;"),
        (np.zeros((1, 1, 1), np.complex64), [(0, 1)], "stores complex64"),
    ],
)
def test_files_that_are_not_what_the_settings_say_are_refused(values, value_range, message):
    with pytest.raises(DataError, match=f"it: {message}"):
        one_band(value_range=value_range).levels(values, "it")


@pytest.mark.parametrize(
    "settings",
    [
        {"bands": ()},
        {"bands": (0,)},
        {"bands": ("red",)},
        {"value_range": [(0, 1)]},  # three bands
        {"value_range": [(1, 1)] * 3},
        {"value_range": [(0, float("inf"))] * 3},
        {"mean": (0.5,)},
        {"std": (0, 1, 1)},
        {"no_data": "none"},
        {"no_data": [0]},
        {"shown": (1, 2)},
        {"shown": (1, 2, 4)},
    ],
)
def test_settings_that_cannot_be_are_refused_with_their_name(settings):
    with pytest.raises(ConfigError, match="picture_bands" if "shown" in settings else next(iter(settings))):
        Bands(**settings)


def test_plain_values_make_the_same_bands_again():
    for bands in (PHOTOS, Bands((3, 1), [(0, 1), (2, 3)], "nan", (0.1, 0.2), (1, 2), (3, 1, 1))):
        assert Bands.of(json.loads(json.dumps(bands.plain()))) == bands
        assert hash(Bands.of(bands.plain())) == hash(bands)
    for hostile in ({"stripes": 3}, {"bands": 3}, {"mean": [None] * 3}, {"value_range": ["ab"] * 3}, [1]):
        with pytest.raises(ConfigError, match="cannot be understood"):
            Bands.of(hostile)


def test_pictures_of_red_green_and_blue_show_them_in_the_chosen_order():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(Bands(shown=(3, 1, 2)).picture(image), image[..., [2, 0, 1]])
    assert Bands().picture(image) is image


def test_pictures_show_the_chosen_bands_and_else_the_first():
    image = np.arange(5, dtype=np.uint8)[None, None]
    five = {"mean": (0,) * 5, "std": (1,) * 5}
    assert Bands((1, 2, 3, 4, 5), **five).picture(image).tolist() == [[[0, 1, 2]]]
    assert Bands((11, 12, 13, 14, 15), shown=(14, 13, 11), **five).picture(image).tolist() == [[[3, 2, 0]]]
    assert Bands((7, 8), mean=(0, 0), std=(1, 1)).picture(image[..., :2]).tolist() == [[[0, 1, 1]]]
    photo = image[..., :3]
    assert PHOTOS.picture(photo) is photo


@pytest.mark.parametrize("mean", [128, -0.5, 1.5])
def test_a_mean_of_0_to_255_is_refused(mean):
    with pytest.raises(ConfigError, match="divide what was measured in 0-255, and std, by 255"):
        Bands((1,), mean=(mean,), std=(0.2,))
