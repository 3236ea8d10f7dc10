"""Views by transforms of albumentations and torchvision: what moves, what is seeded, what is refused."""

import random

import albumentations as A
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from helpers.support import rest_nightly
from unimatch import ConfigError
from unimatch.augment import Albumentations, ScaledCrop, StrongAugmentation, TorchvisionV2, Views

property_test = settings(max_examples=40, deadline=None, derandomize=True)
CONSTANT = {"border_mode": 0, "interpolation": 0}  # new padding is 0; nearest pixels, so that images tell their labels

GEOMETRY = {
    "d4": Albumentations(A.D4(p=1)),
    "nested": Albumentations(A.Compose([A.OneOf([A.Transpose(p=1), A.Compose([A.RandomRotate90(p=1)])], p=1)])),
    "rotate": Albumentations(A.Rotate(p=1, **CONSTANT)),
    "filled": Albumentations(A.Affine(translate_percent=(-0.3, 0.3), fill_mask=1, p=1, **CONSTANT)),
    "flip": TorchvisionV2(v2.RandomHorizontalFlip()),
    "turn": TorchvisionV2(v2.Compose([v2.RandomRotation(90), v2.RandomVerticalFlip()])),
    "one": TorchvisionV2(v2.RandomAffine(20, (0.3, 0.3), fill={tv_tensors.Image: 0, tv_tensors.Mask: 1})),
}


def coded(seed, side):
    """A mask of random ids 0-9 and two dates whose pixels tell the mask's id."""
    mask = np.random.default_rng(seed).integers(0, 10, (side, side), dtype=np.uint8)
    date = np.repeat((20 * (mask + 1))[..., None], 3, axis=2)
    return np.stack([date, 255 - date]), mask


def assert_told(cut, label):
    """Where a view shows the image, it tells its label; elsewhere it is black and has none."""
    assert np.array_equal(label == 255, ~cut.valid)
    for channel in range(3):
        assert np.array_equal(cut.image[0, ..., channel], np.where(cut.valid, 20 * (label + 1), 0))
        assert np.array_equal(cut.image[1, ..., channel], np.where(cut.valid, 255 - 20 * (label + 1), 0))


@pytest.mark.parametrize("name", rest_nightly(GEOMETRY, list(GEOMETRY)[:2]))
@given(st.integers(2, 24), st.integers(0, 2**32 - 1))
@property_test
def test_dates_label_and_valid_move_together(name, side, seed):
    images, mask = coded(seed, side)
    before = images.copy(), mask.copy()
    cut = GEOMETRY[name].cut(np.random.default_rng(seed), images, mask, side)
    assert_told(cut, cut.label)
    single = GEOMETRY[name].cut(np.random.default_rng(seed), images[0], None, side)
    assert single.label is None
    assert np.array_equal(single.image, cut.image[0])
    assert np.array_equal(single.valid, cut.valid)
    assert np.array_equal(images, before[0])
    assert np.array_equal(mask, before[1])


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 24), st.integers(0, 2**32 - 1))
@property_test
def test_d4_turns_the_papers_crop_with_its_padding(height, width, crop, seed):
    images, mask = coded(seed, 30)
    images, mask = np.ascontiguousarray(images[:, :height, :width]), np.ascontiguousarray(mask[:height, :width])
    view = Albumentations(A.D4(p=1), first=ScaledCrop((1.0, 1.0), 0.0))
    cut = view.cut(np.random.default_rng(seed), images, mask, crop)
    assert_told(cut, cut.label)
    plain = ScaledCrop((1.0, 1.0), 0.0).cut(np.random.default_rng(seed), images, mask, crop)
    turned = [np.rot90(array, k) for array in (plain.label, plain.label.T) for k in range(4)]
    assert any(np.array_equal(cut.label, array) for array in turned)


def test_d4_takes_each_of_the_eight_as_often():
    image = np.arange(4, dtype=np.uint8).reshape(2, 2, 1).repeat(3, 2)
    rng = np.random.default_rng(0)
    drawn = [Albumentations(A.D4(p=1)).cut(rng, image, None, 2).image.tobytes() for _ in range(400)]
    counts = [drawn.count(value) for value in set(drawn)]
    assert len(counts) == 8
    assert min(counts) > 25


