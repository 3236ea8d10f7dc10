"""Many images in one folder, of which few have a mask: one was forgotten, or the others are the unlabelled ones."""

from pathlib import Path

import pytest

from helpers.support import make_change, make_folder, write_pair
from unimatch.data import camvid, change_folder, folder, pascal
from unimatch.data.check import FAULTS, full_check
from unimatch.errors import ConfigError, DataError
from unimatch.images.folders import notes_taken


def names(source):
    return sorted(Path(source.name(i)).stem for i in range(len(source)))


@pytest.fixture
def root(tmp_path):
    """Of the 9 images in ``images/`` 3 have a mask; 2 are for validation; 1 lies in ``unlabeled/``."""
    make_folder(tmp_path, labeled=3, val=2, unlabeled=1)
    for i in range(6):
        write_pair(tmp_path / "images" / f"b{i}.png", None, seed=i, size=(24, 32))
    return tmp_path


def test_a_forgotten_mask_is_an_error_that_names_the_setting(root):
    with pytest.raises(
        DataError,
        match=r"b0\.png: no mask .*masks/b0\.png, and 5 more images have none; add it, or move the image to the "
        r"unlabelled images; or dataset\.without_mask=unlabeled, which takes all that have none for unlabelled ones",
    ):
        folder(root)
    with notes_taken() as notes:  # of the full check, which names them all, and the setting, once
        data = folder(root, allow_missing=True)
    found = full_check(data, workers=0, progress=False, notes=notes).findings
    assert [(finding.kind, finding.part, len(finding.texts)) for finding in found] == [("no mask", "labelled", 6)]
    assert "dataset.without_mask=unlabeled" in FAULTS["no mask"]
    (root / "val" / "masks" / "v0.png").unlink()
    with pytest.raises(DataError, match=r"v0\.png: no mask .*; add it, or move the image to the unlabelled images$"):
        folder(root, without_mask="unlabeled")


def test_images_without_a_mask_are_the_unlabelled_ones_if_asked_for(root):
    data = folder(root, without_mask="unlabeled")
    assert (names(data.labeled), names(data.val)) == (["a0", "a1", "a2"], ["v0", "v1"])
    assert names(data.unlabeled) == [*(f"b{i}" for i in range(6)), "u0"]
    assert all(data.unlabeled.mask(i) is None for i in range(7))
    few = folder(root, without_mask="unlabeled", labeled=1)
    assert set(names(few.labeled)) < {"a0", "a1", "a2"}
    assert len(few.unlabeled) == 2 + 7
    assert len(folder(root, without_mask="unlabeled", unlabeled="train").unlabeled) == 3 + 7


def test_what_lists_name_is_in_one_part_alone(root):
    """Also where its mask lies in another folder, so that ``masks/`` knows none of it."""
    for stem in ("b0", "b1", "b2"):
        write_pair(root / "images" / f"{stem}.png", root / "drawn" / f"{stem}.png", size=(24, 32), ids=range(2))
    (root / "labeled.txt").write_text("images/b0.png drawn/b0.png\nimages/a0.png masks/a0.png\n")
    (root / "val.txt").write_text("images/b1.png drawn/b1.png\n")
    lists = {"labeled_list": root / "labeled.txt", "val_list": root / "val.txt"}
    data = folder(root, without_mask="unlabeled", **lists)
    assert (names(data.labeled), names(data.val)) == (["a0", "b0"], ["b1"])
    assert names(data.unlabeled) == ["a1", "a2", "b2", "b3", "b4", "b5", "u0"]
    everything = folder(root, without_mask="unlabeled", unlabeled="train", **lists)
    assert names(everything.unlabeled) == ["a0", "a1", "a2", "b0", "b2", "b3", "b4", "b5", "u0"]


def test_held_out_images_are_those_with_masks(root):
    (root / "val").rename(root / "elsewhere")
    data = folder(root, without_mask="unlabeled", val_share=0.34)
    assert len(data.val) == 1
    assert sorted(names(data.val) + names(data.labeled)) == ["a0", "a1", "a2"]
    assert names(data.unlabeled) == [*(f"b{i}" for i in range(6)), "u0"]


def test_masks_that_are_of_no_image_are_still_said(root):
    (root / "masks" / "a2.png").rename(root / "masks" / "other.png")
    with notes_taken() as notes:
        data = folder(root, without_mask="unlabeled")
    assert names(data.labeled) == ["a0", "a1"]
    assert [kind for kind, _ in notes] == ["masks without image"]
    for name in ("a0", "a1"):
        (root / "masks" / f"{name}.png").rename(root / "masks" / f"none{name}.png")
    with pytest.raises(DataError, match="none of these masks has the name of an image"):
        folder(root, without_mask="unlabeled")


def test_pairs_of_dates_without_a_label_are_unlabelled_if_asked_for(tmp_path):
    root = make_change(tmp_path, [f"t{i}.png" for i in range(6)])
    for i in (1, 4):
        (root / "label" / f"t{i}.png").unlink()
    with pytest.raises(
        DataError, match=r"t1\.png: no mask .*, and 1 more image has none; .*dataset\.without_mask=unlabeled"
    ):
        change_folder(root)
    with notes_taken() as notes:
        data = change_folder(root, without_mask="unlabeled", val_share=0.25)
    assert not notes
    assert names(data.unlabeled) == ["t1", "t4"]
    assert len(data.labeled) + len(data.val) == 4
    assert data.unlabeled.image(0).shape[0] == 2
    (root / "test").mkdir()
    for kind in ("A", "B", "label"):
        (root / "test" / kind).mkdir()
        (root / kind / "t0.png").rename(root / "test" / kind / "t0.png")
    (root / "train").mkdir()
    for kind in ("A", "B", "label"):
        (root / kind).rename(root / "train" / kind)
    data = change_folder(root, without_mask="unlabeled", val_share=0.25)
    assert (names(data.test), names(data.unlabeled), len(data.labeled)) == (["t0"], ["t1", "t4"], 2)


def test_a_data_set_that_passes_images_over_may_train_on_them(tmp_path):
    for i in range(4):
        mask = tmp_path / "SegmentationClass" / f"{i}.png" if i < 3 else None
        write_pair(tmp_path / "JPEGImages" / f"{i}.jpg", mask, seed=i, ids=range(3))
    (tmp_path / "val.txt").write_text("JPEGImages/2.jpg SegmentationClass/2.png\n")
    assert len(pascal(tmp_path, val_list=tmp_path / "val.txt").unlabeled) == 0
    assert names(pascal(tmp_path, val_list=tmp_path / "val.txt", without_mask="unlabeled").unlabeled) == ["3"]


def test_another_word_is_refused(root):
    with pytest.raises(ConfigError, match=r"without_mask=skip: must be one of error, unlabeled"):
        folder(root, without_mask="skip")
    with pytest.raises(ConfigError, match=r"without_mask=False"):
        camvid(root, without_mask=False)
