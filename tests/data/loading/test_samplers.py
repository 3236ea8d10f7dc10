from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.data.loading.samplers import EvaluationSampler, TrainSampler, sample_rng

property_test = settings(max_examples=100, deadline=None, derandomize=True)


def order(length, batch_size, *, seed=0, stream="labeled", epoch=0, **settings_of_sampler):
    sampler = TrainSampler(length, batch_size, seed=seed, stream=stream, **settings_of_sampler)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    assert all(key[0] == epoch for key in keys)
    return [position for _, position in keys]


@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 10**6), st.integers(0, 5))
@property_test
def test_each_position_is_taken_once_but_those_of_a_partial_batch(length, batch_size, seed, epoch):
    positions = order(length, batch_size, seed=seed, epoch=epoch)
    assert len(positions) == length // batch_size * batch_size
    assert len(set(positions)) == len(positions)
    assert set(positions) <= set(range(length))
    if length % batch_size == 0:
        assert sorted(positions) == list(range(length))


@given(st.integers(1, 200), st.integers(1, 8), st.integers(1, 5), st.integers(0, 10**6))
@property_test
def test_processes_share_the_global_batch_of_each_step(length, batch_size, processes, seed):
    single = order(length, batch_size * processes, seed=seed)
    ranks = [order(length, batch_size, seed=seed, num_replicas=processes, rank=rank) for rank in range(processes)]
    assert len({len(positions) for positions in ranks}) == 1
    assert len(ranks[0]) == -(-length // processes) // batch_size * batch_size
    for step in range(len(single) // (batch_size * processes)):
        whole = single[step * batch_size * processes : (step + 1) * batch_size * processes]
        parts = [positions[step * batch_size : (step + 1) * batch_size] for positions in ranks]
        assert sorted(chain(*parts)) == sorted(whole)
    # At most one step more, of what is left and the first of the order again.
    more = sorted(chain(*(positions[len(single) // processes :] for positions in ranks)))
    assert len(more) in (0, batch_size * processes)
    if more:
        assert set(range(length)) - set(single) <= set(more)
        assert 0 < len(single) + len(more) - length < processes


def test_order_is_drawn_from_seed_stream_and_epoch():
    reference = order(50, 5)
    assert reference == order(50, 5)
    assert reference != list(range(50))
    others = [order(50, 5, seed=1), order(50, 5, stream="unlabeled"), order(50, 5, epoch=1)]
    assert len({tuple(positions) for positions in (reference, *others)}) == 4


def test_order_does_not_depend_on_the_batch_size():
    assert order(48, 4) == order(48, 8)


def test_left_out_positions_change_with_the_epoch():
    seen = Counter()
    for epoch in range(40):
        seen.update(order(10, 8, epoch=epoch))
    assert set(seen) == set(range(10))


@pytest.mark.parametrize("processes", [1, 2])
def test_epoch_shorter_than_its_list_draws_others_each_time(processes):
    seen = Counter()
    for epoch in range(60):
        drawn = [
            order(8, 4 // processes, population=30, epoch=epoch, num_replicas=processes, rank=rank)
            for rank in range(processes)
        ]
        positions = list(chain(*drawn))
        assert len(positions) == len(set(positions)) == 8
        seen.update(positions)
    # 16 draws of each position on average, with a standard deviation below 4.
    assert set(seen) == set(range(30))
    assert max(seen.values()) < 34


@given(st.integers(1, 100), st.integers(1, 12))
@property_test
def test_evaluation_takes_each_image_exactly_once(length, processes):
    ranks = [EvaluationSampler(length, num_replicas=processes, rank=rank) for rank in range(processes)]
    taken = [list(sampler) for sampler in ranks]
    assert sorted(chain(*taken)) == list(range(length))
    assert [len(sampler) for sampler in ranks] == [len(indices) for indices in taken]
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


@given(st.integers(1, 30), st.integers(1, 12))
@property_test
def test_padded_evaluation_takes_as_many_everywhere_and_each_first_turn_once(length, processes):
    ranks = [list(EvaluationSampler(length, num_replicas=processes, rank=r, padded=True)) for r in range(processes)]
    assert len({*map(len, ranks)}) == 1
    in_order = [image for turn in zip(*ranks, strict=True) for image in turn]
    assert in_order[:length] == list(range(length))
    assert len(in_order) < length + processes


def test_evaluation_order_is_always_the_same():
    sampler = EvaluationSampler(7)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == first == list(range(7))


def test_a_sample_is_drawn_from_seed_stream_epoch_and_position():
    keys = [(0, "labeled", (0, 1)), (1, "labeled", (0, 1)), (0, "unlabeled", (0, 1)), (0, "labeled", (1, 0))]
    assert sample_rng(*keys[0]).integers(2**40) == sample_rng(*keys[0]).integers(2**40)
    assert len({int(sample_rng(*key).integers(2**40)) for key in keys}) == len(keys)


def test_an_epoch_that_is_continued_leaves_out_what_is_done():
    whole = TrainSampler(20, 4, seed=0, stream="labeled", start=(2, 0))
    rest = TrainSampler(20, 4, seed=0, stream="labeled", start=(2, 3))
    assert list(rest) == list(whole)[12:]
    assert len(rest) == len(whole) == 20
    rest.set_epoch(3)
    assert len(list(rest)) == 20
