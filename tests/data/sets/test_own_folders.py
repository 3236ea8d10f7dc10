"""Where the images and masks of people's own data sets lie: one data set, arranged as people arrange it."""

import shutil

import pytest
from PIL import Image

from helpers.support import make_folder, write_pair
from unimatch.data import folder
from unimatch.data.sets.own_folders import Place, place_of
from unimatch.errors import DataError
from unimatch.images.folders import notes_taken

BELOW = "{0}/images {0}/masks"
ARRANGEMENTS = {
    "as written": ("images masks", "val/images val/masks", "test/images test/masks"),
    "by part": tuple(map(BELOW.format, ("train", "val", "test"))),
    "by part, other words": ("Train/imgs Train/Labels", "valid/imgs valid/Labels", "testing/imgs testing/Labels"),
    "by kind": ("images/train masks/train", "images/val masks/val", "images/test masks/test"),
    "by kind, MMSegmentation": ("img_dir/train ann_dir/train", "img_dir/val ann_dir/val", "img_dir/test ann_dir/test"),
    "by kind, ADE20K": (
        *("images/training annotations/training", "images/validation annotations/validation"),
        "images/testing annotations/testing",
    ),
    "side by side": ("train train_labels", "val val_labels", "test test_labels"),
    "side by side, SegNet": ("train trainannot", "val valannot", "test testannot"),
    "side by side, capitals": ("Train TrainAnnot", "VAL VAL-Annot", "Testing Testing_Labels"),
    "side by side, together": ("TrainImages TrainMasks", "val-images val-masks", "testimg testgt"),
    "side by side, Kaggle": ("train_images train_masks", "val_images val_masks", "test_images test_masks"),
    "Pascal VOC": ("JPEGImages SegmentationClass", "val/JPEGImages val/SegmentationClass", "test/image test/gt"),
    "labelled and unlabelled": ("labeled/images labeled/masks", "val/images val/masks", "test/images test/masks"),
    "by kind, names of two people": ("images/train masks/Training", "images/val masks/valid", "images/test masks/test"),
    "mixed": ("image label", "val_images val_masks", "test/images test/masks"),
}


