"""Labels are added to a data set, and nothing in it is lost."""

import numpy as np
import pytest
from PIL import Image

from helpers import exports
from unimatch.errors import DataError
from unimatch.labelling import predicted_labels, read, write


def made(folder, name, value):
    """A photo and a mask of one class, as :func:`predicted_labels` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in ((folder / "photo.png", 50), (folder / "mask.png", value)):
        Image.fromarray(np.full((6, 8), content, np.uint8)).save(path)
    return name, folder / "photo.png", folder / "mask.png"


def mask_of(path):
    return np.unique(np.asarray(Image.open(path))).tolist()


def test_photos_without_labels_become_a_data_set_where_they_lie(tmp_path):
    photo = tmp_path / "photos" / "unlabeled" / "drive" / "A.png"
    photo.parent.mkdir(parents=True)
    photo.touch()
    files = [made(tmp_path / "one", "drive/a.png", 1)]  # a tool that changes the case
    write(predicted_labels(files, ["background", "leaf"]), tmp_path / "photos", workers=0)
    assert mask_of(tmp_path / "photos/masks/drive/a.png") == [1]
    assert not photo.exists()


def test_a_photo_that_is_labelled_keeps_its_mask_unless_it_may_be_replaced(tmp_path):
    photos, classes = tmp_path / "photos", ["background", "leaf", "stone"]
    write(predicted_labels([made(tmp_path / "one", "a.png", 1)], classes), photos, workers=0)
    second = predicted_labels(
        [made(tmp_path / "two", "b.png", 2), made(tmp_path / "three", "a.png", 2)], classes
    )  # fmt: skip
    with pytest.raises(DataError, match=r"1 of these photos are labelled there already \(a.png\); overwrite=true"):
        write(second, photos, workers=0)
    assert not (photos / "masks/b.png").exists()
    assert mask_of(photos / "masks/a.png") == [1]
    write(second, photos, workers=0, overwrite=True)
    assert mask_of(photos / "masks/a.png") == [2]
    assert mask_of(photos / "masks/b.png") == [2]


def test_classes_can_be_added_at_the_end_and_never_between(tmp_path):
    photos = tmp_path / "photos"
    write(predicted_labels([made(tmp_path / "one", "a.png", 1)], ["background", "leaf"]), photos, workers=0)
    files = [made(tmp_path / "two", "b.png", 1)]
    with pytest.raises(DataError, match="names the classes background, leaf, and the labels have"):
        write(predicted_labels(files, ["background", "stone", "leaf"]), photos, workers=0)
    write(predicted_labels(files, ["background", "leaf", "stone"]), photos, workers=0)
    assert (photos / "classes.txt").read_text().split() == ["background", "leaf", "stone"]


@pytest.mark.parametrize("masks", ["masks", "val/masks"])
def test_a_folder_with_masks_of_unknown_classes_is_not_added_to(masks, tmp_path):
    for part in ("unlabeled", masks):
        (tmp_path / "photos" / part).mkdir(parents=True)
    with pytest.raises(DataError, match=f"{masks}: of unknown classes; name them in"):
        write(predicted_labels([made(tmp_path / "one", "a.png", 1)], ["background", "leaf"]), tmp_path / "photos")


def test_what_a_model_predicts_reaches_the_tool_and_comes_back(tmp_path):
    """Without a class called background all classes are written; with one, it is what is not labelled."""
    for number, classes in enumerate((["sky", "leaf"], ["background", "leaf"])):
        out = tmp_path / f"tool{number}"
        name, photo, mask = made(tmp_path / "one", "drive/a.png", 0)
        drawn = np.zeros((6, 8), np.uint8)
        drawn[2:5, 3:6], drawn[5] = 1, 255
        Image.fromarray(drawn).save(mask)
        write(predicted_labels([(name, photo, mask)], classes), out, format="labelme", tolerance=0, workers=0)
        labels = read(out, classes=classes)
        assert (labels.mask(labels.images[0], (8, 6)) == drawn).all()


def test_photos_that_nobody_labelled_are_not_copied_again(tmp_path):
    exports.coco(tmp_path / "export")
    write(read(tmp_path / "export"), tmp_path / "photos", workers=0)
    pool = tmp_path / "photos" / "unlabeled" / "c.png"
    before = pool.stat().st_ino
    write(read(tmp_path / "export"), tmp_path / "photos", workers=0, overwrite=True)
    assert pool.stat().st_ino == before
