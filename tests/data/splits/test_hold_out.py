"""Validation images are held out where a data set has none of its own."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unimatch.data.sources.files import FilePairs
from unimatch.data.splits.hold_out import choose_groups, hold_out
from unimatch.errors import ConfigError

ROOT = Path("/photos/p9")
SLICES = [f"/photos/p9/images/p{patient}_{number}.png" for patient in range(5) for number in range(1 + 2 * patient)]


def held(share, seed=0, group=r"(p\d+)_", names=SLICES):
    train = FilePairs((name, name.replace("images", "masks")) for name in names)
    return list(hold_out(train, share, seed, group, ROOT).images())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
def test_a_group_is_held_out_as_a_whole_or_not_at_all(seed, share):
    chosen = held(share, seed)
    patients = {re.search(r"p\d_", name).group() for name in chosen}
    assert chosen == [name for name in SLICES if any(f"/{patient}" in name for patient in patients)]
    assert 0 < len(chosen) <= round(share * len(SLICES))
    assert chosen == held(share, seed)


def test_the_root_belongs_to_no_group_and_other_places_are_absolute():
    assert {Path(name).name[:2] for name in held(0.4, group=r"p\d")} < {f"p{i}" for i in range(5)}
    elsewhere = ["/other/p1/a.png", "/other/p1/b.png", "/other/p2/a.png"]
    assert held(0.5, group=r"^/other/(p\d)/", names=elsewhere) in (elsewhere[:2], elsewhere[2:])


def test_the_seed_chooses_the_groups(caplog):
    caplog.set_level("INFO", "unimatch")
    assert len({tuple(held(0.4, seed)) for seed in range(10)}) > 2
    assert "of the 25 images with masks are held out (" in caplog.text
    assert r" of 5 groups; val_group=(p\d+)_, val_share=0.4, val_seed=9)" in caplog.text


def test_the_smallest_group_is_held_out_where_none_is_small_enough():
    names = [f"/photos/p9/{group}/{i}.png" for group, size in (("a", 6), ("b", 4), ("c", 5)) for i in range(size)]
    assert held(0.1, group="^[a-c]", names=names) == names[6:10]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("(", r"^val_group=\(: not a regular expression"),
        ("q", r"^val_group=q: not found in images/p0_0\.png"),
        ("images", "^val_group=images: all 25 images with masks are of one group"),
    ],
)
def test_groups_that_cannot_be_are_refused(group, message):
    with pytest.raises(ConfigError, match=message):
        held(0.2, group=group)


@pytest.mark.parametrize("group", [None, r"p\d"])
def test_a_seed_that_cannot_be_is_refused(group):
    with pytest.raises(ConfigError, match=r"^val_seed=-1: must be at least 0 and below"):
        held(0.2, seed=-1, group=group)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=9), st.integers(1, 40), st.integers(0, 99))
def test_some_groups_are_chosen_and_some_left(sizes, count, seed):
    count = min(count, sum(sizes) - 1)
    chosen = choose_groups(sizes, count, seed)
    assert 0 < len(set(chosen)) == len(chosen) < len(sizes)
    assert sum(sizes[i] for i in chosen) <= count or chosen == [sizes.index(min(sizes))]
