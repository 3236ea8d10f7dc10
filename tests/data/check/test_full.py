import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from helpers.places import SHARED
from helpers.support import rest_nightly
from unimatch.data import camvid, digits, folder, parallel
from unimatch.data.check import FAULTS, full_check
from unimatch.data.check.duplicates import fingerprint
from unimatch.data.check.findings import Label
from unimatch.data.check.full import unlabeled_faults
from unimatch.data.check.one_image import Reading
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.data.splits.lists import read_list
from unimatch.errors import DataError

SHARED = SHARED / "data"


@pytest.fixture
def root(folder_root):
    """The folder layout of ``conftest``: 6 labelled, 4 unlabelled, 3 validation, 2 test images; ids 0, 1 and 2."""
    return folder_root


def found(root, expected, **arguments):
    """The report's findings as (kind, part): texts; of kinds that make training wrong only the expected ones."""
    findings = all_found(root, **arguments)
    assert {key for key in findings if key[0] in FAULTS} == {key for key in [expected] if key and key[0] in FAULTS}
    return findings


def all_found(root, **arguments):
    """The report's findings as (kind, part): texts."""
    data = folder(root, allow_missing=True, **arguments)
    report = full_check(data, workers=0, progress=False)
    assert report.wrong == any(finding.kind in FAULTS for finding in report.findings)
    return {(finding.kind, finding.part): finding.texts for finding in report.findings}


def rewrite(folder_of_masks, change):
    for path in folder_of_masks.glob("*.png"):
        ids = np.asarray(Image.open(path))
        Image.fromarray(change(ids).astype(np.uint8)).save(path)


def test_faultless_data_have_no_findings(root):
    assert found(root, None) == {}
    assert found(root, None, labeled=3) == {}


def test_every_part_is_counted(root):
    report = full_check(folder(root, labeled=4), workers=0, progress=False)
    assert [(p.name, p.images, p.masks) for p in report.parts] == [
        ("labelled", 4, 4),
        ("unlabelled", 2 + 4, 2),
        ("validation", 3, 3),
        ("test", 2, 2),
    ]
    labeled = report.parts[0]
    masks = [np.asarray(Image.open(path)) for path in sorted((root / "masks").iterdir())]
    source = folder(root, labeled=4).labeled
    assert labeled.pixels.sum() == sum(source.mask(i).size for i in range(4))
    assert labeled.pixels[1] == sum((source.mask(i) == 1).sum() for i in range(4))
    assert labeled.showing[:4].tolist() == [4, 4, 4, 0]
    assert sum(labeled.shapes.values()) == 4
    assert len(masks) == 6


@pytest.mark.parametrize("start", rest_nightly(["fork", "spawn"], ["fork"]))
def test_several_processes_find_the_same(root, monkeypatch, start):
    monkeypatch.setattr(parallel, "START", start)
    (root / "masks" / "a3.png").write_bytes(b"")
    data = folder(root, labeled=3, unlabeled="train")
    one, two = full_check(data, workers=0, progress=False), full_check(data, workers=2, progress=False)
    assert one.findings == two.findings
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one.parts, two.parts, strict=True))


@pytest.mark.parametrize(
    ("path", "part"),
    [("images/a3.png", "labelled"), ("masks/a3.png", "labelled"), ("val/masks/v1.png", "validation")],
)
@pytest.mark.parametrize("content", [b"", b"\x89PNG", "half"])
def test_unreadable_files_are_named(root, path, part, content):
    file = root / path
    file.write_bytes(file.read_bytes()[:60] if content == "half" else content)
    assert str(file) in found(root, ("unreadable", part))["unreadable", part][0]


def test_unreadable_unlabelled_images_are_faults_unless_they_are_skipped(root):
    file = root / "unlabeled" / "u2.png"
    file.write_bytes(b"")
    assert str(file) in found(root, ("unreadable", "unlabelled"))["unreadable", "unlabelled"][0]
    skipped = found(root, ("image skipped", "unlabelled"), on_bad_image="skip")
    assert str(file) in skipped["image skipped", "unlabelled"][0]


