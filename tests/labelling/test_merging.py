"""Labels are added to a data set, and nothing in it is lost."""

import numpy as np
import pytest
from PIL import Image

from helpers import exports
from helpers.support import write_pair
from unimatch import data
from unimatch.errors import DataError
from unimatch.labelling import predicted_labels, read, write


def made(folder, name, value):
    """A photo and a mask of one class, as :func:`predicted_labels` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in ((folder / "photo.png", sum(name.encode()) % 256), (folder / "mask.png", value)):
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


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_added_where_photos_and_masks_lie_in_one_folder(overwrite, tmp_path):
    photos, classes = tmp_path / "photos", ["background", "leaf"]
    for i in range(2):
        write_pair(photos / f"{i}.jpg", photos / f"{i}.png", ids=(0, 1))
    (photos / "classes.txt").write_text("background\nleaf\n")
    before = {path: path.read_bytes() for path in photos.iterdir()}
    with pytest.raises(DataError, match="photos and masks lie in one folder, to which nothing can be added"):
        write(predicted_labels([made(tmp_path / "one", "0.png", 1)], classes), photos, workers=0, overwrite=overwrite)
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


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


def test_a_photo_that_a_tool_has_renamed_is_known_by_its_content(tmp_path, caplog):
    """As in Label Studio's COCO, which puts eight digits before the names; two photos of one content stay two."""
    photos, classes = tmp_path / "photos", ["background", "leaf"]
    for name in ("drive/a.png", "copy of.png", "b.png"):
        (photos / "unlabeled" / name).parent.mkdir(parents=True, exist_ok=True)
        source = made(tmp_path / name, "b.png" if name == "b.png" else "drive/a.png", 1)[1]
        (photos / "unlabeled" / name).write_bytes(source.read_bytes())
    exported = [
        ("1f0c7a2b-a.png", *made(tmp_path / "one", "drive/a.png", 1)[1:]),
        ("2f0c7a2b-c.png", *made(tmp_path / "two", "c.png", 1)[1:]),  # in no pool
    ]
    write(predicted_labels(exported, classes), photos, workers=0)
    assert sorted(path.name for path in (photos / "unlabeled").rglob("*.png")) == ["b.png", "copy of.png"]
    labelled = sorted(path.relative_to(photos / "images").as_posix() for path in (photos / "images").rglob("*.png"))
    assert labelled == ["2f0c7a2b-c.png", "drive/a.png"]
    assert "1 photos are known under other names, and keep those: 1f0c7a2b-a.png is drive/a.png" in caplog.text
    again = [("9f0c7a2b-c.png", *made(tmp_path / "three", "c.png", 0)[1:])]
    with pytest.raises(DataError, match=r"labelled there already \(2f0c7a2b-c.png\)"):
        write(predicted_labels(again, classes), photos, workers=0)


@pytest.mark.parametrize("older", ["a.tif", "a_mask.png", "A.PNG"])
def test_a_new_mask_takes_the_place_of_an_older_one_of_another_ending(older, tmp_path):
    photos, classes = tmp_path / "photos", ["background", "leaf"]
    for part in ("", "val/"):
        for kind, name in (("images", "a.jpg"), ("masks", older), ("masks", "b.png"), ("images", "b.png")):
            (photos / part / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((6, 8), np.uint8)).save(photos / part / kind / name)
    (photos / "classes.txt").write_text("background\nleaf\n")
    labels = predicted_labels([made(tmp_path / "one", "a.png", 1)], classes)
    with pytest.raises(DataError, match=r"labelled there already \(a.png\)"):
        write(labels, photos, workers=0)
    write(labels, photos, workers=0, overwrite=True)
    assert sorted(path.name for path in (photos / "masks").iterdir()) == ["a.png", "b.png"]
    assert sorted(path.name for path in (photos / "images").iterdir()) == ["a.png", "b.png"]
    assert mask_of(photos / "masks/a.png") == [1]
    assert sorted(path.name for path in (photos / "val/masks").iterdir()) == sorted([older, "b.png"])
    assert len(data.folder(photos).labeled) == 2


