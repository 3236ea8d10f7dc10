from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.class_data import make_image_folder
from helpers.support import make_change
from unimatch.data import folder, image_folder
from unimatch.data.catalog import CHANGE_DEMO
from unimatch.data.sources.files import FilePair
from unimatch.data.splits.candidates import line_of, relative, with_classes, with_dates, with_masks
from unimatch.errors import DataError


def test_images_with_masks_are_candidates_and_the_others_join_the_pool(folder_root):
    data = folder(folder_root)
    pairs = [*data.labeled.pairs, *data.unlabeled.pairs]
    found = with_masks(pairs, folder_root, data.info, r"a(\d)", 0)
    assert [candidate.line for candidate in found.images] == [f"images/a{i}.png masks/a{i}.png" for i in range(6)]
    assert [candidate.group for candidate in found.images] == list("012345")
    for i, candidate in enumerate(found.images):
        assert candidate.classes == set(np.unique(np.asarray(Image.open(folder_root / "masks" / f"a{i}.png"))))
    assert found.others == [f"unlabeled/u{i}.png" for i in range(4)]


def test_pairs_are_named_by_their_first_date(tmp_path):
    root = make_change(tmp_path, ["a.png", "b.png"])
    pairs = [FilePair(root / "A" / "a.png", root / "label" / "a.png"), FilePair(root / "A" / "b.png")]
    found = with_dates([*pairs, FilePair(root / "more" / "c.png")], root, CHANGE_DEMO, None, 0)
    assert [(c.line, c.classes, c.group) for c in found.images] == [("a.png", {0, 1}, "a.png")]
    assert (found.others, found.left_out) == (["b.png"], 1)


def test_images_of_a_class_are_named_below_their_folder(tmp_path):
    root = make_image_folder(tmp_path / "animals", per_class=3)
    found = with_classes(image_folder(root, val_per_class=1), root / "train", None)
    assert len(found.images) == 6
    assert {candidate.line.partition("/")[0]: candidate.classes for candidate in found.images} == {
        "ant": {0},
        "bee": {1},
    }


@pytest.mark.parametrize(
    ("image", "mask", "line"),
    [
        ("a.png", "m/a.png", "a.png m/a.png"),
        ("a.png", None, "a.png"),
        ("a b.png", "m.png", "a b.png\tm.png"),
        ("a b.png", None, "a b.png\t"),
    ],
)
def test_names_with_blanks_are_set_apart_by_tabs(image, mask, line):
    root = Path("/data")
    assert line_of(FilePair(root / image, None if mask is None else root / mask), root) == line


@pytest.mark.parametrize(
    ("path", "message"), [("/else/a.png", "not below /data"), ("/data/a\tb", "a tab"), ("/data/a\nb", "a tab")]
)
def test_what_a_list_cannot_hold_is_refused(path, message):
    with pytest.raises(DataError, match=message):
        relative(Path(path), Path("/data"))