def test_masks_of_unlabelled_images_need_not_be_right(root):
    masks = [root / "masks" / f"a{i}.png" for i in range(6)]
    data = folder(root, labeled=2)
    unlabeled = [mask for mask in masks if mask.stem in {Path(n).stem for n in data.unlabeled.pairs.images()}]
    assert len(unlabeled) == 4
    unlabeled[0].write_bytes(b"")
    Image.fromarray(np.full((16, 20), 99, np.uint8)).save(unlabeled[1])
    texts = found(root, ("truth unusable", "unlabelled"), labeled=2)["truth unusable", "unlabelled"]
    assert str(unlabeled[0]) in texts[0]
    assert any(str(unlabeled[1]) in text and "id 99" in text for text in texts)


@pytest.mark.parametrize(("path", "part"), [("masks/a1.png", "labelled"), ("val/masks/v0.png", "validation")])
def test_missing_masks_are_all_named(root, path, part):
    (root / path).unlink()
    image = root / path.replace("masks", "images")
    assert found(root, ("no mask", part)) == {("no mask", part): (f"{image}: no mask {root / path}",)}


def test_missing_files_of_lists_are_all_named(root):
    lines = [f"images/a{i}.png masks/a{i}.png" for i in range(6)]
    (root / "list.txt").write_text(
        "\n".join([*lines, "images/gone1.png masks/a0.png", "images/a1.png masks/gone2.png"])
    )
    with pytest.raises(DataError, match="gone1"):
        read_list(root / "list.txt", root, masks=True)
    findings = all_found(root, labeled_list=root / "list.txt")
    texts = findings["missing", "labelled"]
    assert len(texts) == 1
    assert "gone1.png" in texts[0]
    assert findings["no mask", "labelled"] == (f"{root}/images/a1.png: no mask {root}/masks/gone2.png",)
    assert "images/a1.png: 2 times" in findings["listed twice", "labelled"][0]


def test_masks_of_another_size_are_named_with_both_sizes(root, write_pair):
    mask = root / "val" / "masks" / "v1.png"
    write_pair(root / "val" / "images" / "v1.png", mask, seed=99, size=(16, 20), mask_size=(8, 10))
    text = found(root, ("size mismatch", "validation"))["size mismatch", "validation"][0]
    assert text == f"{mask}: the mask is 10 x 8 pixels and its image 20 x 16; they must be equal"


def test_ids_out_of_range_are_named_with_their_pixels(root):
    ids = np.asarray(Image.open(root / "masks" / "a0.png")).copy()
    ids[0, :7], ids[5:7, 2:4], ids[9] = 17, 200, 255
    Image.fromarray(ids).save(root / "masks" / "a0.png")
    text = found(root, ("ids out of range", "labelled"))["ids out of range", "labelled"][0]
    said = f"{root}/masks/a0.png: id 17 (7 pixels), id 200 (4 pixels) outside the 3 classes 0-2; correct the mask"
    assert text.startswith(said)
    with pytest.raises(DataError) as caught:  # one text, wherever it is said
        folder(root).labeled.mask(0)
    assert str(caught.value) == text


def test_ids_of_16_bits_are_checked(root):
    ids = np.asarray(Image.open(root / "masks" / "a0.png")).astype(np.uint16)
    Image.fromarray(ids).save(root / "masks" / "a0.png")
    assert found(root, None) == {}
    ids[0, :3] = 1000
    Image.fromarray(ids).save(root / "masks" / "a0.png")
    assert "id 1000 (3 pixels)" in found(root, ("ids out of range", "labelled"))["ids out of range", "labelled"][0]


def test_masks_in_colours_are_named(root, write_pair):
    write_pair(root / "masks" / "a2.png", None)
    assert str(root / "masks" / "a2.png") in found(root, ("colours", "labelled"))["colours", "labelled"][0]


