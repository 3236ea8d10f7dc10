"""Each way in which people's files are named gives the images that are there, or a message that says what is wrong."""

import shutil

import numpy as np
import pytest

from helpers.name_cases import SAME, make_plain, rename
from helpers.support import make_change, write_pair
from unimatch.data import change_folder, folder, image_folder
from unimatch.data.check import full_check
from unimatch.errors import DataError
from unimatch.images.folders import notes_taken
from unimatch.labelling import read, write


def masks_of(source):
    """Every mask, None for none, in an order of their own."""
    masks = [source.mask(i) for i in range(len(source))]
    return sorted((mask.shape, mask.tobytes()) for mask in masks if mask is not None), sum(
        mask is None for mask in masks
    )


def shapes_of(source):
    return sorted(source.image(i).shape for i in range(len(source)))


@pytest.mark.parametrize("case", SAME)
def test_what_is_read_is_what_is_there(tmp_path, case):
    root = make_plain(tmp_path / "photos")
    before = folder(root)
    parts = {part: getattr(before, part) for part in ("labeled", "unlabeled", "val")}
    expected = {part: (masks_of(source), shapes_of(source)) for part, source in parts.items()}
    spoil, kinds = SAME[case]
    spoil(root)
    with notes_taken() as notes:
        data = folder(root)
    assert {part: (masks_of(getattr(data, part)), shapes_of(getattr(data, part))) for part in parts} == expected
    assert {kind for kind, _ in notes} == kinds
    for i in range(len(data.labeled)):  # each image has its own mask: their sizes are all different
        assert data.labeled.image(i).shape[:2] == data.labeled.mask(i).shape
    report = full_check(data, workers=0, progress=False, notes=notes)
    assert {finding.kind for finding in report.findings if finding.part == "files"} == kinds
    assert not report.wrong


@pytest.mark.parametrize(
    "case", ["gifmask", "suffix_mask", "double_suffix", "nfd", "case", "eadir2", "valid", "unlabelled"]
)
def test_labels_are_read_from_such_folders_too(tmp_path, case):
    root = make_plain(tmp_path / "photos")
    before = {part: masks_of(getattr(folder(root), part)) for part in ("labeled", "val")}
    SAME[case][0](root)
    write(read(root), tmp_path / "out", workers=0)
    data = folder(tmp_path / "out")
    assert {part: masks_of(getattr(data, part)) for part in before} == before
    assert len(data.unlabeled) == 3


def test_masks_without_image_are_counted(tmp_path):
    root = make_plain(tmp_path)
    for name in ("a0.png", "a2.png"):
        (root / "images" / name).unlink()
    with notes_taken() as notes:
        assert len(folder(root).labeled) == 2
    ((kind, text),) = notes
    assert kind == "masks without image"
    assert "2 masks with the name of no image" in text
    assert "such as a0.png" in text


def test_a_suffix_of_ones_own_is_named_and_then_read(tmp_path):
    root = make_plain(tmp_path)
    for i in range(2):
        write_pair(root / "test" / "images" / f"t{i}.png", root / "test" / "masks" / f"t{i}.png", seed=i)
    for part in (root, root / "val", root / "test"):
        rename(part / "masks", lambda path: f"{path.stem}_tissue7.png")
    with pytest.raises(
        DataError,
        match=r"no mask .*v0\.png \(2 masks there .* such as v0_tissue7\.png\), and 1 more image has none; add it",
    ):
        folder(root)
    data = folder(root, mask_suffix="_tissue7")
    assert [pair.mask.name for pair in data.labeled.pairs] == [f"a{i}_tissue7.png" for i in range(4)]
    assert len(data.val) == len(data.test) == 2


def test_masks_that_may_be_of_two_images_are_not_guessed(tmp_path):
    root = make_plain(tmp_path)
    (root / "masks" / "a0.png").rename(root / "masks" / "A0_mask.png")
    write_pair(root / "masks" / "a0_gt.png", None)
    with pytest.raises(DataError, match=r"a0\.png: no mask .*2 masks there"):
        folder(root)


def test_a_folder_without_images_names_the_endings_that_are_there(tmp_path):
    root = make_plain(tmp_path)
    (root / "masks").rename(root / "drawings")
    with pytest.raises(DataError, match=r"masks: no such folder \(.* has drawings, images, unlabeled, val\)"):
        folder(root)
    rename(root / "images", lambda path: f"{path.stem}.heic")
    with pytest.raises(DataError, match=r"images: no images \(.*\) in this folder; it holds \.heic \(4\)"):
        folder(root)


def test_files_of_other_kinds_are_counted(tmp_path):
    root = make_plain(tmp_path)
    for name in ("a.HEIC", "b.heic", "c.dng", "scan", "notes.txt", "Thumbs.db", ".DS_Store"):
        (root / "unlabeled" / name).touch()
    with notes_taken() as notes:
        assert len(folder(root).unlabeled) == 3
    ((kind, text),) = notes
    assert kind == "other kinds"
    assert "passed over: .heic (2), .dng (1), without ending (1); photos of a phone in HEIC" in text


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("train/x_jpg.rf.0a1b.jpg", "train/x_jpg.rf.0a1b_mask.png"),
        ("images/x.jpg", "masks/x.png"),
        ("images/sub/x.jpg", "labels/sub/x.png"),
        ("x.jpg", "masks/x_mask.png"),
        ("train/x.jpg", "train_masks/x_mask.gif"),
        ("train/x.png", "trainannot/x.png"),
        ("JPEGImages/x.jpg", "SegmentationClass/x.png"),
        ("x (1).png", "x (1)_mask_1.png"),
    ],
)
def test_masks_are_never_photos_of_a_pool(tmp_path, photo, mask):
    root = make_plain(tmp_path / "photos")
    write_pair(tmp_path / "pool" / photo, tmp_path / "pool" / mask)
    with notes_taken() as notes:
        data = folder(root, unlabeled={"root": tmp_path / "pool"})
    assert [str(pair.image) for pair in data.unlabeled.pairs] == [str(tmp_path / "pool" / photo)]
    assert [kind for kind, _ in notes] == ["masks among photos"]
    assert mask in notes[0][1]


