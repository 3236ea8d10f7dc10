import json
import os

import numpy as np
import pytest
from PIL import Image

from unimatch import DataError
from unimatch.data.sources.files import images_alone
from unimatch.inference.inputs import find_photos


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("a.jpg", "b/a.JPG", "b/same.png", "b/same.jpg", "b c/d.png", ".hidden/x.png", "._a.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red").save(root / name)
    (root / "notes.txt").write_text("no image")
    return root


def names(source):
    count, photos = find_photos(str(source))
    found = [photo.name for photo in photos]
    assert len(found) == count
    return found


def test_a_folder_is_searched_recursively_and_equal_stems_keep_their_suffix(photos):
    assert names(photos) == ["a", "b/a", "b/same.jpg", "b/same.png", "b c/d"]


def test_an_image_is_named_by_its_stem(photos):
    _, found = find_photos(str(photos / "b" / "a.JPG"))
    (photo,) = found
    assert photo.name == "a"
    assert photo.load().shape == (4, 6, 3)
    assert photo.pixels() == 24


def test_a_pattern_is_named_below_the_common_folder(photos, monkeypatch):
    assert names(photos / "b*" / "*.png") == ["b/same", "b c/d"]
    assert names(photos / "**" / "a.*") == ["a", "b/a"]
    monkeypatch.chdir(photos)
    assert names("b/*.jpg") == ["same"]


def test_a_list_names_images_and_perhaps_masks(photos, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("photos/a.jpg photos/mask.png\n\nphotos/b c/d.png\n")
    assert names(path) == ["a", "b c/d"]
    path.write_text("photos/a.jpg\nphotos/gone.jpg\n")
    with pytest.raises(DataError, match=r"list\.txt, line 2: no such image: .*gone\.jpg"):
        find_photos(str(path))
    path.write_text("photos/a.jpg,photos/mask.png\n")
    with pytest.raises(DataError, match=r"list\.txt, line 1: no such image: .*; write a blank between paths"):
        find_photos(str(path))
    (tmp_path / "list.csv").write_text("photos/a.jpg\n")
    with pytest.raises(DataError, match=r"list\.csv: a list of images is a \.txt file"):
        find_photos(str(tmp_path / "list.csv"))


def test_names_never_collide(tmp_path):
    for name in ("a.jpg", "a.png", "a.jpg.png", "b.tif", "B.png", "c.d.jpg", "mu\u0308.jpg", "m\u00fc.png"):
        Image.new("RGB", (6, 4)).save(tmp_path / name)
    found = {photo.path.name: photo.name for photo in find_photos(str(tmp_path))[1]}
    assert found == {name: name for name in found} | {"c.d.jpg": "c.d"}
    assert len(found) == 8


def test_what_training_walks_is_predicted(photos, tmp_path):
    """Linked folders, each once; without thumbnails, masks and results."""
    elsewhere = tmp_path / "elsewhere"
    for name in ("e.png", "e_mask.png", "@eaDir/e.png/SYNOPHOTO_THUMB_M.jpg", "old/masks/a.png", "old/f.png"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4)).save(elsewhere / name)
    (elsewhere / "old" / "predict.json").write_text("{}")
    (photos / "link").symlink_to(elsewhere)
    (photos / "link again").symlink_to(photos)
    (photos / "e.jfif").write_bytes((photos / "a.jpg").read_bytes())
    expected = ["a", "b/a", "b/same.jpg", "b/same.png", "b c/d", "e", "link/e"]
    assert sorted(names(photos)) == sorted(expected)
    assert sorted(images_alone(photos).images()) == sorted(photo.file for photo in find_photos(str(photos))[1])
    assert names(photos / "link" / "*.png") == ["e"]
    assert names(photos / ".hidden" / "*.png") == ["x"]  # asked for


@pytest.mark.parametrize("output", ["out", ""])
def test_results_inside_the_input_are_no_photos(photos, output):
    (photos / output / "masks" / "b").mkdir(parents=True)
    for name in ("masks/a.png", "masks/b/a.png", "overlays/a.jpg", "disagreement/a.png"):
        (photos / output / name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 4)).save(photos / output / name)
    for source in (photos, photos / "**" / "*.*[gG]"):
        _, found = find_photos(str(source), output=photos / output)
        assert len({photo.name for photo in found}) == 5


def test_lists_of_split_are_read_blanks_and_all(photos, tmp_path):
    for folder in ("4", "5/deeper"):
        path = photos / "splits" / folder / "labeled.txt"
        path.parent.mkdir(parents=True)
        path.write_text("b c/d.png\tmasks/d of c.png\nb/a.JPG masks/a.png\na.jpg\t\n")
        assert sorted(names(path)) == ["a", "b c/d", "b/a"]
    path = tmp_path / "lists" / "4" / "labeled.txt"
    path.parent.mkdir(parents=True)
    path.write_text("a.JPG\n")
    with pytest.raises(DataError, match=r"line 1: no such image: .*a\.JPG; paths are relative to the list or"):
        names(path)
    (tmp_path / "lists" / "split.json").write_text(json.dumps({"relative_to": str(photos / "b")}))
    assert names(path) == ["a"]


def test_names_that_are_no_utf8_are_found_and_listed(tmp_path):
    name = os.fsdecode(b"k\xf6ln.png")
    Image.new("RGB", (6, 4)).save(tmp_path / name)
    assert names(tmp_path) == [os.fsdecode(b"k\xf6ln")]
    (tmp_path / "list.txt").write_bytes(b"k\xf6ln.png\n")
    assert names(tmp_path / "list.txt") == [os.fsdecode(b"k\xf6ln")]


def test_a_video_is_its_frames(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "drive.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 16))
    assert video.isOpened()
    for i in range(3):
        video.write(np.full((16, 32, 3), (200, 10, 80 * i), np.uint8))  # BGR
    video.release()
    count, frames = find_photos(str(path))
    found = list(frames)
    assert count == 3
    assert [frame.name for frame in found] == ["drive/000000", "drive/000001", "drive/000002"]
    assert np.abs(found[2].load().reshape(-1, 3).mean(0) - (160, 10, 200)).max() < 12
    assert found[0].pixels() == 16 * 32


def test_nothing_to_predict_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    for source in ("empty", "gone.jpg", "*.png"):
        with pytest.raises(DataError, match="no images there"):
            find_photos(str(tmp_path / source))
    with pytest.raises(DataError, match="cannot read this video"):
        find_photos(str(tmp_path / "bad.mp4"))
