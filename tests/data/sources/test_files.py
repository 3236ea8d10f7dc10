import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.data.sources.files import FilePair, FilePairs, Tree
from unimatch.errors import DataError

names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=12)
pairs_of_names = st.lists(st.tuples(names, st.none() | names), max_size=20)
property_test = settings(max_examples=100, deadline=None, derandomize=True)


@given(pairs_of_names, pairs_of_names)
@property_test
def test_pairs_are_kept_as_they_were_given(first, second):
    together = FilePairs(first) + FilePairs(second)
    expected = first + second
    assert list(together.names()) == expected
    assert list(together.images()) == [image for image, _ in expected]
    assert len(together) == len(expected)
    assert list(together) == [FilePair(Path(image), None if mask is None else Path(mask)) for image, mask in expected]
    assert list(pickle.loads(pickle.dumps(together)).names()) == expected
    assert list(FilePairs.of([FilePair(Path("a/b"), Path("c")), FilePair(Path("d"))]).names()) == [
        ("a/b", "c"),
        ("d", None),
    ]


@given(pairs_of_names.filter(len), st.data())
@property_test
def test_some_of_the_pairs(pairs, data):
    indices = data.draw(st.lists(st.integers(-len(pairs), len(pairs) - 1), max_size=10))
    assert list(FilePairs(pairs).select(indices).names()) == [pairs[i] for i in indices]
    unwanted = {image for image, _ in data.draw(st.lists(st.sampled_from(pairs)))}
    assert list(FilePairs(pairs).without(unwanted).names()) == [pair for pair in pairs if pair[0] not in unwanted]


def test_pairs_end_where_they_end():
    pairs = FilePairs([("a", "b"), ("c", None)])
    for index in (2, -3):
        for read in (pairs.__getitem__, pairs.image, pairs.mask):
            with pytest.raises(IndexError):
                read(index)


def test_zero_byte_in_a_name_cannot_shift_the_others():
    with pytest.raises(ValueError, match="zero byte"):
        FilePairs([("a", "b\0c"), ("d", None)])


def test_a_million_pairs_are_small():
    pairs = FilePairs((f"train2017/{i:012d}.jpg", f"masks/{i:012d}.png") for i in range(100_000))
    assert len(pickle.dumps(pairs)) < 100_000 * (26 + 22 + 20)


def test_images_are_paired_at_any_depth(tmp_path, write_pair):
    write_pair(tmp_path / "i" / "x" / "1.jpg", tmp_path / "m" / "x" / "1.png")
    write_pair(tmp_path / "i" / "2.tif", None)
    tree = Tree("i", "m", every_image_has_mask=False)
    both = FilePair(tmp_path / "i" / "x" / "1.jpg", tmp_path / "m" / "x" / "1.png")
    assert list(tree.images_and_masks(tmp_path)) == [FilePair(tmp_path / "i" / "2.tif"), both]
    assert list(tree.pairs(tmp_path)) == [both]
    with pytest.raises(DataError, match=r"2\.tif: no mask .*m/2\.png; add it"):
        Tree("i", "m").pairs(tmp_path)
    for folders, message in ((("i", "nowhere"), "nowhere: no such folder"), (("empty", "m"), "empty: no images")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=message):
            Tree(*folders).images_and_masks(tmp_path)
    write_pair(tmp_path / "m" / "x" / "1.tif", None)
    with pytest.raises(DataError, match="has the same stem"):
        tree.images_and_masks(tmp_path)


def test_where_no_name_has_the_ending_those_there_are_named(tmp_path):
    for name in ("images/a_leftImg8bit.png", "gtFine/a_gtFine_labelIds.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(
        DataError,
        match=r"_labelTrainIds\.png; a_gtFine_labelIds\.png is there; python -m unimatch\.prepare makes",
    ):
        Tree("images", "gtFine", "_leftImg8bit.png", "_gtFine_labelTrainIds.png").pairs(tmp_path)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a_x.png").touch()
    with pytest.raises(DataError, match=r"no files ending in _tissue; a_x\.png is there$"):
        Tree("images", "masks", mask_suffix="_tissue").pairs(tmp_path)
