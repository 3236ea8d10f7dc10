"""The full check of pairs of dates: each fault is planted, found, and nothing else is."""

import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.cases import turned
from helpers.support import make_change
from unimatch import DataError
from unimatch.data import change_folder, whu
from unimatch.data.check import full_check
from unimatch.data.check.contact_sheet import draw_contact_sheet, draw_image
from unimatch.data.check.survey import survey

NAMES = [f"t{i}.png" for i in range(10)]


@pytest.fixture
def root(tmp_path):
    """Six pairs to train, two to validate, two to test, two without labels."""
    root = tmp_path / "pairs"
    for part, names in (("train", NAMES[:6]), ("val", NAMES[6:8]), ("test", NAMES[8:]), ("unlabeled", ["u0.png"])):
        make_change(root / part, names)
    shutil.rmtree(root / "unlabeled" / "label")
    return root


def findings(root, dataset=change_folder, **arguments):
    data = dataset(root, allow_missing=True, **arguments)
    report = full_check(data, workers=0, progress=False)
    return {(finding.kind, finding.part): finding.texts for finding in report.findings}


def test_whole_pairs_have_no_findings_and_their_changed_pixels_are_counted(root):
    report = full_check(change_folder(root, labeled=4), workers=0, progress=False)
    assert report.findings == ()
    assert [(p.name, p.images, p.masks) for p in report.parts] == [
        ("labelled", 4, 4),
        ("unlabelled", 2 + 1, 2),
        ("validation", 2, 2),
        ("test", 2, 2),
    ]
    assert report.parts[0].pixels[:2].tolist() == [4 * (20 * 24 - 64), 4 * 64]


def rewrite(change):
    def spoil(path):
        Image.fromarray(change(np.asarray(Image.open(path)).copy())).save(path)

    return spoil


def set_id(label):
    label[0, :3] = 7
    return label


def cut(path):
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ("file", "spoil", "kind", "text"),
    [
        ("A/t1.png", cut, "unreadable", "{file}: cannot be read as an image"),
        ("B/t1.png", cut, "unreadable", "{file}: cannot be read as an image"),
        ("label/t1.png", cut, "unreadable", "{file}: cannot be read as a mask"),
        ("B/t1.png", lambda path: path.unlink(), "missing", "{file}: no such file; it is the second date"),
        ("label/t1.png", lambda path: path.unlink(), "no mask", "{image}: no mask {file}"),
        ("B/t1.png", rewrite(lambda image: image[:16]), "dates differ in size", "{file}: the second date is 24 x 16"),
        (
            "label/t1.png",
            rewrite(lambda label: label[:16]),
            "size mismatch",
            "{file}: the mask is 24 x 16 pixels and its image 24 x 20",
        ),
        (
            "label/t1.png",
            rewrite(set_id),
            "ids out of range",
            "{file}: id 7 (3 pixels) outside 0 (unchanged), 1 (changed), 255 (changed); correct the mask",
        ),
    ],
)
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_each_fault_is_named_with_its_file_and_nothing_else(root, part, file, spoil, kind, text):
    # The names of the pairs of a part begin at another number.
    path = root / part / file.replace("1", {"train": "1", "val": "7", "test": "9"}[part])
    spoil(path)
    found = findings(root)
    name = {"train": "labelled", "val": "validation", "test": "test"}[part]
    assert list(found) == [(kind, name)]
    assert len(found[kind, name]) == 1
    assert found[kind, name][0].startswith(text.format(file=path, image=path.parents[1] / "A" / path.name))


def test_a_first_date_that_a_list_names_and_that_is_missing_is_named(root):
    (root / "names.txt").write_text("t0.png\ngone.png\n")
    for folder in "A", "B", "label":
        shutil.move(root / "train" / folder, root / folder)
    found = findings(root, labeled_list=root / "names.txt")
    assert f"{root}/A/gone.png" in found["missing", "labelled"][0]
    assert f"{root}/label/gone.png" in found["no mask", "labelled"][0]


def test_an_empty_list_is_refused(root):
    (root / "names.txt").write_text("\n")
    with pytest.raises(DataError, match=r"names\.txt: the list is empty"):
        findings(root, labeled_list=root / "names.txt")


def test_unlabelled_pairs_that_cannot_be_read_are_faults_unless_they_are_skipped(root):
    cut(root / "unlabeled" / "B" / "u0.png")
    assert ("unreadable", "unlabelled") in findings(root)
    assert list(findings(root, on_bad_image="skip")) == [("image skipped", "unlabelled")]


