import os
import pickle

import numpy as np
import pytest

from unimatch.data.sets.array_pickles import read_array_pickle
from unimatch.errors import DataError


class Command:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_values_are_read(tmp_path, protocol):
    data = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = {"data": data, "labels": [1, 2, 3], "name": "batch", "by columns": np.asfortranarray(data), "b": b"\xff"}
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_array_pickle(path)
    for name in ("data", "by columns"):
        assert np.array_equal(found.pop(name), content.pop(name))
    assert found == content


def test_a_pickle_that_calls_anything_is_refused_before_it_does(tmp_path):
    path, target = tmp_path / "batch", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"data": np.zeros(3), "labels": Command(target)}))
    with pytest.raises(DataError, match=r"batch: cannot be read as a pickle of arrays .*refused.*system"):
        read_array_pickle(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "called",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(tR.",
        b"cos\nsystem\n.",
        b"c_codecs\nencode\n(Vx\nS'zip'\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
    ],
)
def test_only_arrays_can_be_named(tmp_path, called):
    (tmp_path / "batch").write_bytes(called)
    with pytest.raises(DataError, match="refused"):
        read_array_pickle(tmp_path / "batch")


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(list(range(1000)))[:50]])
def test_other_files_are_refused_with_their_name(tmp_path, content):
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataError, match="batch: cannot be read as a pickle"):
        read_array_pickle(tmp_path / "batch")
    with pytest.raises(DataError, match="no such file"):
        read_array_pickle(tmp_path / "other")
