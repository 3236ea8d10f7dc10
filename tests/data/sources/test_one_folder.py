"""Photos and masks in one folder, told apart by their names."""

import itertools

import pytest

from helpers.support import make_folder, write_pair
from unimatch.data import folder
from unimatch.data.sources.one_folder import divide, photos_beside_masks
from unimatch.errors import DataError
from unimatch.images.folders import notes_taken

NAMES = {
    "a word at the end": ("{}.jpg", "{}_mask.png"),
    "of one kind": ("{}.tif", "{}_mask.tif"),
    "words at both ends": ("{}_sat.jpg", "{}_mask.png"),
    "in capitals": ("{}.JPG", "{}-GT.PNG"),
    "the photo's extension too": ("{}.jpg", "{}.jpg_seg.png"),
    "other extensions": ("{}.jpeg", "{}.png"),
    "a word at the start": ("img_{}.png", "mask_{}.png"),
    "a word and a number": ("image{}.png", "label{}.png"),
    "a folder for each photo": ("{}/image.png", "{}/mask.png"),
    "a folder for each photo, LabelMe": ("{}_json/img.png", "{}_json/label.png"),
    "photos named like masks": ("seg_{}.jpg", "seg_{}_mask.png"),
    "a blank": ("scan ({}).png", "scan ({})_mask.png"),
}


