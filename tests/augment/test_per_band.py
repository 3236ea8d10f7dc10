"""Views of images whose bands are not red, green and blue."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unimatch.augment import PaddedCrop, RandAugment, ScaledCrop, StrongAugmentation, Views
from unimatch.augment import per_band as module
from unimatch.augment.blur import blur_kernel
from unimatch.augment.per_band import BandAugmentation, jitter_table
from unimatch.augment.randaugment import CHANGES
from unimatch.images.bands import Bands

FIVE = Bands((1, 2, 3, 4, 5), mean=(0.5,) * 5, std=(0.2,) * 5)
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 5), dtype=np.uint8)


@pytest.mark.parametrize("weak", [ScaledCrop(), ScaledCrop((0.3, 0.5)), ScaledCrop((2.0, 2.0)), PaddedCrop()])
def test_weak_views_of_bands_are_those_of_a_photo_band_by_band(weak):
    for seed in range(8):
        photo, bands, pair = (
            weak.cut(np.random.default_rng(seed), image, None, 32)
            for image in (IMAGE[..., :3], IMAGE, np.stack([IMAGE, 255 - IMAGE]))
        )
        assert np.array_equal(photo.image, bands.image[..., :3])
        assert np.array_equal(photo.valid, bands.valid)
        assert np.array_equal(pair.image[0], bands.image)
        assert pair.image.shape == (2, 32, 32, 5)


def slow_jitter(plane, brightness, contrast, contrast_first):
    result = plane.astype(float)
    for change in ("contrast", "brightness") if contrast_first else ("brightness", "contrast"):
        base = result.mean() if change == "contrast" else 0
        factor = contrast if change == "contrast" else brightness
        result = np.clip(np.rint(base + factor * (result - base)), 0, 255)
    return result


@pytest.mark.parametrize("contrast_first", [False, True])
def test_a_band_is_brightened_and_contrasted_around_its_own_mean(contrast_first):
    plane = IMAGE[..., 3]
    table = jitter_table(plane, 1.4, 0.6, contrast_first)
    assert np.array_equal(table[plane], slow_jitter(plane, 1.4, 0.6, contrast_first))


def test_bands_are_changed_by_factors_of_their_own():
    flat = np.full((4, 4, 6), 100, np.uint8)
    view = BandAugmentation(contrast=0.0, jitter_probability=1.0, blur_probability=0.0)
    changed = view(np.random.default_rng(0), flat)
    assert changed.shape == flat.shape
    assert len(np.unique(changed)) == 6
    assert np.all(changed == changed[0, 0])
    assert np.all((changed >= 50) & (changed <= 150))


def test_padding_has_no_part_in_a_bands_mean():
    image = np.zeros((8, 8, 1), np.uint8)
    image[:4] = 100
    view = BandAugmentation(brightness=0.0, jitter_probability=1.0, blur_probability=0.0)
    changed = view(np.random.default_rng(1), image, (slice(4), slice(None)))
    assert np.all(changed[:4] == 100)  # equal to its mean


def test_blur_is_that_of_photos_band_by_band():
    view = BandAugmentation(jitter_probability=0.0, blur_probability=1.0, blur_sigma=(1.5, 1.5))
    blurred = view(np.random.default_rng(0), IMAGE)
    photo = StrongAugmentation(0, 0, 0, 0, 0, 0, 1.0, (1.5, 1.5))(np.random.default_rng(0), IMAGE[..., :3].copy())
    assert np.array_equal(blurred[..., :3], photo)
    assert len(blur_kernel(1.5)) < 40


def test_views_choose_what_fits_the_bands():
    strong = StrongAugmentation(0.1, 0.2, 0.3, 0.1, 0.4, 0.5, 0.6, (1.0, 1.5))
    assert Views(32, strong=strong).strong is strong
    assert Views(32, strong=strong, bands=FIVE).strong == BandAugmentation(0.1, 0.2, 0.4, 0.6, (1.0, 1.5))
    assert Views(32, strong=strong, bands=Bands(value_range=[(0, 4095)] * 3)).strong is strong


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_change_of_randaugment_can_be_made_of_any_bands(count):
    image = IMAGE[..., :count]
    for name in CHANGES:
        changed = RandAugment(1, [name], 0.0).for_bands()(np.random.default_rng(3), image)
        assert changed.shape == image.shape
    whole = RandAugment(2).for_bands()(np.random.default_rng(0), image)
    assert whole.dtype == np.uint8


def test_pixels_without_data_count_as_padding_does():
    image = IMAGE.clip(1)
    image[:20] = 0
    label = np.zeros((40, 50), np.uint8)
    bands = Bands((1, 2, 3, 4, 5), no_data=0, mean=(0.5,) * 5, std=(0.2,) * 5)
    views = Views(64, weak=ScaledCrop((1.0, 1.0), 0.0), bands=bands)
    sample = views.unlabeled(np.random.default_rng(0), image, label)
    expected = np.zeros((64, 64), bool)
    expected[20:40, :50] = True
    assert np.array_equal(sample["valid"].numpy(), expected)
    known = views.labeled(np.random.default_rng(0), image, label)["label"].numpy()
    assert np.array_equal(known == 0, expected)
    assert np.array_equal(known == 255, ~expected)
    plain = Views(64, weak=ScaledCrop((1.0, 1.0), 0.0), bands=FIVE).unlabeled(np.random.default_rng(0), image, label)
    assert plain["valid"].sum() == 40 * 50


def test_either_change_may_come_first(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "jitter_table", lambda *arguments: seen.append(arguments[3]) or np.arange(256))
    view = BandAugmentation(jitter_probability=1.0, blur_probability=0.0)
    for seed in range(20):
        view(np.random.default_rng(seed), IMAGE[..., :1])
    assert 4 < sum(seen) < 16


def test_randaugment_changes_all_bands_alike():
    image = np.repeat(IMAGE[..., :1], 4, axis=-1)
    for name in CHANGES:
        changed = RandAugment(1, [name], 0.0).for_bands()(np.random.default_rng(5), image)
        assert np.array_equal(changed, np.repeat(changed[..., :1], 4, axis=-1)), name


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 2.0])
@pytest.mark.parametrize("dates", [1, 2])
def test_pixels_without_data_do_not_count_where_resizing_blends_them_with_others(factor, dates):
    image = np.random.default_rng(0).integers(100, 255, (dates, 64, 64, 5), dtype=np.uint8)
    image[-1, :, ::4] = 0  # stripes, as in images of Landsat 7
    image = image if dates == 2 else image[0]
    label = np.zeros((64, 64), np.uint8)
    label[:, ::4] = 1  # the mask says something of them
    bands = Bands((1, 2, 3, 4, 5), no_data=0, mean=(0.5,) * 5, std=(0.2,) * 5)
    views = Views(48, weak=ScaledCrop((factor, factor)), bands=bands)
    labeled = views.labeled(np.random.default_rng(1), image, label)["label"]
    unlabeled = views.unlabeled(np.random.default_rng(1), image, None)
    assert {0} <= set(labeled.unique().tolist()) <= {0, 255}
    assert torch.equal(labeled == 255, ~unlabeled["valid"])
    everything = Views(48, weak=ScaledCrop((factor, factor)), bands=replace(bands, no_data=None))
    same = everything.unlabeled(np.random.default_rng(1), image, None)
    assert all(torch.equal(unlabeled[name], same[name]) for name in ("weak", "strong1", "strong2", "box1"))