@pytest.mark.parametrize("view", [Albumentations(A.ColorJitter(p=1)), TorchvisionV2(v2.ColorJitter(0.5))])
def test_changes_of_pixels_in_a_weak_view_leave_the_label_and_are_the_same_for_both_dates(view):
    images, mask = coded(0, 12)
    cut = view.cut(np.random.default_rng(0), np.stack([images[0]] * 2), mask, 12)
    assert np.array_equal(cut.label, mask)
    assert cut.valid.all()
    assert np.array_equal(cut.image[0], cut.image[1])
    assert not np.array_equal(cut.image[0], images[0])


STRONG = {
    "albumentations": Albumentations(A.Compose([A.ColorJitter(p=0.8), A.OneOf([A.GaussNoise(), A.ISONoise()])])),
    "torchvision": TorchvisionV2(v2.Compose([v2.RandomApply([v2.ColorJitter(0.5, 0.5)]), v2.GaussianBlur(3)])),
}


@pytest.mark.parametrize("name", STRONG)
def test_a_view_is_a_function_of_its_generator_and_leaves_the_global_state(name):
    image = coded(0, 16)[0][0]
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = [STRONG[name](np.random.default_rng(seed), image) for seed in range(8)]
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.manual_seed(3)
    again = [STRONG[name](np.random.default_rng(seed), image) for seed in reversed(range(8))]
    assert all(np.array_equal(one, other) for one, other in zip(first, reversed(again), strict=True))
    assert len({view.tobytes() for view in first}) > 4


@pytest.mark.parametrize("name", STRONG)
def test_strong_views_of_each_date_have_draws_of_their_own(name):
    pair = np.full((2, 10, 10, 3), 100, np.uint8)
    sample = Views(10, ScaledCrop((1.0, 1.0)), STRONG[name], cutmix=0.0).unlabeled(np.random.default_rng(0), pair, None)
    dates = [date.numpy().tobytes() for number in (1, 2) for date in sample[f"strong{number}"]]
    assert len(set(dates)) == 4
    assert torch.equal(sample["weak"][0], sample["weak"][1])


def features(view):
    """Brightness, contrast, colourfulness and sharpness of a view."""
    gray = view.astype(float) @ [0.299, 0.587, 0.114]
    edges = np.abs(np.diff(gray, axis=0)).mean() + np.abs(np.diff(gray, axis=1)).mean()
    return gray.mean(), gray.std(), np.ptp(view.astype(float), axis=2).mean(), edges


@pytest.mark.nightly
def test_the_papers_changes_by_albumentations_have_our_distribution():
    """Means within 4 standard errors (and 1% for other rounding and kernels), spreads within 10%."""
    rows, columns = np.mgrid[:24, :24]
    phases = np.random.default_rng(0).uniform(0, 6, (3, 2))
    planes = [128 + 50 * np.sin(rows / 2 + a) + 50 * np.sin(columns / 3 + b) for a, b in phases]
    image = np.stack(planes, -1).clip(0, 255).astype(np.uint8)
    from hydra import compose, initialize_config_module

    with initialize_config_module("unimatch.conf", version_base="1.3"):
        theirs = instantiate(compose("run", ["strong=albumentations"]).datamodule, None, _partial_=True).keywords[
            "strong"
        ]
    count = 2000
    ours, found = (
        np.array([features(view(rng, image)) for _ in range(count)])
        for view, rng in ((StrongAugmentation(), np.random.default_rng(0)), (theirs, np.random.default_rng(1)))
    )
    error = np.sqrt((ours.var(0) + found.var(0)) / count)
    assert (np.abs(ours.mean(0) - found.mean(0)) <= 4 * error + 0.01 * ours.mean(0)).all()
    assert np.abs(found.std(0) / ours.std(0) - 1).max() <= 0.1
    grey = [(values[:, 2] == 0).mean() for values in (ours, found)]
    assert abs(grey[0] - grey[1]) < 0.04