def test_colour_masks_are_read_and_their_unknown_colours_named(root):
    table = np.array([[0, 0, 0], [9, 9, 9], [255, 0, 0]], np.uint8)
    for path in root.rglob("masks/*.png"):
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    (root / "classes.txt").write_text("0 0 0 ground\n9 9 9 leaf\n255 0 0 stone\n")
    arguments = {"colors": "palette"}
    assert found(root, None, **arguments) == {}
    mask = root / "masks" / "a2.png"
    colors = np.asarray(Image.open(mask)).copy()
    colors[0, 0] = (1, 2, 3)
    Image.fromarray(colors).save(mask)
    texts = found(root, ("ids out of range", "labelled"), **arguments)["ids out of range", "labelled"]
    assert str(mask) in texts[0]
    assert "(1, 2, 3)" in texts[0]


def test_classes_that_are_never_labelled_are_named(root):
    for part in ("masks", "val/masks", "test/masks"):
        rewrite(root / part, lambda ids: np.where(ids == 2, 1, ids))
    findings = found(root, ("class never labelled", "labelled"))
    assert findings["class never labelled", "labelled"] == ("stone",)
    assert findings["class not validated", "validation"] == ("stone",)


def test_ids_shifted_by_one_are_named(root):
    for part in ("masks", "val/masks"):
        rewrite(root / part, lambda ids: ids + 1)
    report = full_check(folder(root, allow_missing=True), workers=0, progress=False)
    findings = {(finding.kind, finding.part): finding.texts for finding in report.findings}
    assert "hold ids up to 3 and never 0" in findings["shifted by one", "all masks"][0]
    assert len(findings["ids out of range", "labelled"]) == 6
    rewrite(root / "test" / "masks", lambda ids: ids + 1)
    assert found(root, None, reduce_zero_label=True) == {}


def test_an_id_0_that_is_void_is_named(root):
    for part in ("masks", "val/masks"):
        rewrite(root / part, lambda ids: np.where(np.arange(ids.shape[1]) < 4, 0, ids + 1))
    report = full_check(folder(root), workers=0, progress=False)
    findings = {finding.kind: finding for finding in report.findings}
    assert "hold ids 0-3, but the classes are 0-2" in findings["id 0 is void"].texts[0]
    assert "shifted by one" not in findings


def test_masks_reduced_twice_are_named(root):
    for part in ("masks", "val/masks", "test/masks"):
        rewrite(root / part, lambda ids: np.where(np.arange(ids.shape[1]) < 4, 255, ids))
    assert found(root, None) == {}
    findings = found(root, ("reduced twice?", "all masks"), reduce_zero_label=True)
    assert "never 3" in findings["reduced twice?", "all masks"][0]


def test_masks_without_id_0_are_noted(root):
    for part in ("masks", "val/masks", "test/masks"):
        rewrite(root / part, lambda ids: np.maximum(ids, 1))
    assert "ground" in found(root, ("numbered from 1?", "all masks"))["numbered from 1?", "all masks"][0]


def test_black_and_white_masks_are_named(root):
    for part in ("masks", "val/masks", "test/masks"):
        rewrite(root / part, lambda ids: np.where(ids > 0, 255, 0))
    findings = all_found(root)
    assert {kind for kind, _ in findings if kind in FAULTS} == {"only 0 and 255", "one class"}
    assert "there are 3 classes" in findings["only 0 and 255", "all masks"][0]
    (root / "classes.txt").write_text("ground\nleaf\n")
    texts = all_found(root)["only 0 and 255", "labelled"]
    assert len(texts) == 6
    assert f"{root}/masks/a0.png: 255 is ignored; save leaf as 1, or set 'dataset.ids={{0: 0, 255: 1}}'" in texts
    assert found(root, None, ids={0: 0, 255: 1}, ignore_ids=[]) == {}


def test_masks_that_are_void_throughout_are_named(root):
    rewrite(root / "val" / "masks", lambda ids: np.full_like(ids, 255))
    findings = found(root, ("all ignored", "validation"))
    assert findings["all ignored", "validation"] == ("none of the 3 masks shows a class",)
    assert len(findings["mask all ignored", "validation"]) == 3


