import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.support import make_change, write_pair
from unimatch.data.catalog import CHANGE_DEMO
from unimatch.data.sources.dates import PairSource, PairTree, first_and_label
from unimatch.errors import DataError
from unimatch.images.folders import notes_taken


@pytest.fixture
def root(tmp_path):
    return make_change(tmp_path, ["a.png", "b.png", "c.png"])


def test_a_pair_is_both_dates_in_order(root):
    source = PairSource(PairTree().pairs(root), CHANGE_DEMO, roots=[root])
    assert len(source) == 3
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        assert source.image_paths(i) == [root / "A" / name, root / "B" / name]
        expected = [np.asarray(Image.open(path)) for path in source.image_paths(i)]
        assert np.array_equal(source.image(i), np.stack(expected))
        assert source.name(i) == str(root / "A" / name)
        assert np.array_equal(source.mask(i), np.asarray(Image.open(root / "label" / name)) // 255)


def test_a_second_date_outside_the_roots_is_refused(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "b.png"
    shutil.move(root / "B" / "b.png", elsewhere)
    (root / "B" / "b.png").symlink_to(elsewhere)
    with pytest.raises(DataError, match="lies outside"):
        PairSource(PairTree().pairs(root), CHANGE_DEMO, roots=[root]).image(1)


def test_what_is_missing_is_named(root):
    for name in ("b.png", "c.png"):
        (root / "B" / name).unlink()
    with pytest.raises(DataError, match=r"B/b\.png: no such file; it is the second date of .*\(and 1 more like this\)"):
        PairTree().pairs(root)
    assert len(PairTree().pairs(root, allow_missing=True)) == 3
    (root / "B" / "b.jpg").touch()
    with pytest.raises(DataError, match=r"B/b\.png: no such file \(but 'b\.jpg' is there; both dates need one name\)"):
        PairTree().pairs(root)
    (root / "B" / "b.jpg").rename(root / "B" / "B.png")
    with pytest.raises(DataError, match=r"\(but 'B\.png' is there; both dates need one name\)"):
        PairSource(PairTree().pairs(root, allow_missing=True), CHANGE_DEMO).image(1)
    for path in (root / "label").iterdir():
        path.rename(path.with_stem(f"{path.stem}_building"))
    with notes_taken() as notes, pytest.raises(DataError, match="no mask"):
        PairTree().pairs(root)
    assert "the three files of a pair need one name" in notes[0][1]
    shutil.rmtree(root / "label")
    with pytest.raises(DataError, match=r"label: no such folder .* has A, B\); pairs lie in A/ B/ label/"):
        PairTree().pairs(root)


def test_second_dates_without_a_first_one_are_pointed_out(root, caplog):
    PairTree().pairs(root)
    assert "second dates" not in caplog.text
    assert not caplog.records
    first = next(iter(sorted((root / "B").iterdir())))
    shutil.copy(first, root / "B" / "later.png")
    with notes_taken() as notes:
        assert len(PairTree().pairs(root)) == 3
    ((kind, text),) = notes
    assert kind == "second dates alone"
    assert text == f"{root / 'B'}: 1 image with the name of none in {root / 'A'}, such as later.png, not used"


def test_a_folder_without_second_dates_is_for_the_full_check_to_report(root):
    for path in (root / "B").iterdir():
        path.unlink()
    assert len(PairTree().pairs(root, allow_missing=True)) == 3
    shutil.rmtree(root / "B")
    assert len(PairTree().pairs(root, allow_missing=True)) == 3


def test_training_pairs_may_lie_in_a_folder_of_their_own(root):
    assert first_and_label(root) == ("A", "label")
    (root / "train" / "A").mkdir(parents=True)
    assert first_and_label(root) == ("train/A", "train/label")


@pytest.mark.parametrize("names", [("label1", "label2"), ("labelA", "labelB"), ("GT_T1", "GT_T2")])
def test_labels_of_each_date_are_told_to_become_one_of_what_changed(tmp_path, names):
    for name in ("im1", "im2", *names):
        write_pair(tmp_path / name / "a.png", None)
    with pytest.raises(
        DataError,
        match=rf"label: no such folder .*; {names[0]} and {names[1]} seem to hold the classes at each date, .*: write "
        "label/ of them, of 255 where a pixel has changed",
    ):
        PairTree.of(tmp_path).pairs(tmp_path)


@pytest.mark.parametrize("name", ["OUT", "change", "Change_Map", "cm"])
def test_changes_may_lie_in_a_folder_of_that_name(root, name):
    (root / "label").rename(root / name)
    assert PairTree.of(root).masks == name