@pytest.mark.parametrize("place", [("train/images", "train/labels"), ("images/train", "masks/train"), ("img", "gt")])
def test_labels_are_added_where_a_data_set_has_its_own(place, tmp_path):
    photos, classes = tmp_path / "photos", ["background", "leaf", "stone"]
    write(predicted_labels([made(tmp_path / "one", "a.png", 1)], classes), tmp_path / "plain", workers=0)
    for old, new in zip(("images", "masks"), place, strict=True):
        (photos / new).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / old).rename(photos / new)
    (tmp_path / "plain" / "classes.txt").rename(photos / "classes.txt")
    both = [made(tmp_path / "two", "a.png", 2), made(tmp_path / "three", "b.png", 2)]
    with pytest.raises(DataError, match="1 of these photos are labelled there already"):
        write(predicted_labels(both, classes), photos, workers=0)
    write(predicted_labels(both[1:], classes), photos, workers=0)
    write(predicted_labels(both[:1], classes), photos, workers=0, overwrite=True)
    assert sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.*")) == sorted(
        ["classes.txt", *(f"{folder}/{name}.png" for folder in place for name in "ab")]
    )
    assert mask_of(photos / place[1] / "a.png") == mask_of(photos / place[1] / "b.png") == [2]
    assert len(data.folder(photos, val_share=0.5).labeled) == 1


@pytest.mark.parametrize(
    ("pool", "there"), [("train/unlabeled", "train/images/b.png"), ("train/images/unlabeled", None)]
)
def test_a_photo_leaves_the_unlabelled_ones_beside_the_training_images(pool, there, tmp_path):
    """One that lies among the training images stays where it is; its mask says that it is labelled."""
    photos, classes = tmp_path / "photos", ["background", "leaf"]
    write(predicted_labels([made(tmp_path / "one", "a.png", 1)], classes), tmp_path / "plain", workers=0)
    (photos / "train").mkdir(parents=True)
    for kind in ("images", "masks"):
        (tmp_path / "plain" / kind).rename(photos / "train" / kind)
    (tmp_path / "plain" / "classes.txt").rename(photos / "classes.txt")
    (photos / pool).mkdir(parents=True)
    for name in ("b.png", "c.png"):
        (photos / pool / name).write_bytes(made(tmp_path / name, name, 1)[1].read_bytes())
    write(predicted_labels([("7-b.png", *made(tmp_path / "two", "b.png", 1)[1:])], classes), photos, workers=0)
    found = data.folder(photos, val_share=0.5)
    assert {*found.labeled.pairs.images(), *found.val.pairs.images()} == {
        str(photos / "train/images/a.png"),
        str(photos / (there or f"{pool}/b.png")),
    }
    assert list(found.unlabeled.pairs.images()) == [str(photos / pool / "c.png")]


def test_labels_are_not_added_to_masks_of_other_ids(tmp_path):
    """Of ids from 1 on, with 0 for no class, new masks would be read one class too low, and nothing would say so."""
    photos, classes = tmp_path / "photos", ["background", "leaf", "stone"]
    files = [made(tmp_path / name, f"{name}.png", 1) for name in "abc"]
    write(predicted_labels(files, classes), photos, workers=0)
    Image.fromarray(np.full((6, 8), 3, np.uint8)).save(photos / "masks" / "c.png")
    new = predicted_labels([made(tmp_path / "new", "d.png", 0)], classes)
    with pytest.raises(DataError, match=r"masks/c\.png: stores 3, and masks that are added store 0 to 2, for backgr"):
        write(new, photos, workers=0)
    assert not (photos / "masks" / "d.png").exists()
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(photos / "masks" / "c.png")
    write(new, photos, workers=0)
    replaced = predicted_labels([made(tmp_path / "again", "c.png", 2)], classes)
    Image.fromarray(np.full((6, 8), 3, np.uint8)).save(photos / "masks" / "c.png")
    write(replaced, photos, workers=0, overwrite=True)
    assert mask_of(photos / "masks" / "c.png") == [2]


def test_labels_are_not_added_to_black_and_white_masks(tmp_path):
    """Where 255 is a class, the 255 of new masks, which is none, would become that class."""
    photos, classes = tmp_path / "photos", ["background", "cell"]
    files = [made(tmp_path / name, f"{name}.png", 1) for name in "ab"]
    write(predicted_labels(files, classes), photos, workers=0)
    for name in "ab":
        Image.fromarray(np.array([[0, 255]], np.uint8).repeat(4, 1).repeat(6, 0)).save(photos / "masks" / f"{name}.png")
    new = predicted_labels([made(tmp_path / "new", "d.png", 0)], classes)
    with pytest.raises(DataError, match=r"masks: the masks store 0 and 255 alone, .* save cell as 1"):
        write(new, photos, workers=0)
    assert not (photos / "masks" / "d.png").exists()
    Image.fromarray(np.ones((6, 8), np.uint8)).save(photos / "masks" / "a.png")
    write(new, photos, workers=0)
