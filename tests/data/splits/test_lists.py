from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.places import SHARED
from unimatch.data.catalog import CAMVID
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.data.splits.lists import choose_labeled, read_list
from unimatch.errors import ConfigError, DataError

PUBLISHED = SHARED / "data" / "splits" / "pascal"

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
    with pytest.raises(ConfigError, match=rf"labeled={labeled}: at least one labelled image is needed"):
        choose_labeled(10, labeled, 0)


def test_more_labeled_images_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"labeled=11: .* only 10 images"):
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
    assert list(read_list(path, tmp_path, masks=True)) == [
        FilePair(tmp_path / "JPEGImages/b.jpg", tmp_path / "SegmentationClass/b.png"),
        FilePair(tmp_path / "JPEGImages/a.jpg", tmp_path / "SegmentationClass/a.png"),
    ]


def test_unlabeled_lists_may_name_masks_present_or_absent(tmp_path):
    make_files(tmp_path, "a.jpg", "b.jpg", "c.jpg", "a.png")
    Image.fromarray(np.ones((2, 3), np.uint8)).save(tmp_path / "a.png")
    path = write_list(tmp_path / "unlabeled.txt", "a.jpg a.png\nb.jpg b.png\nc.jpg\na.jpg None\n")
    pairs = read_list(path, tmp_path, masks=False)
    assert [pair.image.name for pair in pairs] == ["a.jpg", "b.jpg", "c.jpg", "a.jpg"]
    source = FileSource(pairs, CAMVID, optional_masks=True)
    assert source.mask(0).tolist() == [[1, 1, 1]] * 2
    assert [source.mask(i) for i in (1, 2, 3)] == [None] * 3


def test_names_with_blanks_are_separated_by_a_tab(tmp_path):
    make_files(tmp_path, "my photo.jpg", "my mask.png", "b.jpg", "b.png")
    path = write_list(tmp_path / "list.txt", "my photo.jpg\tmy mask.png\nb.jpg b.png\n")
    assert list(read_list(path, tmp_path, masks=True)) == [
        FilePair(tmp_path / "my photo.jpg", tmp_path / "my mask.png"),
        FilePair(tmp_path / "b.jpg", tmp_path / "b.png"),
    ]


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("name", ["../out.png", "sub/../../out.png", "ABSOLUTE", "link.png", "linked/out.png"])
def test_files_outside_the_root_are_refused_with_their_line(tmp_path, name, column):
    root = tmp_path / "root"
    make_files(tmp_path, "root/in.png", "out.png")
    (root / "link.png").symlink_to(tmp_path / "out.png")
    (root / "linked").symlink_to(tmp_path)
    name = name.replace("ABSOLUTE", str(tmp_path / "out.png"))
    entry = ["in.png", "in.png"]
    entry[column] = name
    path = write_list(tmp_path / "list.txt", "in.png in.png\n\n" + " ".join(entry) + "\n")
    with pytest.raises(DataError, match=r"lies outside .*root; .*allow_outside=true") as caught:
        read_list(path, root, masks=True)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert len(read_list(path, root, masks=True, allow_outside=True)) == 2


@pytest.mark.parametrize(
    ("name", "begin"), [("/in.png", "; without its first / it is there"), ("/home/anna/a.png", "$")]
)
def test_a_list_from_another_computer_is_called_so(tmp_path, name, begin):
    make_files(tmp_path, "in.png")
    path = write_list(tmp_path / "list.txt", f"in.png {name}\n")
    with pytest.raises(
        DataError,
        match=rf"line 1: no such file: {name}; is the list from another computer\? Paths are relative to .*{begin}",
    ):
        read_list(path, tmp_path, masks=True)


def test_detours_and_absolute_paths_inside_the_root_are_allowed(tmp_path):
    make_files(tmp_path, "a/x.png", "b/x.png")
    make_files(tmp_path, "..hidden/a..b.png")
    path = write_list(
        tmp_path / "list.txt",
        f"a/../b/x.png {tmp_path}/a/x.png\n./a//x.png b/./x.png\n..hidden/a..b.png ./..hidden/a..b.png\n",
    )
    assert list(read_list(path, tmp_path, masks=True)) == [
        FilePair(tmp_path / "b/x.png", tmp_path / "a/x.png"),
        FilePair(tmp_path / "a/x.png", tmp_path / "b/x.png"),
        FilePair(tmp_path / "..hidden/a..b.png", tmp_path / "..hidden/a..b.png"),
    ]


