import os

import pytest

from helpers import exports
from unimatch.errors import DataError
from unimatch.images.folders import find_images, holds_images, notes_taken, part_folder, spelled, subfolders, walk


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_links_are_followed_and_no_folder_is_yielded_twice(tmp_path):
    root = make(tmp_path / "root", "a/1.png", "b/2.png", "skipped/3.png", "old/predict.json", "old/masks/4.png")
    make(tmp_path / "elsewhere", "deep/5.png")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "up").symlink_to(root)
    (root / "a" / "again").symlink_to(root / "a")
    (root / "gone").symlink_to(tmp_path / "nowhere")
    found = list(walk(root, [root / "skipped", root]))
    assert [prefix for prefix, _ in found] == ["", f"a{os.sep}", f"b{os.sep}", f"c{os.sep}", f"c/deep{os.sep}"]
    assert find_images(root, skip=[root / "skipped"]) == ["a/1.png", "b/2.png", "c/deep/5.png"]
    assert find_images(root / "old" / "masks") == ["4.png"]  # a folder that is asked for is never left out


def test_a_folder_that_cannot_be_read_is_an_error_and_no_empty_one(tmp_path, monkeypatch):
    root, scandir = make(tmp_path / "photos", "sub/b.png", "lost+found/c.png"), os.scandir

    def denied(path):
        if str(path).endswith(("sub", "lost+found")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    for look in (find_images, holds_images, lambda folder: subfolders(folder / "sub")):
        with pytest.raises(DataError, match=r"sub: the folder cannot be read \(Permission denied\); allow it, or move"):
            look(root)
    assert not holds_images(root / "nowhere")
    assert find_images(make(tmp_path / "other", "lost+found/c.png", "d.png")) == ["d.png"]


@pytest.mark.parametrize("name", ["val", "valid", "Val"])
def test_a_part_that_is_a_link_to_nowhere_is_not_taken_for_none(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / "disk")
    part = "Val" if name == "Val" else "val"
    with pytest.raises(DataError, match=rf"{name}: is a link to .*disk, which is not there; correct or remove"):
        part_folder(tmp_path, part)
    with pytest.raises(DataError, match=rf"{name}: is a link to .*disk, which is not there"):
        find_images(tmp_path / name)
    assert part_folder(tmp_path, "test") == "test"
    (tmp_path / "disk").mkdir()
    assert part_folder(tmp_path, part) == name


@pytest.mark.parametrize(
    "name", ["@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", ".git", "Thumbnails"]
)
def test_folders_of_systems_are_left_out(tmp_path, name):
    make(tmp_path, "a.png", f"{name}/b.png", f"deep/{name}/c/d.png", "._a.png")
    with notes_taken() as notes:
        assert find_images(tmp_path) == ["a.png"]
    assert not notes


def test_masks_are_found_where_they_are_asked_for(tmp_path):
    make(tmp_path, "a.png", "a_mask.png", "b_mask.png", "A_gt_2.png", "masks/a.png", "masks/c.png")
    assert find_images(tmp_path, masks=True) == [
        *("A_gt_2.png", "a.png", "a_mask.png", "b_mask.png", "masks/a.png", "masks/c.png")
    ]
    assert find_images(tmp_path) == ["a.png", "b_mask.png", "masks/c.png"]


def test_a_name_of_another_case_or_form_is_pointed_out(tmp_path):
    make(tmp_path, "Mu\u0308ller.PNG")
    assert spelled(str(tmp_path / "m\u00fcller.png")) == r" (but 'Mu\u0308ller.PNG' is there; write it so)"
    assert spelled(str(tmp_path / "m\u00fcller")) == r" (but 'Mu\u0308ller.PNG' is there; write it so)"
    assert spelled(str(tmp_path / "other.png")) == spelled(str(tmp_path / "nowhere" / "a.png")) == ""
    (tmp_path / "folder.png").mkdir()
    assert spelled(str(tmp_path / "folder.png")) == ""  # it is there, and no file


def test_a_missing_folder_names_those_that_are_there(tmp_path):
    make(tmp_path, "Images/a.png", ".hidden/b.png")
    with pytest.raises(DataError, match=r"images: no such folder \(.* has Images\)"):
        find_images(tmp_path / "images")
    make(tmp_path / "val", "a.png", "Thumbs.db")
    with pytest.raises(
        DataError, match=r"no such folder \(.*val has Thumbs\.db, a\.png\); move or rename what is meant"
    ):
        find_images(tmp_path / "val" / "images")
    archive = make(tmp_path / "unpacked", "images\\a.png")
    with pytest.raises(DataError, match=r"images.a\.png has its folder in its name, as Windows' archives do"):
        find_images(archive / "images")


def test_labels_in_the_place_of_masks_are_pointed_out(tmp_path):
    for part in (exports.yolo(tmp_path) / "train", tmp_path / "valid"):
        with pytest.raises(
            DataError, match=r"masks: no such folder .*labels.[ad].*\.txt seems to be from a label tool"
        ):
            find_images(part / "masks", masks=True)
        with pytest.raises(DataError, match=r"unlabeled: no such folder .*; move or rename what is meant"):
            find_images(part / "unlabeled")


def test_photos_that_phones_alone_read_are_named(tmp_path, caplog):
    make(tmp_path, "IMG_1.HEIC", "IMG_2.jpg")
    assert find_images(tmp_path) == ["IMG_2.jpg"]
    assert "passed over: .heic (1); photos of a phone in HEIC have to be converted to JPEG" in caplog.text


def test_links_that_lead_out_are_left_out_where_told(tmp_path, caplog):
    root = make(tmp_path / "root", "a/1.png")
    make(tmp_path / "elsewhere", "2.png")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "within").symlink_to(root / "a")
    assert [prefix for prefix, _ in walk(root, inside=True)] == ["", f"a{os.sep}"]
    assert f"{root / 'out'}: is a link that leads out of {root}" in caplog.text
    assert "within" not in caplog.text


def test_the_folder_of_a_part_is_the_one_named_or_the_usual_one(tmp_path):
    for name in ("Val", "VAL", "valid"):
        if (tmp_path / name).exists():
            pytest.skip("here Val is VAL")
        (tmp_path / name).mkdir()
    for part, expected in (("val", "VAL"), ("Val", "Val"), ("VAL", "VAL"), ("valid", "valid"), ("Valid", "valid")):
        with notes_taken():
            assert part_folder(tmp_path, part) == expected
    (tmp_path / "val").mkdir()
    with notes_taken() as notes:
        assert part_folder(tmp_path, "val") == "val"
    assert "of val and VAL and Val and valid only val is used" in notes[0][1]


def test_what_to_do_is_said_where_there_are_no_images(tmp_path):
    make(tmp_path, "scans/a.nii.gz", "scans/b.NII.GZ", "scans/c", "phone/a.HEIC", "a.tar.gz")
    kinds = r"\.nii\.gz \(2\), without ending \(1\)"
    with pytest.raises(DataError, match=rf"scans: no images .* holds {kinds}; convert these to PNG or TIFF$"):
        find_images(tmp_path / "scans")
    with pytest.raises(DataError, match=r"it holds \.heic \(1\); photos of a phone in HEIC .* to JPEG$"):
        find_images(tmp_path / "phone")
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match=r"val/images: no such folder; remove .*val if it is not meant$"):
        find_images(tmp_path / "val" / "images")
    with pytest.raises(DataError, match=r"nowhere/images: no such folder; make it$"):
        find_images(tmp_path / "nowhere" / "images")