def arrange(root, places):
    """The data set of 6 labelled, 2 validation and 2 test images, and 3 unlabelled ones, in other folders."""
    plain = make_folder(root.with_name("plain"), labeled=6, val=2, test=2, unlabeled=3)
    for before, place in zip(ARRANGEMENTS["as written"], places, strict=True):
        for old, new in zip(before.split(), place.split(), strict=True):
            (root / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(plain / old, root / new)
    shutil.copytree(plain / "unlabeled", root / "unlabeled")
    shutil.copy(plain / "classes.txt", root)
    return root


@pytest.mark.parametrize("places", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_each_arrangement_gives_the_same_data(tmp_path, places):
    root = arrange(tmp_path / "photos", places)
    with notes_taken() as notes:
        data = folder(root)
    expected = folder(tmp_path / "plain")
    assert not notes
    for part, count in (("labeled", 6), ("val", 2), ("test", 2), ("unlabeled", 3)):
        found, same = getattr(data, part), getattr(expected, part)
        assert len(found) == len(same) == count
        for i in range(count):
            assert (found.image(i) == same.image(i)).all()
            assert part == "unlabeled" or (found.mask(i) == same.mask(i)).all()


def test_photos_and_masks_may_lie_in_further_folders(tmp_path):
    for i in range(4):
        write_pair(tmp_path / "train" / "city" / f"{i}.png", tmp_path / "train_masks" / "city" / f"{i}.png", seed=i)
    (tmp_path / "classes.txt").write_text("\n".join(map(str, range(11))))
    data = folder(tmp_path, val_share=0.25)
    assert (len(data.labeled), len(data.val)) == (3, 1)


def test_what_was_understood_is_logged(tmp_path, caplog):
    caplog.set_level("INFO", "unimatch")
    folder(arrange(tmp_path / "photos", ARRANGEMENTS["side by side"]))
    assert f"training images lie in {tmp_path / 'photos' / 'train'}, their masks in" in caplog.text
    caplog.clear()
    folder(tmp_path / "plain")
    assert "training images lie" not in caplog.text


def test_parts_without_masks_are_missed_or_pointed_out(tmp_path):
    root = arrange(tmp_path / "photos", ARRANGEMENTS["by kind"])
    shutil.rmtree(root / "masks" / "test")
    with notes_taken() as notes:
        assert folder(root).test is None
    missed = f"{root / 'images' / 'test'}: not used; it needs the folders images/test and masks/test"
    assert notes == [("folder not used", missed)]
    shutil.rmtree(root / "masks" / "val")
    with pytest.raises(DataError, match=r"masks/val: no such folder \(.*masks has train\)"):
        folder(root)
    (root / "images" / "val").rename(root / "images" / "extra")
    with notes_taken() as notes:
        data = folder(root)
    assert len(data.val) == 1  # held out of the training images
    unused = f"{root / 'images'}: not used: extra; unlabelled images go to {root / 'unlabeled'}"
    assert [text for _, text in notes] == [missed, unused]


def test_a_part_that_lies_in_two_places_is_read_from_one_and_that_is_said(tmp_path):
    root = arrange(tmp_path / "photos", ARRANGEMENTS["as written"])
    shutil.copytree(root / "images", root / "train" / "images")
    shutil.copytree(root / "masks", root / "train" / "masks")
    with notes_taken() as notes:
        assert len(folder(root).labeled) == 6
    assert notes == [
        ("folder not used", f"{root}: of images and train/images only images is used for train; join them")
    ]


def test_of_several_folders_the_usual_names_are_used_and_others_refused(tmp_path):
    root = make_folder(tmp_path, labeled=6, val=2)
    shutil.copytree(root / "images", root / "img")
    shutil.copytree(root / "masks", root / "labels")
    assert place_of(root, "train") == Place("images", "masks")
    (root / "images").rename(root / "photos")
    with pytest.raises(DataError, match="img and photos could both be meant; rename the folder of images to images"):
        folder(root)
    shutil.rmtree(root / "img")
    (root / "masks").rename(root / "gt")
    with pytest.raises(DataError, match=r"gt and labels could both be meant; .* that of masks to masks"):
        folder(root)


def test_folders_without_images_are_not_meant(tmp_path):
    root = make_folder(tmp_path, labeled=6, val=2)
    for name in ("labels", "annotations", "train/labels"):  # as YOLO and Pascal VOC have them
        (root / name).mkdir(parents=True)
        (root / name / "a0.txt").touch()
    (root / "masks").rename(root / "mask")
    for name in ("photo", "train_images", "test/images"):
        (root / name).mkdir(parents=True)
    assert place_of(root, "train") == Place("images", "mask")
    with notes_taken() as notes:
        assert folder(root).test is None
    assert not notes
    (root / "images").rename(root / "img")
    assert place_of(root, "train") == Place("img", "mask")
    (root / "img").rename(root / "Train")
    (root / "mask").rename(root / "train_mask")
    assert place_of(root, "train") == Place("Train", "train_mask")
    (root / "train_mask").rename(root / "mask")
    shutil.rmtree(root / "mask")
    assert place_of(root, "train") is None
    with pytest.raises(DataError, match=r"images: no such folder"):
        folder(root)


def test_images_in_folders_of_any_other_name_stay_one_data_set(tmp_path):
    """Sites, days and cameras; and a folder ``val`` beside loose images, which is said."""
    root = make_folder(tmp_path, labeled=2)
    for place in ("north/a.png", "south/a.png"):
        write_pair(root / "images" / place, root / "masks" / place, seed=5, size=(24, 32))
    assert len(folder(root, val_share=0.25).labeled) == 3
    for place in ("train/b.png", "val/b.png"):
        write_pair(root / "images" / place, root / "masks" / place, seed=6, size=(24, 32))
    with notes_taken() as notes:
        assert len(folder(root, val_share=0.25).labeled) == 4
    assert "val in it is for training, as all images below it are" in notes[0][1]


def test_lists_name_files_of_any_arrangement(tmp_path):
    root = arrange(tmp_path / "photos", ARRANGEMENTS["by part"])
    (root / "labeled.txt").write_text("train/images/a1.png train/masks/a1.png\n")
    data = folder(root, labeled_list=root / "labeled.txt")
    assert [data.labeled.name(0)] == [str(root / "train" / "images" / "a1.png")]
    assert len(data.unlabeled) == 5 + 3
    assert Image.open(data.labeled.name(0)).size == (33, 24)


@pytest.mark.parametrize(
    ("arrangement", "pool"),
    [
        ("as written", "images/unlabeled"),
        ("as written", "images/Unlabelled/day 1"),
        ("by part", "train/unlabelled"),
        ("by part", "train/unlabeled/images"),
        ("by part", "train/images/unlabeled"),
        ("by kind", "images/unlabelled"),
        ("side by side", "train/unlabeled"),
        ("labelled and unlabelled", "labeled/unlabeled"),
    ],
)
def test_unlabelled_images_may_lie_among_the_training_images(tmp_path, arrangement, pool):
    root = arrange(tmp_path / "photos", ARRANGEMENTS[arrangement])
    (root / pool).parent.mkdir(parents=True, exist_ok=True)
    (root / "unlabeled").rename(root / pool)
    for allow_missing in (False, True):
        with notes_taken() as notes:
            data = folder(root, allow_missing=allow_missing)
        assert not notes
        assert [len(part) for part in (data.labeled, data.val, data.test)] == [6, 2, 2]
        assert sorted(data.unlabeled.name(i) for i in range(len(data.unlabeled))) == [
            str(root / pool / f"u{i}.png") for i in range(3)
        ]


def test_all_folders_of_unlabelled_images_are_used_and_those_with_masks_are_labelled(tmp_path):
    root = arrange(tmp_path / "photos", ARRANGEMENTS["by part"])
    for i, pool in enumerate(("train/unlabeled", "train/images/unlabeled")):
        write_pair(root / pool / f"w{i}.png", None, seed=100 + i, size=(24, 32))
    write_pair(root / "train/images/unlabeled/w2.png", root / "train/masks/unlabeled/w2.png", size=(24, 32), ids=(0, 1))
    data = folder(root)
    assert len(data.labeled) == 7
    assert len(data.unlabeled) == 3 + 2
    write_pair(root / "val/images/unlabeled/w3.png", None, seed=103)
    with pytest.raises(
        DataError, match=r"val/images/unlabeled/w3\.png: no mask"
    ):  # of validation images none may lack it
        folder(root)


@pytest.mark.parametrize("masks", ["SegmentationClass", "SegmentationClassPNG"])
def test_drawn_masks_beside_the_masks_are_not_meant(tmp_path, masks):
    """As LabelMe's conversion to Pascal VOC writes them."""
    for folder_of, name in (("JPEGImages", "a.jpg"), (masks, "a.png"), ("SegmentationClassVisualization", "a.jpg")):
        write_pair(tmp_path / folder_of / name, None)
    assert place_of(tmp_path, "train") == Place("JPEGImages", masks)


def test_folders_of_images_that_are_not_used_are_said(tmp_path):
    root = arrange(tmp_path / "photos", ARRANGEMENTS["by part"])
    write_pair(root / "train" / "1st_manual" / "a.png", None)
    for name in ("gt", "train_extra", "runs", "SegmentationClassVisualization", "guess"):
        write_pair(root / name / "sub" / "a.png", None)
    (root / "guess" / "predict.json").touch()
    with notes_taken() as notes:
        folder(root)
    ending = f"unlabelled images go to {root / 'unlabeled'}"
    assert notes == [
        ("folder not used", f"{root}: not used: gt, train_extra; {ending}"),
        ("folder not used", f"{root / 'train'}: not used: 1st_manual; {ending}"),
    ]
    with notes_taken() as notes:
        folder(root, unlabeled=["rest", {"root": root / "train_extra"}])
    assert not notes


def test_a_list_of_validation_images_that_is_not_used_is_said(tmp_path):
    root = make_folder(tmp_path, labeled=6)
    (root / "valid.txt").write_text("a0\n")
    with notes_taken() as notes:
        folder(root)
    assert [kind for kind, _ in notes] == ["list not used"]
    assert "valid.txt: is not used, and images are held out by chance" in notes[0][1]
    (root / "valid.txt").write_text("images/a0.png masks/a0.png\n")
    with notes_taken() as notes:
        folder(root, val_list=root / "valid.txt")
    assert not notes
