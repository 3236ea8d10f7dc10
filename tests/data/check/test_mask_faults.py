from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.data.catalog import DatasetInfo
from unimatch.data.check.mask_faults import between, black_and_white, counts_of, encoding_faults, sorted_palettes


@given(st.lists(st.integers(0, 300), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_pixels_are_counted(values):
    for kind in (np.uint8, np.int32):
        array = np.array([values]).astype(kind)
        expected = {}
        for value in array.ravel().tolist():
            expected[value] = expected.get(value, 0) + 1
        assert counts_of(array) == expected


@given(st.sets(st.sampled_from([0, 1, 2, 3, 4, 255]), min_size=1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_encoding_is_suspected_only_where_id_0_or_the_first_id_too_many_says_so(stored):
    info = DatasetInfo("x", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    kinds = {kind for kind, _ in encoding_faults(stored, info)}
    if 4 in stored or stored == {255}:
        assert not kinds
    elif stored == {0, 255}:
        assert kinds == {"only 0 and 255"}
    elif 3 in stored:
        assert kinds == ({"id 0 is void"} if 0 in stored else {"shifted by one"})
    else:
        assert kinds == (set() if 0 in stored else {"numbered from 1?"})


def test_camvid_s_void_11_is_no_shift():
    from unimatch.data.catalog import CAMVID

    assert not list(encoding_faults({*range(12), 255}, CAMVID))


def test_a_few_pixels_between_others_are_no_resizing():
    assert between(np.repeat([[0, 1, 2]], 7, axis=0)) == 0
    assert between(np.repeat([[0, 1, 2]], 8, axis=0)) == 8


TWO = DatasetInfo("x", ("a", "b"), ((0, 0, 0), (1, 1, 1)))


def test_255_is_void_where_a_mask_holds_it_beside_1():
    masks = [("m.png", frozenset({0, 255}))]
    everything = [ids for _, ids in masks]
    assert [kind for kind, _ in black_and_white(masks, everything, TWO)] == ["only 0 and 255"]
    assert not list(black_and_white(masks, [*everything, frozenset({1, 255})], TWO))
    assert not list(black_and_white(masks, everything, replace(TWO, ids={0: 0, 255: 1})))


def test_palettes_are_sorted_where_several_colours_have_moved():
    red, blue, green = b"\xff\0\0", b"\0\0\xff", b"\0\xff\0"
    here = {(0, red): "a.png", (1, blue): "a.png", (2, green): "a.png"}
    assert not list(sorted_palettes(here))
    assert not list(sorted_palettes(here | {(3, red): "b.png"}))  # one class has two ids
    assert list(sorted_palettes({(0, blue): "a.png", (1, red): "a.png", (0, red): "b.png"}))  # b shows red alone
    ((kind, text),) = sorted_palettes(here | {(1, red): "b.png", (0, blue): "b.png"})
    assert kind == "palette order"
    assert "the colour (255, 0, 0) is id 0 in a.png and id 1 in b.png" in text
