from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits

from unimatch.data import digits
from unimatch.data.sets.digits import DigitScenes, compose_scene, digit_part
from unimatch.errors import ConfigError


def pixels(strokes):
    """Each digit's 64 values as they lie in the source, 0-16."""
    return [tuple(np.rint(stroke.ravel() * 16).astype(int).tolist()) for stroke in strokes]


def all_pairs(source):
    return [(source.image(i), source.mask(i)) for i in range(len(source))]


def test_training_and_validation_digits_divide_the_source_data():
    dataset = load_digits()
    train, val = digit_part(validation=False), digit_part(validation=True)
    for strokes, values in (train, val):
        assert len(strokes) == len(values)
        assert set(values.tolist()) == set(range(10))
    assert not set(pixels(train[0])) & set(pixels(val[0]))
    assert len(val[0]) == 449  # a quarter of 1,797
    labelled = Counter(zip(pixels(dataset.images / 16), dataset.target.tolist(), strict=True))
    used = Counter()
    for strokes, values in (train, val):
        used.update(zip(pixels(strokes), values.tolist(), strict=True))
    assert used == labelled


def test_scenes_are_a_function_of_seed_and_index():
    first = all_pairs(DigitScenes(range(6), 32, 3, validation=False))
    again = DigitScenes(range(6), 32, 3, validation=False)
    for i in reversed(range(6)):  # the order of asking must not matter
        assert np.array_equal(again.image(i), first[i][0])
        assert np.array_equal(again.mask(i), first[i][1])
    # More scenes begin with the same ones.
    assert np.array_equal(DigitScenes(range(60), 32, 3, validation=False).image(5), first[5][0])
    assert len({image.tobytes() for image, _ in first}) == 6
    other = DigitScenes(range(6), 32, 4, validation=False)
    assert not any(np.array_equal(other.image(i), first[i][0]) for i in range(6))
    validation = DigitScenes(range(6), 32, 3, validation=True)
    assert not any(np.array_equal(validation.image(i), first[i][0]) for i in range(6))
    # Not even their backgrounds are the same.
    for i, (image, mask) in enumerate(first):
        empty = (mask == 0) & (validation.mask(i) == 0)
        assert (validation.image(i)[empty] == image[empty]).mean() < 0.2


def test_labeled_and_unlabeled_scenes_make_up_the_training_scenes():
    data = digits(labeled=5, train=20, val=4, size=32)
    assert (len(data.labeled), len(data.unlabeled), len(data.val)) == (5, 15, 4)
    assert data.test is None
    everything = digits(labeled=None, train=20, val=4, size=32)
    assert len(everything.unlabeled) == 0
    parts = {image.tobytes() for source in (data.labeled, data.unlabeled) for image, _ in all_pairs(source)}
    assert parts == {image.tobytes() for image, _ in all_pairs(everything.labeled)}
    assert len(parts) == 20
    names = [source.name(i) for source in (data.labeled, data.unlabeled) for i in range(len(source))]
    assert sorted(names) == sorted(f"digits/train/{i}" for i in range(20))
    assert data.val.name(3) == "digits/val/3"


def test_labeled_scenes_are_nested_and_seeded():
    def names(**settings):
        source = digits(train=30, val=1, size=32, **settings).labeled
        return {source.name(i) for i in range(len(source))}

    assert names(labeled=4) < names(labeled=9)
    assert names(labeled=4) == names(labeled=4)
    assert len({frozenset(names(labeled=4, split_seed=seed)) for seed in range(10)}) > 8


def test_scenes_are_rgb_with_every_class():
    data = digits(labeled=None, train=40, val=40)
    for source in (data.labeled, data.val):
        classes = set()
        for image, mask in all_pairs(source):
            assert (image.shape, image.dtype) == ((48, 48, 3), np.uint8)
            assert (mask.shape, mask.dtype) == ((48, 48), np.uint8)
            present = set(np.unique(mask).tolist())
            assert 0 in present
            assert 2 <= len(present) <= 5  # background and at most four digits
            classes |= present
        assert classes == set(range(11))
    assert data.info.num_classes == 11


def test_mask_marks_the_bright_pixels_of_its_digit():
    # A full square of ink as the only digit: the mask and the brightness must show the same place.
    strokes, values = np.ones((1, 8, 8), np.float32), np.array([6])
    for seed in range(20):
        image, mask = compose_scene(np.random.default_rng(seed), 48, strokes, values)
        assert set(np.unique(mask)) == {0, 7}
        brightness = image.min(axis=2)
        # The background ends at 110, ink starts at 180, and the noise has a standard deviation of 4.
        assert (brightness[mask == 7] > 110).mean() > 0.97
        assert (brightness[mask == 0] < 135).mean() > 0.97


def test_no_ink_leaves_only_background():
    _, mask = compose_scene(np.random.default_rng(0), 48, np.zeros((1, 8, 8), np.float32), np.array([3]))
    assert not mask.any()


def test_size_of_scenes_is_as_asked():
    data = digits(labeled=2, train=4, val=2, size=57)
    assert data.labeled.image(0).shape == (57, 57, 3)
    assert data.val.mask(1).shape == (57, 57)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 31}, r"size=31.*at least 32"),
        ({"train": 0}, r"train=0.*needed"),
        ({"val": 0}, r"val=0.*needed"),
        ({"labeled": 0}, r"labeled=0: at least one"),
        ({"labeled": 31, "train": 30}, r"labeled=31: .* only 30"),
    ],
)
def test_impossible_numbers_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        digits(**settings)
