"""Data as people have it, spoiled in one way each: what the full check and the look before a training make of it."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.cases import (
    COLORS,
    HEIGHT,
    PALETTE,
    alpha,
    bits,
    blurred,
    both,
    deep,
    images,
    make,
    masks,
    nodata,
    paged,
    quantized,
    save,
    smooth,
    tiny,
    turned,
)
from helpers.support import make_change
from unimatch import DataError
from unimatch.data import change_folder, folder, image_folder
from unimatch.data.check import full_check
from unimatch.data.check.before_training import verify
from unimatch.inference.inputs import find_photos

TWO = "".join(PALETTE.splitlines(keepends=True)[:2])
DEPTH = r"a0\.(png|tif): {} cannot be read as an image; .*dataset\.bands"
DEEP = "bands of 16-bit unsigned integers"
COLORED = {"colors": "palette"}

# Of each case: how many classes, what spoils the data, the settings, what the check finds in the labelled images or in
# all masks, and a text of it; and whether the run begins.
CASES = {
    "rgb16png": (2, images(deep([2, 1, 0])), {}, {"unreadable"}, DEPTH.format(f"3 {DEEP}"), False),
    "rgb16tif": (2, images(deep([2, 1, 0]), ".tif"), {}, {"unreadable"}, DEPTH.format(f"3 {DEEP}"), False),
    "rgba16tif": (2, images(deep([2, 1, 0, 0]), ".tif"), {}, {"unreadable"}, DEPTH.format(f"4 {DEEP}"), False),
    "grey16tif": (
        2,
        images(deep([0]), ".tif"),
        {},
        {"unreadable"},
        DEPTH.format("1 band of 16-bit unsigned integers"),
        False,
    ),
    "float3tif": (
        2,
        images(lambda array, path: cv2.imwrite(str(path), array.astype(np.float32) / 255), ".tif"),
        {},
        {"unreadable"},
        DEPTH.format("3 bands of 32-bit floats"),
        False,
    ),
    "exif180": (
        2,
        images(turned(3), ".jpg"),
        {},
        {"turned alone"},
        "EXIF orientation is 3 .*dataset.exif=stored",
        True,
    ),
    "exif180 as stored": (2, images(turned(3), ".jpg"), {"exif": "stored"}, set(), None, True),
    "exif6": (2, images(turned(6), ".jpg"), {}, {"size mismatch"}, "EXIF orientation 6; dataset.exif=stored", False),
    "exif6square": (
        2,
        both(images(lambda a, path: turned(6)(a[:, :HEIGHT], path), ".jpg"), masks(save(lambda a: a[:, :HEIGHT]))),
        {},
        {"turned alone"},
        "EXIF orientation is 6 .*dataset.exif=stored",
        True,
    ),
    "exif6 as stored": (2, images(turned(6), ".jpg"), {"exif": "stored"}, set(), None, True),
    "mask with exif alone": (2, masks(turned(8)), {}, {"size mismatch"}, "would fit if one were turned.* EXIF", False),
    "bit4": (4, masks(bits(4)), {}, set(), None, True),
    "bit2": (4, masks(bits(2)), {}, set(), None, True),
    "bit2x03": (
        2,
        masks(lambda a, path: bits(2)(a * 3, path), names="other\na\nb\nroad\n"),
        {},
        {"class never labelled"},
        "a",
        True,
    ),
    "bit1": (2, masks(bits(1)), {}, set(), None, True),
    "pal_quant": (4, masks(quantized, names=PALETTE), {}, {"palette order"}, "read the colours: dataset.colors", False),
    "pal_quant, colours": (4, masks(quantized, names=PALETTE), COLORED, set(), None, True),
    "rgba_mask": (
        2,
        masks(alpha, names=TWO),
        COLORED,
        {"one class", "transparent"},
        "pixels; for their colours",
        False,
    ),
    "b255": (2, masks(save(lambda a: a * 255)), {}, {"one class", "only 0 and 255"}, r"a0\.png: 255 is ignored", False),
    "bmix": (
        2,
        masks(save(lambda a: a * 255), only=slice(0, 3, 2)),
        {},
        {"only 0 and 255"},
        "{0: 0, 1: 1, 255: 1}",
        True,
    ),
    "255 is void": (
        2,
        masks(save(lambda a: np.where(np.arange(24) < 3, 255, a).astype(np.uint8))),
        {},
        set(),
        None,
        True,
    ),
    "rgbgrey": (2, masks(save(lambda a: np.dstack([a] * 3))), {}, set(), None, True),
    "grey and RGB mixed": (2, masks(save(lambda a: np.dstack([a] * 3)), only=slice(2)), {}, set(), None, True),
    "grey among colours": (
        2,
        masks(save(COLORS.__getitem__), only=slice(1, None), names=TWO),
        COLORED | {"unknown_values": "nearest"},
        {"ids out of range"},
        r"a0\.png: holds class ids where colours",
        False,
    ),
    "jpegmask": (
        4,
        masks(save(quality=60), ".jpg"),
        {},
        {"ids out of range", "lossy mask"},
        "save masks as PNG",
        False,
    ),
    "jpegmask2": (2, masks(save(quality=90), ".jpg"), {}, {"ids out of range", "lossy mask"}, "masks as PNG", False),
    "jpegmask, 0 and 255": (
        2,
        masks(save(lambda a: a * 255, quality=80), ".jpg"),
        {"ids": {0: 0, 255: 1}, "unknown_values": "nearest"},
        {"lossy mask", "unknown values"},
        "taken for the nearest class",
        True,
    ),
    "antialias": (2, masks(blurred, names=TWO), COLORED, {"ids out of range"}, "blurred edges, set dataset.unk", False),
    **{
        f"antialias, {choice}": (
            2,
            masks(blurred, names=TWO),
            COLORED | {"unknown_values": choice},
            {"unknown values"},
            outcome,
            True,
        )
        for choice, outcome in (("ignore", "of no class"), ("nearest", "taken for the nearest class"))
    },
    "bilinear_ids": (4, masks(smooth), {}, {"ids between"}, "resize masks to the nearest pixel", True),
    "multipage": (2, images(paged, ".tif"), {}, {"unreadable"}, "holds 3 pages .*dataset.bands", False),
    "multimask": (2, masks(paged, ".tif"), {}, {"unreadable"}, "holds 3 pages or frames, and a mask has one", False),
    "deep colour masks": (
        2,
        masks(lambda a, path: cv2.imwrite(str(path), COLORS[a].astype(np.uint16)), names=TWO),
        COLORED,
        {"ids out of range"},
        "3 bands of 16-bit .*colours in three of 8 bits",
        False,
    ),
    "float masks": (
        2,
        masks(save(lambda a: a.astype(np.float32)), ".tif"),
        {},
        {"unreadable"},
        "1 band of 32-bit floats cannot be read as a mask; save class ids as whole numbers",
        False,
    ),
    "negative no data": (
        2,
        masks(nodata(-9999, np.int32), ".tif"),
        {},
        {"ids out of range"},
        r"id -9999 \(5 pix",
        False,
    ),
    "negative no data, named": (2, masks(nodata(-9999, np.int32), ".tif"), {"ignore_ids": [-9999]}, set(), None, True),
    "cmyk": (
        2,
        images(lambda array, path: Image.fromarray(array).convert("CMYK").save(path), ".jpg"),
        {},
        set(),
        None,
        True,
    ),
    "tiny_img": (2, both(images(save(tiny)), masks(save(tiny))), {}, set(), None, True),
    "wrong ending": (2, images(save(format="WEBP")), {}, set(), None, True),
}


def examine(root, **settings):
    report = full_check(folder(root, allow_missing=True, **settings), workers=0, progress=False)
    return {finding.kind: finding.texts for finding in report.findings if finding.part in ("labelled", "all masks")}


@pytest.mark.parametrize("name", CASES)
def test_case(tmp_path, name, caplog):
    classes, spoil, settings, kinds, text, begins = CASES[name]
    root = make(tmp_path / "data", classes=classes)
    spoil(root)
    found = examine(root, **settings)
    assert {*found} == kinds
    if text is not None:
        assert any(re.search(text, line) for kind in kinds for line in found[kind]), found
    data = folder(root, **settings)
    if begins:
        lines = verify(data, needs_unlabeled=True)
        assert {line.partition(": ")[2].partition(" (")[0] for line in lines if line.startswith("labelled")} == kinds
        assert all(line in caplog.messages for line in lines)
    else:
        with pytest.raises(DataError, match=text):
            verify(data, needs_unlabeled=True)


def kinds_of(data):
    return {(finding.kind, finding.part) for finding in full_check(data, workers=0, progress=False).findings}


@pytest.fixture
def pairs(tmp_path):
    make_change(tmp_path / "pairs", [f"p{i}.png" for i in range(5)])
    return tmp_path / "pairs"


def test_masks_that_lists_name_are_judged_as_those_in_folders(tmp_path):
    root = make(tmp_path / "data")
    masks(save(lambda a: a * 255))(root)
    (root / "labeled.txt").write_text("images/a0.png masks/a0.png\nimages/a1.png masks/a1.png\n")
    (root / "val.txt").write_text("images/a2.png masks/a2.png\n")
    data = folder(root, labeled_list=root / "labeled.txt", val_list=root / "val.txt")
    assert ("only 0 and 255", "labelled") in kinds_of(data)
    with pytest.raises(DataError, match=r"(?s)one class .*only 0 and 255"):
        verify(data, needs_unlabeled=True)


def test_palettes_that_differ_between_files_are_no_ids(tmp_path):
    """Also where nobody has said which colours the classes have."""
    root = make(tmp_path / "data", classes=4)

    def write(order):
        def save_sorted(array, path):
            image = Image.fromarray(np.argsort(order).astype(np.uint8)[array])
            image.putpalette(COLORS[order].tobytes())
            image.save(path)

        return save_sorted

    masks(write([0, 1, 2, 3]))(root)
    assert kinds_of(folder(root)) == set()
    masks(write([2, 1, 0, 3]), only=slice(2))(root)
    for line in verify(folder(root), needs_unlabeled=True):
        assert re.search(r"all masks: palette order .*dataset\.colors", line)
    assert ("palette order", "all masks") in kinds_of(folder(root))


def test_dates_that_exif_turns_are_noted_and_left_where_told(pairs):
    path = pairs / "B" / "p1.png"
    after = np.asarray(Image.open(path))
    turned(3)(after, path)
    data = change_folder(pairs, val_share=0.2)
    assert {kind for kind, _ in kinds_of(data)} == {"turned alone"}
    index = next(i for i in range(4) if data.labeled.name(i).endswith("p1.png"))
    assert np.array_equal(data.labeled.image(index)[1], after[::-1, ::-1])
    stored = change_folder(pairs, val_share=0.2, exif="stored")
    assert kinds_of(stored) == set()
    assert np.array_equal(stored.labeled.image(index)[1], after)


def test_deep_dates_are_refused(pairs):
    path = pairs / "B" / "p1.png"
    deep([0, 1, 2])(np.asarray(Image.open(path)), path)
    with pytest.raises(DataError, match=r"B/p1\.png: 3 bands of 16-bit"):
        verify(change_folder(pairs), needs_unlabeled=False)


def test_labels_of_changes_are_rounded_where_told(pairs):
    """1 and 255 both mean changed; in a file that compression has blurred, 1 is noise."""
    whole = {path.name: np.asarray(Image.open(path)) for path in (pairs / "label").iterdir()}
    for name, label in whole.items():
        Image.fromarray(label).save(pairs / "label" / name, "JPEG", quality=70)
    with pytest.raises(DataError, match=r"outside 0 .*lossy compression .*unknown_values=nearest"):
        verify(change_folder(pairs), needs_unlabeled=False)
    data = change_folder(pairs, unknown_values="nearest")
    verify(data, needs_unlabeled=False)
    for i in range(len(data.labeled)):
        wrong = data.labeled.mask(i) != (whole[Path(data.labeled.name(i)).name] > 0)
        assert wrong.mean() < 0.02


def test_pairs_without_any_change_teach_nothing(pairs):
    for path in (pairs / "label").iterdir():
        Image.new("L", Image.open(path).size).save(path)
    with pytest.raises(DataError, match=r"one class .*unchanged alone, in 4 of them"):
        verify(change_folder(pairs), needs_unlabeled=False)


def test_deep_images_in_class_folders_and_among_photos_to_predict_are_refused(tmp_path):
    for name in ("cat", "dog"):
        for i in range(3):
            path = tmp_path / "train" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((6, 7, 3), 40 * i, np.uint8)).save(path)
    deep([0, 1, 2])(np.asarray(Image.open(path)), path)
    with pytest.raises(DataError, match=r"dog/2\.png: 3 bands of 16-bit"):
        verify(image_folder(tmp_path, val_per_class=1), needs_unlabeled=False)
    _, photos = find_photos(str(tmp_path / "train" / "dog"))
    with pytest.raises(DataError, match=r"dog/2\.png: 3 bands of 16-bit"):
        [photo.load() for photo in photos]
