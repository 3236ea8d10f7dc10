import numpy as np
import pytest
from PIL import Image

from unimatch import DataError
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