@pytest.mark.parametrize(("photo", "mask"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("place", ["", "patient {}/", "images/{}/"])
def test_masks_are_told_from_photos_by_their_names(photo, mask, place):
    photos = [place.format(i % 2) + photo.format(i) for i in range(7)]
    masks = [place.format(i % 2) + mask.format(i) for i in range(5)]  # two photos have none
    assert divide(sorted(photos + masks)) == (sorted(photos), sorted(masks))


@pytest.mark.parametrize(
    "files",
    [
        ["1.jpg", "2.jpg"],
        ["1.png", "2_mask.png"],  # of another photo
        ["a/1.png", "b/1_mask.png"],
        ["images/1.png", "masks/1.png"],
        ["1.jpg", "1.jpeg"],  # two photos
        ["mask_1.png", "mask_2.png"],
    ],
)
def test_without_a_pair_all_are_photos(files):
    assert divide(files) == (files, [])


def test_a_suffix_tells_masks_whose_names_have_no_known_word():
    files = ["1.png", "1_tissue.png", "2.png", "2_tissue.png", "3_mask.png"]
    assert divide(files) == ([*files[:4], files[4]], [])
    assert divide(files, "_tissue") == (["1.png", "2.png", "3_mask.png"], ["1_tissue.png", "2_tissue.png"])


def test_of_the_root_other_parts_and_runs_are_left_out(tmp_path):
    for name in ("a", "unlabeled/u", "val/v", "Test/t", "runs/one/pictures/r"):
        write_pair(tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png")
    assert photos_beside_masks(tmp_path, ".") == ["a.png"]
    assert photos_beside_masks(tmp_path, "val") == ["v.png"]
    assert photos_beside_masks(tmp_path, "nowhere") == []


ARRANGEMENTS = [
    ("", "val"),
    ("images", "val"),
    ("train", "valid"),
    ("images/train", "images/val"),
    ("train/img", "dev"),
]


@pytest.mark.parametrize(("train", "val"), ARRANGEMENTS)
def test_each_arrangement_gives_the_same_data_as_two_folders(tmp_path, train, val):
    plain, root = make_folder(tmp_path / "plain", labeled=5, val=2, unlabeled=3), tmp_path / "photos"
    places = {"images": (train, ""), "masks": (train, "_mask"), "val/images": (val, ""), "val/masks": (val, "_mask")}
    for old, (new, mark) in {**places, "unlabeled": ("unlabeled", "")}.items():
        (root / new).mkdir(parents=True, exist_ok=True)
        for file in (plain / old).iterdir():
            (root / new / f"{file.stem}{mark}{file.suffix}").write_bytes(file.read_bytes())
    (root / "classes.txt").write_text((plain / "classes.txt").read_text())
    with notes_taken() as notes:
        data = folder(root)
    assert not notes
    expected = folder(plain)
    for part, count in (("labeled", 5), ("val", 2), ("unlabeled", 3)):
        found, same = getattr(data, part), getattr(expected, part)
        assert len(found) == len(same) == count
        for i in range(count):
            assert (found.image(i) == same.image(i)).all()
            assert part == "unlabeled" or (found.mask(i) == same.mask(i)).all()


def one_folder(root, count=4, mark="_mask"):
    for i in range(count):
        write_pair(root / f"{i}.png", root / f"{i}{mark}.png", seed=i, ids=(0, 1))
    (root / "classes.txt").write_text("no\nyes\n")
    return root


def test_all_folders_below_the_root_are_used(tmp_path):
    """Such as one for each patient."""
    for patient in ("p1", "p2"):
        one_folder(tmp_path / patient)
        (tmp_path / patient / "classes.txt").replace(tmp_path / "classes.txt")
    with notes_taken() as notes:
        data = folder(tmp_path)
    assert not notes
    assert len(data.labeled) + len(data.val) == 8


def test_photos_without_masks_are_missed_or_unlabelled(tmp_path):
    root = one_folder(tmp_path)
    (root / "2_mask.png").unlink()
    with pytest.raises(DataError, match=r"2\.png: no mask .*2_mask\.png"):
        folder(root)
    data = folder(root, without_mask="unlabeled", val_share=0.4)
    assert [len(part) for part in (data.labeled, data.unlabeled, data.val)] == [2, 1, 1]
    assert data.unlabeled.name(0) == str(root / "2.png")


def test_validation_images_without_masks_are_an_error(tmp_path):
    root = one_folder(tmp_path)
    write_pair(root / "valid/7.png", None)
    with pytest.raises(DataError, match=r"valid: no masks of these images.*; unlabelled images go to unlabeled/"):
        folder(root)


def test_photos_named_by_part_further_down_are_no_training_images(tmp_path):
    """The root is then the folder above the data set."""
    for part in ("train", "val"):
        write_pair(tmp_path / f"fields/{part}/a.png", tmp_path / f"fields/{part}/a_mask.png")
    (tmp_path / "classes.txt").write_text("no\nyes\n")
    with pytest.raises(DataError, match=r"images: no such folder"):
        folder(tmp_path)


def test_a_further_mask_of_a_photo_is_pointed_out(tmp_path):
    root = one_folder(tmp_path)
    write_pair(root / "3_mask_1.png", None)
    with notes_taken() as notes:
        folder(root)
    assert [kind for kind, _ in notes] == ["masks without image"]
    assert "3_mask_1.png seems to be a further mask beside 3_mask.png: join them" in notes[0][1]


def test_folders_of_other_names_are_given(tmp_path):
    plain = folder(make_folder(tmp_path / "plain", labeled=4))
    for place in ("scans", "deeper/scans"):
        root = make_folder(tmp_path / place.replace("/", " "), labeled=4)
        (root / place).parent.mkdir(exist_ok=True)
        (root / "images").rename(root / place)
        (root / "masks").rename(root / "cover")
        with pytest.raises(DataError, match=r"or name the folders \(dataset\.images, dataset\.masks\)"):
            folder(root)
        for images, masks in itertools.product((place, root / place), ("./cover/", root / "cover")):
            with notes_taken() as notes:
                data = folder(root, images=images, masks=masks)
            assert not notes
            assert len(data.labeled) == len(plain.labeled)
            for i in range(len(data.labeled)):
                assert (data.labeled.image(i) == plain.labeled.image(i)).all()
                assert (data.labeled.mask(i) == plain.labeled.mask(i)).all()


def test_only_one_of_the_folders_may_have_another_name(tmp_path):
    root = make_folder(tmp_path, labeled=4)
    (root / "masks").rename(root / "cover")
    assert len(folder(root, masks="cover").labeled) == len(folder(root, images="images", masks="cover").labeled) == 3
    (root / "cover").rename(root / "gt")
    (root / "images").rename(root / "scans")
    assert len(folder(root, images="scans").labeled) == 3


def test_one_folder_of_another_name_is_given_twice(tmp_path):
    one_folder(tmp_path / "scans", mark="_tissue")
    (tmp_path / "scans/classes.txt").rename(tmp_path / "classes.txt")
    data = folder(tmp_path, images="scans", masks="scans", mask_suffix="_tissue")
    assert len(data.labeled) == 3
    with pytest.raises(DataError, match=r"scans: no masks of these images, neither beside them"):
        folder(tmp_path, images="scans", masks="scans")


def test_folders_may_lie_elsewhere(tmp_path):
    root, elsewhere = make_folder(tmp_path / "root", labeled=4), tmp_path / "share/masks"
    (tmp_path / "share").mkdir()
    (root / "masks").rename(elsewhere)
    write_pair(tmp_path / "share/others/1.png", None)  # of no concern
    with notes_taken() as notes:
        data = folder(root, masks=elsewhere)
    assert not notes
    assert len(data.labeled) == 3
