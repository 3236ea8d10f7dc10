from dataclasses import replace

import numpy as np
import pytest

from unimatch.data import digits
from unimatch.data.check.fitness import misfits
from unimatch.errors import DataError


class Photos:
    """Images of one size; the first cannot be read."""

    def __init__(self, height, width):
        self.size = (height, width)

    def __len__(self):
        return 7

    def image(self, index):
        if index == 0:
            raise DataError("broken")
        return np.broadcast_to(np.uint8(0), (*self.size, 3))


@pytest.fixture(scope="module")
def scenes():
    return digits(labeled=4, train=24, val=12)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"steps": 1000, "ema_decay": None}, []),
        ({"steps": 999}, ["999 steps"]),
        ({"steps": 1000, "ema_decay": 0.996}, []),  # 250 steps behind
        ({"steps": 1200, "ema_decay": 0.999}, ["method.ema_decay=0.999: the teacher lags about 1000 steps behind"]),
        ({"steps": 60, "ema_decay": 0.99}, ["60 steps", "method.ema_decay=0.99"]),
        ({"crop": 48}, []),
    ],
)
def test_settings_that_do_not_fit_are_named(scenes, settings, expected):
    found = misfits(scenes, **settings)
    assert len(found) == len(expected)
    assert all(text in sentence for text, sentence in zip(expected, found, strict=True))


def test_a_class_for_each_image_is_learned_in_fewer_steps(scenes):
    classes = replace(scenes, one_class=True)
    assert misfits(classes, steps=400) == []
    assert "399 steps, and fewer than about 400" in misfits(classes, steps=399)[0]


@pytest.mark.parametrize(
    ("size", "crop", "scale", "shown"),
    [
        ((3000, 4000), 256, (0.5, 2.0), "0.3%"),  # 204.8² of 12 million
        ((3000, 4000), 256, (0.1, 0.4), None),
        ((1080, 1920), 256, (1.0, 1.0), None),
        ((1080, 1920), 200, (1.0, 1.0), "1.9%"),
        ((375, 500), 518, (0.5, 2.0), None),
    ],
)
def test_a_view_must_show_more_than_a_sliver(scenes, size, crop, scale, shown):
    found = misfits(replace(scenes, labeled=Photos(*size)), crop=crop, scale=scale)
    assert len(found) == (shown is not None)
    if shown:
        assert (
            f"datamodule.crop={crop}: a view shows about {shown} of an image of {size[1]} x {size[0]} pixels"
            in found[0]
        )


@pytest.mark.parametrize(
    ("size", "crop", "scale", "filled"),
    [
        ((375, 500), 4000, (0.5, 2.0), "4.7%"),  # 750 x 1000 of 16 million
        ((375, 500), 2800, (0.5, 2.0), "9.6%"),
        ((375, 500), 2700, (0.5, 2.0), None),
        ((100, 3000), 1250, (1.0, 1.0), "8.0%"),  # 100 rows of 1250
        ((256, 256), 512, (1.0, 1.0), None),
    ],
)
def test_a_view_must_not_be_mostly_padding(scenes, size, crop, scale, filled):
    found = misfits(replace(scenes, labeled=Photos(*size)), crop=crop, scale=scale)
    assert len(found) == (filled is not None)
    if filled:
        said = f"datamodule.crop={crop}: an image of {size[1]} x {size[0]} pixels fills {filled} of a view at most"
        assert found[0].startswith(said)


def test_few_validation_images_are_named():
    (text,) = misfits(digits(labeled=4, train=12, val=9))
    assert text.startswith("9 validation images")
