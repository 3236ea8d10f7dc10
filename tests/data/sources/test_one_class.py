from collections import Counter

import numpy as np
import pytest

from unimatch import ConfigError, DataError
from unimatch.data.catalog import DIGITS
from unimatch.data.sources.one_class import ClassArrays, ClassFiles, Joined, choose_per_class
from unimatch.types import NO_CLASS


def test_every_class_gets_its_number_of_images():
    labels = np.array([2, 0, 0, 1, 2, 2, 1, 0])
    options = {"key": "labeled_per_class", "classes": ("a", "b", "c")}
    chosen, rest = choose_per_class(labels, 2, 0, **options)
    assert Counter(labels[chosen].tolist()) == {0: 2, 1: 2, 2: 2}
    assert sorted(chosen + rest) == list(range(8))
    assert choose_per_class(labels, None, 0, **options) == (list(range(8)), [])
    with pytest.raises(ConfigError, match=r"labeled_per_class=3: .* class b has 2 images"):
        choose_per_class(labels, 3, 0, **options)


def test_arrays_give_images_and_classes_of_their_indices():
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 3), dtype=np.uint8)
    source = ClassArrays("set/train", images, np.array([5, 6, NO_CLASS, 8]), [3, 0, 2])
    assert [source.name(i) for i in range(len(source))] == ["set/train/3", "set/train/0", "set/train/2"]
    assert np.array_equal(source.image(0), images[3])
    assert (source.mask(0), source.mask(2)) == (8, None)
    assert source.mask(0).shape == ()
    chosen = source.select([1, 0])
    assert chosen.labels.tolist() == [5, 8]
    assert [chosen.name(i) for i in range(2)] == ["set/train/0", "set/train/3"]


def test_files_keep_their_classes_when_some_are_chosen(tmp_path, write_pair):
    for i in range(3):
        write_pair(tmp_path / f"{i}.png", None, seed=i)
    names = [str(tmp_path / f"{i}.png") for i in range(3)]
    source = ClassFiles(names, np.array([2, 1, NO_CLASS]), DIGITS, [tmp_path]).select([2, 0])
    assert [source.name(i) for i in range(2)] == [names[2], names[0]]
    assert (source.mask(0), source.mask(1)) == (None, 2)
    with pytest.raises(DataError, match="lies outside"):
        ClassFiles(names, np.zeros(3, int), DIGITS, [tmp_path / "other"]).image(0)


def test_joined_sources_follow_one_another():
    parts = [
        ClassArrays(name, np.full((n, 1, 1, 3), n, np.uint8), np.full(n, n))
        for name, n in zip("abc", (2, 0, 3), strict=True)
    ]
    joined = Joined(parts)
    assert [joined.name(i) for i in range(len(joined))] == ["a/0", "a/1", "c/0", "c/1", "c/2"]
    assert [int(joined.mask(i)) for i in range(5)] == [2, 2, 3, 3, 3]
    assert [int(joined.image(i)[0, 0, 0]) for i in range(5)] == [2, 2, 3, 3, 3]
