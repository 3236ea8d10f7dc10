from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.data import SemiSupervisedDataModule, digits
from unimatch.data.loading.auto_crop import LARGEST, fitting_side, rounded_down
from unimatch.errors import ConfigError, DataError
from unimatch.types import Needs

SIDES = st.tuples(st.integers(1, 700), st.integers(1, 700))


class Photos:
    """Images of given sizes; None for one that cannot be read."""

    def __init__(self, sizes, dates=None):
        self.sizes, self.dates, self.read = sizes, dates, []

    def __len__(self):
        return len(self.sizes)

    def image(self, index):
        self.read.append(index)
        if self.sizes[index] is None:
            raise DataError("broken")
        shape = (*self.sizes[index], 3) if self.dates is None else (self.dates, *self.sizes[index], 3)
        return np.broadcast_to(np.uint8(0), shape)


@pytest.fixture(scope="module")
def scenes():
    return digits(labeled=4, train=24, val=12, size=48)


def with_photos(data, labeled, unlabeled=()):
    return replace(data, labeled=Photos(labeled), unlabeled=Photos(unlabeled))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(labeled=st.lists(SIDES, max_size=20), unlabeled=st.lists(SIDES, max_size=20))
def test_half_of_the_images_hold_a_view_of_this_side_and_no_larger_one(scenes, labeled, unlabeled):
    side = fitting_side(with_photos(scenes, labeled, unlabeled))
    images = labeled + unlabeled
    if not images:
        assert side == LARGEST == 518
        return

    def held_by(view):
        return sum(height >= view and width >= view for height, width in images)

    assert side <= 518
    assert 2 * held_by(side) >= len(images)
    assert side == 518 or 2 * held_by(side + 1) <= len(images)


@pytest.mark.parametrize(("side", "expected"), [(517, 517), (518, 518), (519, 518), (4000, 518)])
def test_views_are_no_larger_than_the_papers(scenes, side, expected):
    assert fitting_side(with_photos(scenes, [(side, side + 7)])) == expected


def test_few_of_many_images_are_read_and_broken_ones_are_left_to_the_check(scenes):
    data = with_photos(scenes, [None, *[(360, 480)] * 99], [(240, 240)] * 5 + [None])
    assert fitting_side(data) == 360
    assert len(data.labeled.read) == 20
    assert data.labeled.read == [5 * i for i in range(20)]
    assert data.unlabeled.read == [0, 1, 2, 3, 4, 5]
    assert fitting_side(with_photos(scenes, [None])) == 518


def test_the_dates_of_a_pair_are_no_side(scenes):
    data = replace(scenes, labeled=Photos([(64, 80)], dates=2), unlabeled=Photos([], dates=2))
    assert fitting_side(data) == 64


@settings(max_examples=200, deadline=None, derandomize=True)
@given(side=st.integers(1, 600), multiple=st.integers(1, 64))
def test_rounded_down_is_the_largest_multiple_that_fits(side, multiple):
    fitting = [number for number in range(multiple, 601, multiple) if number <= side]
    assert rounded_down(side, multiple) == (max(fitting) if fitting else multiple)


def test_one_class_an_image_has_no_view_of_its_own_size(scenes):
    with pytest.raises(ConfigError, match=r"crop=auto.*recipe\.crop=224"):
        fitting_side(replace(scenes, one_class=True))


@pytest.mark.parametrize(("multiple", "expected"), [(1, 48), (14, 42), (32, 32), (64, 64)])
def test_the_data_module_cuts_views_of_that_side(scenes, caplog, multiple, expected):
    caplog.set_level("INFO")
    module = SemiSupervisedDataModule(scenes, crop="auto", batch_size=2, workers=0)

    class Method:
        needs = Needs(size_multiple=multiple)

    class Trainer:
        lightning_module, world_size, global_rank = Method, 1, 0

    module.trainer = Trainer
    module.setup("fit")
    assert module.crop == expected
    batch = next(iter(module.train_dataloader()))[0]
    assert batch["labeled"]["image"].shape[-2:] == batch["unlabeled"]["strong1"].shape[-2:] == (expected, expected)
    assert caplog.text.count(f"crop=auto: {expected}, for images whose shorter side has 48 pixels") == 1


def test_nothing_is_read_before_the_setup(scenes):
    data = with_photos(scenes, [(48, 48)] * 4, [(48, 48)] * 4)
    SemiSupervisedDataModule(data, crop="auto", batch_size=2, workers=0)
    assert not data.labeled.read + data.unlabeled.read
