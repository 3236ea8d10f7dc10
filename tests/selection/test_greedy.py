import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.errors import ConfigError
from unimatch.selection import greedy
from unimatch.selection.greedy import Coverage, choose


def make_set(seed, images=9, kinds=5):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(images, 4))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    histogram = rng.dirichlet(np.full(kinds, 0.3), size=images)
    return features.astype(np.float32), histogram.astype(np.float32)


def slow_value(features, histogram, likeness, chosen):
    """Both terms by loops over images and kinds, as the formulas say."""
    if not chosen:
        return 0.0
    images, kinds = histogram.shape
    shown = sum(math.sqrt(sum(histogram[i, k] for i in chosen)) for k in range(kinds))
    whole = sum(math.sqrt(sum(histogram[i, k] for i in range(images))) for k in range(kinds))
    alike = sum(max(0.0, *(float(features[i] @ features[j]) for i in chosen)) for j in range(images)) / images
    return shown / whole + likeness * alike


def slow_choice(count, features, histogram, likeness, given=(), weights=None):
    chosen = list(given)
    for _ in range(count):
        value = slow_value(features, histogram, likeness, chosen)
        gains = {
            i: (slow_value(features, histogram, likeness, [*chosen, i]) - value)
            * (1 if weights is None else weights[i])
            for i in range(len(features))
            if i not in chosen
        }
        chosen.append(max(gains, key=gains.__getitem__))
    return chosen[len(given) :]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 2.0]), st.integers(0, 2), st.booleans())
def test_the_choice_is_that_of_a_slow_greedy(seed, likeness, labelled, weighted):
    features, histogram = make_set(seed)
    weights = np.random.default_rng(seed).uniform(0.1, 1, len(features)).astype(np.float32) if weighted else None
    given_images = list(range(labelled))
    found = choose(4, Coverage(features, histogram, likeness), given=given_images, weights=weights)
    assert found == slow_choice(4, features, histogram, likeness, given_images, weights)


def test_a_choice_is_at_least_63_percent_as_good_as_the_best_one():
    features, histogram = make_set(3)
    best = max(slow_value(features, histogram, 0.5, c) for c in itertools.combinations(range(9), 3))
    found = choose(3, Coverage(features, histogram, 0.5))
    assert slow_value(features, histogram, 0.5, found) >= (1 - 1 / math.e) * best


def test_more_begin_as_fewer_do_and_blocks_change_nothing(monkeypatch):
    features, histogram = make_set(4, images=30)
    whole = choose(9, Coverage(features, histogram, 0.5))
    monkeypatch.setattr(greedy, "BLOCK", 7)
    assert choose(5, Coverage(features, histogram, 0.5)) == whole[:5]


@pytest.mark.parametrize("groups", [None, [str(i % 7) for i in range(300)]])
def test_gains_that_are_worked_out_together_give_the_same_choice(groups, monkeypatch):
    features, histogram = make_set(7, images=300)
    found = choose(40, Coverage(features, histogram, 2.0), groups=groups)
    monkeypatch.setattr(greedy, "TOGETHER", 1)
    assert choose(40, Coverage(features, histogram, 2.0), groups=groups) == found


def test_few_gains_are_worked_out_again(monkeypatch):
    features, histogram = make_set(8, images=300)
    coverage, asked = Coverage(features, histogram, 2.0), []
    gains = coverage.gains
    monkeypatch.setattr(coverage, "gains", lambda images: asked.append(len(images)) or gains(images))
    choose(20, coverage)
    assert asked[0] == 300
    assert max(asked[1:]) <= greedy.TOGETHER
    assert sum(asked[1:]) < 20 * 300 / 2


def test_what_is_most_alike_is_asked_of_a_sample_of_a_large_set(monkeypatch):
    features, histogram = make_set(5, images=30)
    monkeypatch.setattr(greedy, "SAMPLE", 10)
    coverage = Coverage(features, histogram, 1.0)
    assert (coverage.represented == features[::3]).all()
    assert len(set(choose(30, coverage))) == 30


def test_no_group_gets_more_than_its_share_while_others_have_images():
    features, histogram = make_set(6, images=12)
    groups = ["large"] * 8 + ["small"] * 3 + ["one"]
    found = choose(6, Coverage(features, histogram, 0.5), groups=groups)
    assert sorted(groups[i] for i in found) == ["large"] * 3 + ["one"] + ["small"] * 2
    everything = choose(12, Coverage(features, histogram, 0.5), groups=groups)
    assert sorted(everything) == list(range(12))


@pytest.mark.parametrize(("count", "labelled", "words"), [(0, (), "1 to 9"), (10, (), "1 to 9"), (9, (0,), "1 to 8")])
def test_a_number_that_cannot_be_is_refused(count, labelled, words):
    with pytest.raises(ConfigError, match=words):
        choose(count, Coverage(*make_set(0), 0.5), given=labelled)
    with pytest.raises(ConfigError, match="all 9 photos are labelled already"):
        choose(1, Coverage(*make_set(0), 0.5), given=range(9))
