import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.data.catalog import DatasetInfo
from unimatch.data.check.mask_faults import counts_of, encoding_faults


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
