import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.data.splits.generate import (
    Candidate,
    choose,
    choose_of_each_class,
    count_classes,
    group_of,
    ids_in_mask,
    read_classes_of,
    write_split,
)
from unimatch.errors import ConfigError, DataError

property_test = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def candidate_lists(draw, grouped=False):
    """1-40 images that show up to 4 of 6 classes each; groups are runs of images."""
    count = draw(st.integers(1, 40))
    classes = draw(st.lists(st.frozensets(st.integers(0, 5), max_size=4), min_size=count, max_size=count))
    groups = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)) if grouped else range(count)
    return [Candidate(f"{i}.jpg {i}.png", c, str(g)) for i, (c, g) in enumerate(zip(classes, groups, strict=True))]


def shown(candidates, indices):
    return set().union(*(candidates[i].classes for i in indices))


@given(candidate_lists(), st.data())
@property_test
def test_lists_have_the_sizes_asked_for_are_nested_disjoint_and_deterministic(candidates, data):
    total = len(candidates)
    sizes = data.draw(st.sets(st.integers(1, total), min_size=1, max_size=4))
    val = data.draw(st.integers(0, total - max(sizes)))
    seed = data.draw(st.integers(0, 2**32 - 1))
    split = choose(candidates, sizes, seed, val)
    assert list(split.labeled) == sorted(sizes)
    assert len(split.val) == val
    smaller = set()
    for size, labeled in split.labeled.items():
        assert len(labeled) == len(set(labeled)) == size
        assert labeled == sorted(labeled)
        assert smaller <= set(labeled)
        assert not set(labeled) & set(split.val)
        assert set(labeled) <= set(range(total))
        smaller = set(labeled)
    assert split == choose(candidates, sizes, seed, val)


@given(candidate_lists(grouped=True), st.data())
@property_test
def test_groups_stay_whole(candidates, data):
    total = len(candidates)
    sizes = data.draw(st.sets(st.integers(1, total), min_size=1, max_size=3))
    val = data.draw(st.integers(0, total - max(sizes)))
    try:
        split = choose(candidates, sizes, data.draw(st.integers(0, 99)), val)
    except ConfigError:  # no group is small enough
        reject()
    assert len(split.val) <= val
    for size, labeled in split.labeled.items():
        assert 1 <= len(labeled) <= size
        rest = set(range(total)) - set(labeled) - set(split.val)
        groups = [{candidates[i].group for i in part} for part in (labeled, split.val, rest)]
        assert not any(a & b for a, b in combinations(groups, 2))
    for smaller, larger in combinations(split.labeled.values(), 2):
        assert set(smaller) <= set(larger)


@given(candidate_lists(), st.integers(0, 1000))
@property_test
def test_every_class_is_there_once_a_list_holds_as_many_images_as_there_are_classes(candidates, seed):
    everything = shown(candidates, range(len(candidates)))
    for size in range(max(1, len(everything)), len(candidates) + 1):
        assert shown(candidates, choose(candidates, [size], seed).labeled[size]) == everything


@given(candidate_lists(), st.integers(0, 1000))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_single_image_that_shows_all_is_chosen_first(candidates, seed):
    everything = shown(candidates, range(len(candidates)))
    if any(c.classes == everything for c in candidates):
        assert shown(candidates, choose(candidates, [1], seed).labeled[1]) == everything


@given(candidate_lists(), st.integers(0, 100))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_too_small_a_list_shows_at_least_63_percent_of_the_most_it_could(candidates, seed):
    """The known bound of the greedy choice, 1 - 1/e, against every pair of images."""
    if len(candidates) < 2:
        return
    best = max(len(shown(candidates, pair)) for pair in combinations(range(len(candidates)), 2))
    assert len(shown(candidates, choose(candidates, [2], seed).labeled[2])) >= 0.632 * best


def test_rare_classes_stay_out_of_validation():
    candidates = [Candidate(f"{i}", frozenset({0, 9} if i == 3 else {0}), str(i)) for i in range(20)]
    for seed in range(20):
        split = choose(candidates, [2], seed, val=18)
        assert 3 in split.labeled[2]


def test_seeds_choose_differently_and_every_image_may_be_chosen():
    candidates = [Candidate(f"{i}", frozenset({0, 1}), str(i)) for i in range(12)]
    chosen = [choose(candidates, [3], seed, val=2) for seed in range(60)]
    assert len({tuple(split.labeled[3]) for split in chosen}) > 40
    assert set().union(*(split.labeled[3] for split in chosen)) == set(range(12))
    assert set().union(*(split.val for split in chosen)) == set(range(12))


def test_another_size_changes_no_list_that_shows_every_class():
    candidates = [Candidate(f"{i}", frozenset({i % 3}), str(i)) for i in range(30)]
    assert choose(candidates, [5], 1).labeled[5] == choose(candidates, [3, 5, 9], 1).labeled[5]


@pytest.mark.parametrize(
    ("sizes", "val", "message"),
    [
        ([], 0, "at least one number"),
        ([0, 2], 0, "at least 1"),
        ([6], 0, "only 5 images"),
        ([3], 3, r"labeled=3 and val=3: .* only 5 images"),
        ([1], -1, "val=-1"),
    ],
)
def test_impossible_numbers_are_refused(sizes, val, message):
    candidates = [Candidate(f"{i}", frozenset({0}), str(i)) for i in range(5)]
    with pytest.raises(ConfigError, match=message):
        choose(candidates, sizes, 0, val)


