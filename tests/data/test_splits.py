from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.data.sources import FilePair
from unimatch.data.splits import choose_labeled, read_list
from unimatch.errors import ConfigError, DataError

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "splits" / "pascal"

property_test = settings(max_examples=100, deadline=None, derandomize=True)


@given(st.integers(1, 300), st.data())
@property_test
def test_parts_are_ascending_and_make_up_the_whole(total, data):
    count, seed = data.draw(st.integers(1, total)), data.draw(st.integers(0, 2**32 - 1))
    labeled, rest = choose_labeled(total, count, seed)
    assert len(labeled) == count
    assert labeled == sorted(labeled)
    assert rest == sorted(rest)
    assert sorted(labeled + rest) == list(range(total))
    assert (labeled, rest) == choose_labeled(total, count, seed)


@given(st.integers(2, 200), st.integers(0, 1000))
@property_test
def test_smaller_choices_are_part_of_larger_ones(total, seed):
    choices = [set(choose_labeled(total, count, seed)[0]) for count in range(1, total + 1)]
    assert all(smaller < larger for smaller, larger in pairwise(choices))


def test_seeds_choose_differently_and_every_image_may_be_chosen():
    choices = {tuple(choose_labeled(20, 5, seed)[0]) for seed in range(50)}
    assert len(choices) > 40
    assert set().union(*choices) == set(range(20))


def test_none_chooses_all():
    assert choose_labeled(4, None, 0) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("labeled", [0, -3])
def test_fewer_than_one_labeled_image_is_refused(labeled):
    with pytest.raises(ConfigError, match=rf"dataset\.labeled={labeled}: at least one labelled image is needed"):
        choose_labeled(10, labeled, 0)


def test_more_labeled_images_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"dataset\.labeled=11: .* only 10 images"):
        choose_labeled(10, 11, 0)


def make_files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_list(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_published_format_is_read_in_order_and_blank_lines_are_skipped(tmp_path):
    make_files(tmp_path, "JPEGImages/b.jpg", "JPEGImages/a.jpg", "SegmentationClass/b.png", "SegmentationClass/a.png")
    path = write_list(
        tmp_path / "labeled.txt",
        "JPEGImages/b.jpg SegmentationClass/b.png\n\nJPEGImages/a.jpg  SegmentationClass/a.png \n",
    )
    assert read_list(path, tmp_path, masks=True) == [
        FilePair(tmp_path / "JPEGImages/b.jpg", tmp_path / "SegmentationClass/b.png"),
        FilePair(tmp_path / "JPEGImages/a.jpg", tmp_path / "SegmentationClass/a.png"),
    ]


def test_unlabeled_lists_may_name_masks_present_or_absent(tmp_path):
    make_files(tmp_path, "a.jpg", "b.jpg", "c.jpg", "a.png")
    path = write_list(tmp_path / "unlabeled.txt", "a.jpg a.png\nb.jpg b.png\nc.jpg\n")
    assert read_list(path, tmp_path, masks=False) == [
        FilePair(tmp_path / "a.jpg", tmp_path / "a.png"),
        FilePair(tmp_path / "b.jpg"),
        FilePair(tmp_path / "c.jpg"),
    ]


@pytest.mark.parametrize(
    ("masks", "bad_line", "expected"),
    [
        (True, "a.jpg", "expected 'image_path mask_path', found 'a.jpg'"),
        (True, "a.jpg a.png more", "expected 'image_path mask_path', found 'a.jpg a.png more'"),
        (False, "a.jpg a.png more", "expected 'image_path' or 'image_path mask_path'"),
        (True, "absent.jpg a.png", "no such image"),
        (False, "absent.jpg", "no such image"),
        (True, "a.jpg absent.png", "no such mask"),
    ],
)
def test_malformed_line_is_named_with_its_number(tmp_path, masks, bad_line, expected):
    make_files(tmp_path, "a.jpg", "a.png")
    path = write_list(tmp_path / "list.txt", f"a.jpg a.png\n\n{bad_line}\n")
    with pytest.raises(DataError) as caught:
        read_list(path, tmp_path, masks=masks)
    message = str(caught.value)
    assert message.startswith(f"{path}, line 3: ")
    assert expected in message
    if "absent" in bad_line:
        missing = next(part for part in bad_line.split() if part.startswith("absent"))
        assert str(tmp_path / missing) in message


@pytest.mark.parametrize("text", ["", "\n  \n"])
def test_empty_list_is_refused(tmp_path, text):
    path = write_list(tmp_path / "list.txt", text)
    with pytest.raises(DataError, match="the list is empty") as caught:
        read_list(path, tmp_path, masks=True)
    assert str(path) in str(caught.value)


def test_unreadable_list_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt: the list cannot be read"):
        read_list(tmp_path / "absent.txt", tmp_path, masks=True)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"binary\.txt: the list cannot be read"):
        read_list(tmp_path / "binary.txt", tmp_path, masks=True)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published lists are not here")
def test_a_published_list_is_read(tmp_path):
    path = PUBLISHED / "92" / "labeled.txt"
    lines = path.read_text().splitlines()
    make_files(tmp_path, *" ".join(lines).split())
    pairs = read_list(path, tmp_path, masks=True)
    assert len(pairs) == 92
    for line, pair in zip(lines, pairs, strict=True):
        assert f"{pair.image.relative_to(tmp_path)} {pair.mask.relative_to(tmp_path)}" == line