def test_lossy_masks_are_noted(root):
    mask = root / "masks" / "a0.png"
    Image.fromarray(np.zeros((16, 20), np.uint8)).save(root / "masks" / "a0.jpg", quality=100)
    mask.unlink()
    assert "a0.jpg" in found(root, ("lossy mask", "labelled"))["lossy mask", "labelled"][0]


def test_images_both_labelled_and_validated_are_named(root):
    (root / "val.txt").write_text("images/a1.png masks/a1.png\nval/images/v0.png val/masks/v0.png\n")
    (root / "train.txt").write_text("images/a0.png masks/a0.png\nimages/a1.png masks/a1.png\n")
    findings = found(root, ("in two parts", "labelled"), labeled_list=root / "train.txt", val_list=root / "val.txt")
    assert findings["in two parts", "labelled"] == (f"{root}/images/a1.png: also a validation image",)


@pytest.mark.parametrize(("copy", "part"), [("images/a4", "labelled"), ("unlabeled/u1", "unlabelled")])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_the_same_pixels_in_training_and_validation_are_named(root, copy, part, suffix):
    """Also in a file of another name and format."""
    original = root / "val" / "images" / "v2.png"
    (root / f"{copy}.png").unlink()
    Image.open(original).save(root / f"{copy}{suffix}")
    if part == "labelled":
        shutil.copy(root / "val" / "masks" / "v2.png", root / "masks" / "a4.png")
    text = found(root, ("same content", part))["same content", part][0]
    assert text == f"{root}/{copy}{suffix}: the pixels of the validation image {original}"


def test_images_that_differ_in_one_pixel_are_not_the_same(root, write_pair):
    names = root / "val" / "images" / "v2.png", root / "val" / "masks" / "v2.png"
    write_pair(*names, size=(60, 20))
    pixels = np.asarray(Image.open(names[0])).copy()
    before = fingerprint(pixels)
    pixels[1, 1, 1] ^= 1  # in a row that the fingerprint leaves out
    assert fingerprint(pixels) == before
    Image.fromarray(pixels).save(root / "unlabeled" / "u1.png")
    assert found(root, None).keys() == {("near copy", "unlabelled")}


def test_a_linked_image_is_the_same_image(root):
    (root / "unlabeled" / "u1.png").unlink()
    (root / "unlabeled" / "u1.png").symlink_to(root / "val" / "images" / "v2.png")
    assert "v2.png" in found(root, ("in two parts", "unlabelled"))["in two parts", "unlabelled"][0]


def test_labelled_images_without_a_mask_are_named(root):
    data = folder(root)
    pairs = list(data.labeled.pairs)
    source = FileSource([FilePair(pairs[0].image), *pairs[1:]], data.info)
    report = full_check(type(data)(data.info, source, data.unlabeled, data.val), workers=0, progress=False)
    assert [(f.kind, f.part, f.texts) for f in report.findings] == [("no mask", "labelled", (str(pairs[0].image),))]


def test_data_made_in_memory_are_checked():
    report = full_check(digits(train=12, labeled=4, val=3, size=32), workers=0, progress=False)
    assert not report.wrong
    assert [part.images for part in report.parts] == [4, 8, 3]


@pytest.mark.nightly
@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="CamVid is not here")
def test_no_false_alarm_on_camvid():
    report = full_check(camvid(SHARED / "camvid", unlabeled="train"), progress=False)
    assert report.findings == ()
    assert [part.images for part in report.parts] == [367, 367, 101, 233]


@pytest.mark.nightly
@pytest.mark.skipif(not (SHARED / "nuclei").is_dir(), reason="the nuclei images are not here")
def test_no_false_alarm_on_nuclei():
    report = full_check(folder(SHARED / "nuclei", labeled=50), progress=False)
    assert report.findings == ()
    assert [part.images for part in report.parts] == [50, 414, 100, 100]


def test_what_is_only_noted_of_an_unlabelled_images_mask_keeps_its_kind():
    label = Label((("turned alone", "a.png"), ("ids out of range", "b.png")))
    faults = unlabeled_faults(Reading((), label, None, None, None), SimpleNamespace(on_bad_image="error"))
    assert faults == [("turned alone", "a.png"), ("truth unusable", "b.png")]