def test_groups_larger_than_the_list_are_refused_with_the_smallest():
    candidates = [Candidate(f"{i}", frozenset({0}), str(i // 4)) for i in range(8)]
    with pytest.raises(ConfigError, match="labeled=3: no group is that small; the smallest left has 4 images"):
        choose(candidates, [3], 0)


def test_ids_are_those_counted_in_training(tmp_path):
    stored = np.array([[0, 3, 255], [11, 3, 200]], np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png")
    info = DatasetInfo("x", (), (), ignore_ids=frozenset({11, 255}))
    source = FileSource([FilePair(tmp_path / "a.jpg", tmp_path / "a.png")] * 2, info)
    assert ids_in_mask(source, 0) == {0, 3, 200}
    assert read_classes_of(source, [0, 1], workers=0) == [{0, 3, 200}] * 2
    with pytest.raises(DataError, match="has no mask"):
        ids_in_mask(FileSource([FilePair(tmp_path / "a.jpg")], info), 0)


@pytest.mark.parametrize(
    ("image", "pattern", "group"),
    [
        ("a/b.png", None, "a/b.png"),
        ("leftImg8bit/train/jena/jena_01.png", r"([^/]+)/[^/]+$", "jena"),
        ("0001TP_006690.png", r"^[^_]+", "0001TP"),
        ("s1/cam2/f3.png", r"(s\d)/(cam\d)", "s1/cam2"),
    ],
)
def test_groups_come_from_the_path(image, pattern, group):
    assert group_of(image, pattern) == group


def test_patterns_that_fail_are_named():
    with pytest.raises(ConfigError, match=r"group=\(: not a regular expression"):
        group_of("a.png", "(")
    with pytest.raises(ConfigError, match=r"group=seq: not found in a\.png"):
        group_of("a.png", "seq")


def three_candidates():
    return [
        Candidate("i/a.jpg m/a.png", frozenset({0}), "a"),
        Candidate("i/b.jpg m/b.png", frozenset({0, 2}), "b"),
        Candidate("i/c.jpg m/c.png", frozenset({7}), "c"),
    ]


def write(folder, split, overwrite=False, others=("u/x.jpg",)):
    names = {0: "soil", 1: "weed", 2: "crop"}
    return write_split(folder, three_candidates(), others, split, names, {"seed": 4}, overwrite=overwrite)


def test_written_lists_are_header_free_and_complete_with_facts_beside_them(tmp_path):
    split = choose(three_candidates(), [1], seed=0, val=1)
    facts = write(tmp_path, split)
    labeled = (tmp_path / "1" / "labeled.txt").read_text().splitlines()
    unlabeled = (tmp_path / "1" / "unlabeled.txt").read_text().splitlines()
    val = (tmp_path / "val.txt").read_text().splitlines()
    assert unlabeled[-1] == "u/x.jpg"
    assert sorted(labeled + unlabeled[:-1] + val) == [c.line for c in three_candidates()]
    assert (len(labeled), len(unlabeled), len(val)) == (1, 2, 1)
    stored = json.loads((tmp_path / "split.json").read_text())
    assert stored == facts
    assert stored["seed"] == 4
    assert stored["classes"] == {"soil": 2, "weed": 0, "crop": 1, "id 7": 1}
    assert "weed" in stored["lists"]["1/labeled.txt"]["missing"]
    assert stored["lists"]["1/unlabeled.txt"]["images"] == 2
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["labeled.txt", "split.json", "unlabeled.txt", "val.txt"]


def test_nothing_is_overwritten_untold_and_nothing_written_before_that_is_known(tmp_path):
    split = choose(three_candidates(), [1, 2], seed=0)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "unlabeled.txt").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"unlabeled\.txt: exists; overwrite=true"):
        write(tmp_path, split)
    assert [p.name for p in tmp_path.rglob("*.txt")] == ["unlabeled.txt"]
    write(tmp_path, split, overwrite=True)
    assert (tmp_path / "2" / "unlabeled.txt").read_text() != "mine\n"


def test_same_input_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name, choose(three_candidates(), [2], seed=5))
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 3
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)


def test_counts_per_class():
    assert count_classes(three_candidates(), [0, 1], {0: "soil", 1: "weed"}) == {"soil": 2, "weed": 0, "id 2": 1}


@given(st.lists(st.integers(0, 2), min_size=12, max_size=40), st.integers(0, 3))
@property_test
def test_each_class_gives_as_many_images_and_smaller_sizes_are_among_larger(classes, seed):
    candidates = [Candidate(f"{c}/{i}.png", frozenset([c]), str(i)) for i, c in enumerate(classes)]
    names = ("ant", "bee", "cow")
    if min(classes.count(c) for c in range(3)) < 4:
        reject()
    split = choose_of_each_class(candidates, [3, 1], seed, 1, names)
    for size, images in [*split.labeled.items(), (1, split.val)]:
        assert sorted(classes[i] for i in images) == [c for c in range(3) for _ in range(size)]
        assert images == sorted(set(images))
    assert set(split.labeled[1]) < set(split.labeled[3])
    assert not set(split.labeled[3]) & set(split.val)


def test_a_class_with_too_few_images_and_a_group_of_two_classes_are_named():
    images = [Candidate(f"{i}.png", frozenset([i % 2]), str(i // 2)) for i in range(8)]
    with pytest.raises(ConfigError, match="group: 0 has images of ant and bee"):
        choose_of_each_class(images, [1], 0, 0, ("ant", "bee"))
    images = [Candidate(f"{i}.png", frozenset([int(i > 5)]), str(i)) for i in range(8)]
    with pytest.raises(ConfigError, match="class bee: labeled=3 and val=0: there are only 2 images"):
        choose_of_each_class(images, [1, 3], 0, 0, ("ant", "bee"))