def test_photos_of_masks_and_labels_are_photos(tmp_path):
    """A folder per class, with faces that wear masks."""
    for name in ("mask/1.png", "no_mask/1.png", "mask/2_mask.png", "no_mask/2.png", "label/1.png", "label/2.png"):
        write_pair(tmp_path / "train" / name, None, seed=len(name))
    with notes_taken() as notes:
        data = image_folder(tmp_path, val_per_class=1)
    assert len(data.labeled) + len(data.val) == 6
    assert not notes


def test_class_folders_leave_out_masks_and_thumbnails(tmp_path):
    """As in ultrasound images of BUSI, whose masks lie beside them."""
    for name in (
        "benign/b (1).png",
        "benign/b (1)_mask.png",
        "malign/m (1).png",
        "@eaDir/x.jpg",
        "malign/@eaDir/m.jpg",
    ):
        write_pair(tmp_path / "train" / name, None)
    write_pair(tmp_path / "valid" / "benign" / "v.png", None)
    data = image_folder(tmp_path)
    assert data.info.classes == ("benign", "malign")
    assert (len(data.labeled), len(data.val)) == (2, 1)


def test_labels_of_pairs_of_dates_are_paired_by_likeness(tmp_path):
    root = make_change(tmp_path / "change", ["x.png", "y.png", "z.png"])
    expected = [change_folder(root).labeled.mask(i) for i in range(2)]
    rename(root / "label", lambda path: f"{path.stem}_label.png")
    (root / "label" / "zz.png").write_bytes(b"")
    with notes_taken() as notes:
        data = change_folder(root)
    assert [kind for kind, _ in notes] == ["paired by likeness", "masks without image"]
    for i, mask in enumerate(expected):
        assert np.array_equal(data.labeled.mask(i), mask)


def test_names_of_another_case_or_form_are_pointed_out(tmp_path):
    root = make_plain(tmp_path / "photos")
    (root / "labeled.txt").write_text("images/A0.png masks/a0.png\n")
    with pytest.raises(DataError, match=r"no such image: .*A0\.png \(but 'a0\.png' is there; write it so\)"):
        folder(root, labeled_list=root / "labeled.txt")
    pairs = make_change(tmp_path / "change", ["x.png", "y.png", "z.png"])
    (pairs / "B" / "y.png").rename(pairs / "B" / "Y.png")
    with pytest.raises(
        DataError, match=r"B/y\.png: no such file \(but 'Y\.png' is there; both dates need one name\); it is the second"
    ):
        change_folder(pairs)


def test_of_two_validation_folders_one_is_used_and_that_is_said(tmp_path):
    root = make_plain(tmp_path)
    (root / "valid").mkdir()
    with notes_taken() as notes:
        assert len(folder(root).val) == 2
    assert not notes  # nothing in it is missed
    write_pair(root / "valid" / "images" / "z.png", None)
    with notes_taken() as notes:
        assert len(folder(root).val) == 2
    assert notes == [("folder not used", f"{root}: of val/images and valid only val/images is used for val; join them")]


def test_folders_named_like_a_part_that_are_not_used_are_said(tmp_path):
    root = make_plain(tmp_path)
    (root / "unlabeled").rename(root / "unlabeled_images")
    write_pair(root / "images" / "val" / "b.png", root / "masks" / "val" / "b.png", seed=9, size=(24, 32))
    (root / "val").rename(root / "val_set")
    write_pair(root / "test" / "images" / "x.png", None)
    (root / "test-run").mkdir()
    (root / "test-run" / "scores.csv").touch()
    with notes_taken() as notes:
        data = folder(root)
    assert data.test is None
    assert {kind for kind, _ in notes} == {"folder not used"}
    texts = "\n".join(text for _, text in notes)
    for text in (
        "not used: val_set;",
        "called unlabeled",
        "images: val in it is for training",
        "test/images and test/masks",
    ):
        assert text in texts
    assert "test-run" not in texts


def test_parts_of_pairs_that_lack_a_folder_are_said(tmp_path):
    root = make_change(tmp_path, ["x.png", "y.png", "z.png"])
    for place in ("test/A", "test/B", "unlabeled"):
        write_pair(root / place / "q.png", None)
    with notes_taken() as notes:
        data = change_folder(root)
    assert data.test is None
    assert [kind for kind, _ in notes] == ["folder not used"] * 2
    assert {text.partition("folders ")[2] for _, text in notes} == {"test/A and test/label", "unlabeled/A"}


def test_no_class_is_taken_for_the_masks_of_another(tmp_path):
    for name in ("face", "face_mask"):
        for i in range(2):
            write_pair(tmp_path / "train" / name / f"{i}.png", None, seed=i)
        write_pair(tmp_path / "train" / name / "0_mask.png", None)
    with notes_taken() as notes:
        data = image_folder(tmp_path, val_per_class=1)
    assert len(data.labeled) == len(data.val) == 2
    assert "2 masks of photos" in notes[0][1]
    write_pair(tmp_path / "test" / "Face" / "5.png", None)
    with pytest.raises(DataError, match=r"the class 'Face' has no folder .* \(but 'face' is there; write it so\)"):
        image_folder(tmp_path, val_per_class=1)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "train").rename(tmp_path / "Training")
    assert len(image_folder(tmp_path, val_per_class=1).labeled) == 2
