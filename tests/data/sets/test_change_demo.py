import numpy as np
import pytest

from unimatch import DataError
from unimatch.data import change_demo
from unimatch.data.sets.change_demo import COUNTS, compose_pair, write_change_demo


def names(source):
    return [source.pairs[i].image.name for i in range(len(source))]


@pytest.mark.nightly
def test_the_demo_writes_pairs_that_differ_where_it_says(tmp_path):
    data = change_demo(tmp_path / "demo")
    assert [len(part) for part in (data.labeled, data.unlabeled, data.val, data.test)] == [20, 180, 60, 60]
    assert sum(COUNTS.values()) == len(list((tmp_path / "demo" / "label").iterdir()))
    first = change_demo(tmp_path / "demo", labeled=20)
    assert names(first.labeled) == names(data.labeled)
    before, after, label = compose_pair("train", int(names(data.labeled)[0][6:9]))
    assert np.array_equal(data.labeled.image(0), np.stack([before, after]))
    assert np.array_equal(data.labeled.mask(0), label // 255)
    shares = [data.val.mask(i).mean() for i in range(60)]
    assert 0.08 < np.mean(shares) < 0.25
    assert 0 < np.mean([share == 0 for share in shares]) < 0.5


def test_a_pair_is_a_function_of_its_number():
    first, again, other, held = (
        compose_pair(*which) for which in (("train", 3), ("train", 3), ("train", 4), ("val", 3))
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], held[0])
    assert set(np.unique(first[2])) <= {0, 255}


@pytest.mark.nightly
def test_what_is_there_is_not_written_again_and_a_file_in_its_place_is_refused(tmp_path):
    write_change_demo(tmp_path / "demo")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo" / "A").iterdir()}
    change_demo(tmp_path / "demo")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not list(tmp_path.glob(".demo*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="the demo's tiles cannot be written there"):
        write_change_demo(tmp_path / "file" / "demo")