def test_geometry_is_found_wherever_it_is_nested():
    assert Albumentations(A.Compose([A.ToGray(), A.OneOf([A.Compose([A.Rotate()]), A.Blur()])])).moves == "Rotate"
    assert Albumentations(A.Compose([A.ColorJitter(), A.CoarseDropout(), A.GaussNoise()])).moves == ""
    assert Albumentations(A.CoarseDropout(fill_mask=0)).moves == "CoarseDropout"
    assert Albumentations(A.ToGray(), first=ScaledCrop()).moves == "ScaledCrop"
    assert (
        TorchvisionV2(v2.RandomApply([v2.Compose([v2.ColorJitter(), v2.RandomRotation(9)])])).moves == "RandomRotation"
    )
    assert TorchvisionV2(v2.Compose([v2.ColorJitter(), v2.RandomErasing(), v2.GaussianBlur(3)])).moves == ""
    for kind in (v2.RandomHorizontalFlip, v2.RandAugment, v2.ElasticTransform, v2.TrivialAugmentWide):
        assert TorchvisionV2(kind()).moves == kind.__name__
    for kind in (v2.RandomCrop, v2.RandomResizedCrop, v2.Resize, v2.CenterCrop, v2.Pad, v2.ScaleJitter):
        assert TorchvisionV2(kind((8, 8))).moves == kind.__name__


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (Albumentations(A.RandomCrop(6, 7)), "Albumentations gives an image of 6 x 7 pixels, but the view has 8 x 8"),
        (TorchvisionV2(v2.RandomCrop(6)), "gives an image of 6 x 6 pixels, .* first=unimatch.augment.ScaledCrop"),
        (Albumentations(A.Normalize()), "gives float32, but views are uint8; leave out what converts or normalises"),
        (TorchvisionV2(v2.ToDtype(torch.float32)), "gives float32"),
    ],
)
def test_views_of_another_size_or_type_are_refused(view, message):
    images, mask = coded(0, 20)
    with pytest.raises(ConfigError, match=message):
        view.cut(np.random.default_rng(0), images, mask, 8)
    with pytest.raises(ConfigError, match="gives"):
        view(np.random.default_rng(0), images[0])


def test_a_transform_may_cut_the_crop_out_itself():
    images, mask = coded(0, 20)
    for view in (
        Albumentations(A.Compose([A.Rotate(p=1, **CONSTANT), A.RandomCrop(8, 8)])),
        TorchvisionV2(v2.RandomCrop(8)),
    ):
        cut = view.cut(np.random.default_rng(0), images, mask, 8)
        assert_told(cut, cut.label)


def test_other_objects_are_refused():
    for view in (Albumentations, TorchvisionV2):
        with pytest.raises(ConfigError, match=r"^transform=.*: must be of "):
            view(np.flip)


def test_the_transform_given_is_not_changed():
    transform = A.Compose([A.Rotate(mask_interpolation=1)])
    Albumentations(transform)
    assert transform.transforms[0].mask_interpolation == 1
    assert not transform.additional_targets


def test_labels_take_the_nearest_pixel_whatever_the_transform_says():
    _, mask = coded(0, 24)
    for view in (
        Albumentations(A.Rotate((30, 30), p=1, mask_interpolation=1)),
        TorchvisionV2(v2.RandomRotation((30, 30), InterpolationMode.BILINEAR)),
    ):
        halves = np.where(mask < 5, np.uint8(0), np.uint8(100))
        cut = view.cut(np.random.default_rng(0), np.zeros((24, 24, 3), np.uint8), halves, 24)
        assert set(np.unique(cut.label)) == {0, 100, 255}


def test_yaml_makes_views():
    node = {
        "_target_": "unimatch.augment.Albumentations",
        "_convert_": "all",
        "transform": {
            "_target_": "albumentations.Compose",
            "transforms": [{"_target_": "albumentations.RandomGamma", "gamma_limit": [80, 120], "p": 1.0}],
        },
    }
    view = instantiate(node)
    image = coded(0, 8)[0][0]
    assert view(np.random.default_rng(0), image).shape == image.shape