def test_long_lists_are_sampled_for_missing_files(tmp_path, monkeypatch):
    monkeypatch.setattr("unimatch.data.splits.lists.CHECKED_LINES", 10)
    make_files(tmp_path, "a.jpg", "a.png")
    lines = ["a.jpg a.png"] * 100
    lines[55] = "absent.jpg a.png"
    path = write_list(tmp_path / "list.txt", "\n".join(lines))
    assert len(read_list(path, tmp_path, masks=True)) == 100
    lines[50] = "absent.jpg a.png"
    path = write_list(tmp_path / "list.txt", "\n" + "\n".join(lines))
    with pytest.raises(DataError, match="line 52: no such image"):
        read_list(path, tmp_path, masks=True)


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


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        "a.jpg,a.png",
        "a.jpg, a.png",
        "a.jpg;a.png",
        '"a.jpg" "a.png"',
        "'my photo.jpg' 'my mask.png'",
        r"x\a.jpg x\a.png",
    ],
)
def test_commas_and_quotes_are_answered_with_how_paths_are_separated(tmp_path, line, masks):
    make_files(tmp_path, "a.jpg", "a.png", "my photo.jpg", "my mask.png")
    path = write_list(tmp_path / "list.csv", f"a.jpg a.png\n{line}\n")
    with pytest.raises(DataError, match=r"list.csv, line 2: .*; write a blank between paths, or a tab"):
        read_list(path, tmp_path, masks=masks)


def test_names_may_hold_commas_and_quotes(tmp_path):
    make_files(tmp_path, "a,1.jpg", "a'1.png", '"b".jpg', "b;.png")
    path = write_list(tmp_path / "list.txt", 'a,1.jpg a\'1.png\n"b".jpg\tb;.png\n')
    assert [pair.image.name for pair in read_list(path, tmp_path, masks=True)] == ["a,1.jpg", '"b".jpg']


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


def test_list_with_zero_bytes_is_refused(tmp_path):
    make_files(tmp_path, "a.jpg", "a.png")
    path = write_list(tmp_path / "list.txt", "a.jpg a.png\n\0\0\0\0")
    with pytest.raises(DataError, match=r"list\.txt: the list cannot be read \(zero bytes"):
        read_list(path, tmp_path, masks=True)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_list_in_utf_16_is_called_so(encoding, tmp_path):
    """Windows PowerShell writes such files."""
    make_files(tmp_path, "a.jpg", "a.png")
    (tmp_path / "list.txt").write_text("a.jpg a.png\n", encoding=encoding)
    with pytest.raises(DataError, match=r"list\.txt: the list cannot be read \(it is in UTF-16; save it as UTF-8\)"):
        read_list(tmp_path / "list.txt", tmp_path, masks=True)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published lists are not here")
def test_a_published_list_is_read(tmp_path):
    path = PUBLISHED / "92" / "labeled.txt"
    lines = path.read_text().splitlines()
    make_files(tmp_path, *" ".join(lines).split())
    pairs = read_list(path, tmp_path, masks=True)
    assert len(pairs) == 92
    for line, pair in zip(lines, pairs, strict=True):
        assert f"{pair.image.relative_to(tmp_path)} {pair.mask.relative_to(tmp_path)}" == line


def test_a_heading_is_told_from_a_list_of_another_data_set(tmp_path):
    path = tmp_path / "list.txt"
    for text, guess in (("image mask\na.jpg a.png", "is this a heading"), ("a.jpg a.png", "of another data set")):
        path.write_text(text)
        with pytest.raises(DataError, match=rf"list\.txt, line 1: no such image: .*{guess}"):
            read_list(path, tmp_path, masks=True)


def test_a_list_of_which_nothing_is_there_is_refused_by_the_full_check_too(tmp_path, write_pair):
    write_pair(tmp_path / "i" / "a.png", tmp_path / "m" / "a.png")
    (tmp_path / "list.txt").write_text("i\\a.png m\\a.png\n")
    with pytest.raises(
        DataError, match=r"line 1: no such image: .*; write a blank .* no commas, quotes or backslashes"
    ):
        read_list(tmp_path / "list.txt", tmp_path, masks=True, allow_missing=True)
    (tmp_path / "list.txt").write_text("i/gone.png m/a.png\ni/a.png m/gone.png\n")
    assert len(read_list(tmp_path / "list.txt", tmp_path, masks=True, allow_missing=True)) == 2