def test_pairs_of_equal_dates_are_noted(root):
    shutil.copy(root / "train" / "A" / "t2.png", root / "train" / "B" / "t2.png")
    found = findings(root)
    assert found == {("same dates", "labelled"): (f"{root}/train/A/t2.png: both dates have the same pixels",)}


@pytest.mark.parametrize("exif", ["turn", "stored"])
def test_dates_differ_in_size_as_they_are_read(root, exif):
    """A second date of 20 x 24 pixels, which its EXIF orientation turns: as it is stored, it has another size."""
    path = root / "train" / "B" / "t1.png"
    image = np.rot90(np.asarray(Image.open(path)))
    turned(6)(image, path)
    kinds = {"turn": [], "stored": ["dates differ in size"]}[exif]
    assert [kind for kind, _ in findings(root, exif=exif)] == kinds


def test_labels_that_are_mostly_changed_are_noted(root):
    for path in (root / "train" / "label").iterdir():
        rewrite(lambda label: 255 - label)(path)
    share = 100 * (20 * 24 - 64) / (20 * 24)
    assert findings(root) == {("mostly changed", "labelled"): (f"{share:.1f} % of the pixels",)}
    said = [line for line in survey(change_folder(root)) if line.startswith("labelled: mostly changed")]
    assert len(said) == 1


def test_a_label_with_both_values_of_change_is_noted(root):
    path = sorted((root / "train" / "label").iterdir())[0]
    label = np.array(Image.open(path))
    label[:2] = 1
    Image.fromarray(label).save(path)
    ((kind, part),) = found = findings(root)
    assert (kind, part) == ("1 and 255", "labelled")
    text = f"{path}: {(label == 255).sum()} pixels of 255 and {(label == 1).sum()} of 1 are one class; if 255 is no"
    assert found[kind, part][0].startswith(text)
    assert any(line.startswith("labelled: 1 and 255") for line in survey(change_folder(root)))


def test_labels_without_any_change_are_noted(root):
    for path in (root / "train" / "label").iterdir():
        rewrite(np.zeros_like)(path)
    found = findings(root)
    assert [*found] == [("one class", "labelled")]
    assert found["one class", "labelled"][0].startswith("unchanged alone, in 6 of them")


@pytest.mark.parametrize("held", ["val", "test"])
@pytest.mark.parametrize("part", ["train", "unlabeled"])
def test_pairs_both_trained_on_and_held_out_are_named(root, part, held):
    original, copy = {"val": "t7.png", "test": "t9.png"}[held], {"train": "t3.png", "unlabeled": "u0.png"}[part]
    for folder in ("A", "B", "label"):
        if (root / part / folder).is_dir():
            shutil.copy(root / held / folder / original, root / part / folder / copy)
    name, other = {"train": "labelled", "unlabeled": "unlabelled"}[part], {"val": "validation", "test": "test"}[held]
    text = f"{root}/{part}/A/{copy}: the pixels of the {other} image {root}/{held}/A/{original}"
    assert findings(root) == {("same content", name): (text,)}


def test_the_same_name_in_two_lists_is_named(tmp_path):
    root = make_change(tmp_path / "whu", NAMES)
    (root / "list").mkdir()
    (root / "list" / "train.txt").write_text("\n".join(NAMES[:7]))
    (root / "list" / "val.txt").write_text("\n".join(NAMES[6:]))
    (root / "labeled.txt").write_text("\n".join([*NAMES[4:7], NAMES[4]]))
    found = findings(root, whu, labeled_list=root / "labeled.txt")
    assert found["in two parts", "labelled"] == (f"{root}/A/t6.png: also a validation image",)
    assert found["listed twice", "labelled"] == (f"{root}/A/t4.png: 2 times",)


def test_the_contact_sheet_shows_both_dates_and_the_change_on_the_second(root, tmp_path):
    data = change_folder(root)
    picture, ids = draw_image(data.val, 0, data.info)
    assert ids == {0, 1}
    height, width = picture.shape[:2]
    assert width == 2 * 320
    first = np.asarray(Image.fromarray(data.val.image(0)[0]).resize((320, height), Image.Resampling.NEAREST))
    assert np.abs(picture[:, :320].astype(int) - first).mean() < 3
    label = np.asarray(Image.fromarray(data.val.mask(0)).resize((320, height), Image.Resampling.NEAREST)) == 1
    red = picture[:, 320:, 0].astype(int)
    assert red[label].mean() > red[~label].mean() + 80
    draw_contact_sheet(data, tmp_path / "sheet.png", {})
    assert Image.open(tmp_path / "sheet.png").width > 1000
