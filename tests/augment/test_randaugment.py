import numpy as np
import pytest
from PIL import Image

from unimatch import ConfigError
from unimatch.augment.randaugment import CHANGES, GREY, RandAugment


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)


def test_the_changes_are_the_published_ones():
    # FixMatch, table 12: fourteen changes, with these ranges.
    assert len(CHANGES) == 14
    ranges = {name: (low, high) for name, (low, high, _) in CHANGES.items()}
    for name in ("brightness", "color", "contrast", "sharpness"):
        assert ranges[name] == (0.05, 0.95)
    for name in ("shear_x", "shear_y", "translate_x", "translate_y"):
        assert ranges[name] == (-0.3, 0.3)
    assert ranges["rotate"] == (-30, 30)
    assert ranges["posterize"] == (4, 8)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_keeps_shape_and_input(name, image):
    before = image.copy()
    for seed in range(5):
        changed = RandAugment(1, [name], cutout=0)(np.random.default_rng(seed), image)
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        assert np.array_equal(changed, image) or name != "identity"
    assert np.array_equal(image, before)


def apply(name, image, strength):
    return np.asarray(CHANGES[name][2](Image.fromarray(image), strength))


def test_changes_do_what_their_names_say(image):
    assert np.array_equal(apply("translate_x", image, 0.25)[:, :-5], image[:, 5:])
    assert (apply("translate_x", image, 0.25)[:, -5:] == GREY).all()
    assert np.array_equal(apply("translate_y", image, -0.25)[5:], image[:-5])
    assert np.array_equal(apply("rotate", image, 0.0), image)
    assert np.array_equal(apply("shear_x", image, 0.0), image)
    np.testing.assert_allclose(apply("brightness", image, 0.5), image * 0.5, atol=1)
    assert np.array_equal(apply("posterize", image, 4.7), image & 0xF0)
    assert np.array_equal(apply("solarize", image, 128.0), np.where(image < 128, image, 255 - image))
    grey = apply("color", image, 0.0)
    assert np.ptp(grey, axis=2).max() == 0
    assert (
        np.abs(apply("contrast", image, 0.05).astype(int) - apply("contrast", image, 0.0)[0, 0].astype(int)).max() < 9
    )


def test_a_square_is_cut_out(image):
    sides = []
    for seed in range(200):
        changed = RandAugment(0, cutout=0.5)(np.random.default_rng(seed), image)
        grey = (changed == GREY).all(2)
        assert np.array_equal(changed[~grey], image[~grey])
        rows, columns = np.flatnonzero(grey.any(1)), np.flatnonzero(grey.any(0))
        if len(rows):
            assert grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            sides.append(max(len(rows), len(columns)))
    assert max(sides) in (8, 9)
    assert np.array_equal(RandAugment(0, cutout=0)(np.random.default_rng(0), image), image)


def test_a_view_is_a_function_of_its_generator(image):
    views = [RandAugment()(np.random.default_rng(seed), image) for seed in (0, 0, 1)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changes": ["invert"]}, "invert"),
        ({"changes": []}, "choose from"),
        ({"count": -1}, "count=-1"),
        ({"cutout": 2.0}, "cutout=2.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        RandAugment(**options)
