import numpy as np
import pytest
from PIL import Image

from helpers import exports
from helpers.exports import HEIGHT, WIDTH, area, masks, photo, png, unlabelled
from unimatch.data import change_folder
from unimatch.errors import ConfigError, DataError
from unimatch.labelling import read, write


@pytest.fixture
def export(tmp_path):
    """Photos a.png and b.png of the second date with annotations, c.png without any."""
    exports.coco(tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture
def earlier(tmp_path):
    """Their first dates, in a folder of their own."""
    for value, name in enumerate("abc"):
        photo(tmp_path / "earlier" / "2019" / f"{name}.png", value=value)
    return tmp_path / "earlier"


def stored(path):
    return np.asarray(Image.open(path))


def test_every_class_but_the_background_has_changed(export, earlier, tmp_path):
    labels = read(export)
    write(labels, tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    for name, mask in masks(labels).items():
        assert (stored(tmp_path / "pairs" / "label" / name.removeprefix("train/")) == 255 * (mask > 0)).all()
    for value, name in enumerate("ab"):
        assert stored(tmp_path / "pairs" / "A" / f"{name}.png")[0, 0].tolist() == [value, value, 30]
        assert stored(tmp_path / "pairs" / "B" / f"{name}.png")[0, 0].tolist() == [90, 90, 30]
    data = change_folder(tmp_path / "pairs", val_share=0.5)
    assert [len(part) for part in (data.labeled, data.val, data.unlabeled)] == [1, 1, 1]
    assert sorted(np.unique(data.labeled.mask(0))) == [0, 1]
    assert data.unlabeled.image(0).shape == (2, HEIGHT, WIDTH, 3)


def test_pairs_go_to_a_tool_and_come_back_the_same(export, earlier, tmp_path):
    write(read(export), tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    labels = read(tmp_path / "pairs")
    assert labels.classes == ("background", "changed")
    assert unlabelled(labels) == ["c.png"]
    write(labels, tmp_path / "tasks", format="cvat", workers=0)
    write(read(tmp_path / "tasks"), tmp_path / "again", format="pairs", first_dates=tmp_path / "pairs/A", workers=0)
    for name in ("A/a.png", "B/a.png", "label/a.png", "A/b.png", "B/b.png", "label/b.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "pairs" / name).read_bytes()


def test_validation_pairs_and_subfolders_keep_their_places(export, earlier, tmp_path):
    (tmp_path / "parts").mkdir()
    export.rename(tmp_path / "parts" / "val")
    exports.coco(tmp_path / "parts" / "train")
    write(read(tmp_path / "parts"), tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    assert {len(list((tmp_path / "pairs" / part / "label").iterdir())) for part in ("", "val")} == {2}
    assert [image.part for image in read(tmp_path / "pairs").images if image.labels is not None] == [
        *("train", "train", "val", "val")
    ]


def test_pixels_that_are_not_counted_are_told_and_are_in_no_score(earlier, tmp_path, caplog):
    mask = area(1, 1, 5, 5).astype(np.uint8)
    mask[7] = 255
    for name in "ab":
        photo(tmp_path / "masks" / "images" / f"{name}.png")
        path = tmp_path / "masks" / "masks" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(mask))
    (tmp_path / "masks" / "classes.txt").write_text("background\nnew house\n")
    write(read(tmp_path / "masks"), tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    assert "2 labels have pixels that are not counted, which are stored as 128" in caplog.text
    data = change_folder(tmp_path / "pairs", unknown_values="ignore")
    assert (data.labeled.mask(0) == mask).all()
    assert (masks(read(tmp_path / "pairs"))["train/a.png"] == mask).all()


def test_pairs_that_are_labelled_now_leave_the_unlabelled_ones(export, earlier, tmp_path):
    pairs = tmp_path / "pairs"
    for date in "AB":
        photo(pairs / "unlabeled" / date / "a.png")
        photo(pairs / "unlabeled" / date / "z.png")
    with pytest.raises(DataError, match="is there already"):
        write(read(export), pairs, format="pairs", first_dates=earlier, workers=0)
    write(read(export), pairs, format="pairs", first_dates=earlier, overwrite=True, workers=0)
    for date in "AB":
        assert sorted(path.name for path in (pairs / "unlabeled" / date).iterdir()) == ["c.png", "z.png"]


def test_a_first_date_that_is_missing_or_does_not_fit_is_named(export, earlier, tmp_path):
    def refused(match):
        with pytest.raises(DataError, match=match):
            write(read(export), tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
        assert not (tmp_path / "pairs").exists()

    place = earlier / "2019"
    photo(place / "b.png", size=(WIDTH + 1, HEIGHT))
    refused(rf"b\.png: has {WIDTH + 1} x {HEIGHT} pixels and its second date {WIDTH} x {HEIGHT}")
    (place / "b.png").rename(place / "b.jpg")
    refused(r"b\.jpg: is the first date of b\.png and must have its ending")
    (place / "b.jpg").unlink()
    refused(r"earlier: 1 photo without a first date of the same name here: b\.png")
    photo(earlier / "2018" / "b.png")
    photo(place / "b.png")
    refused(r"may be 2018/b\.png or 2019/b\.png; name the folder of photos with first_dates=FOLDER")
    with pytest.raises(DataError, match="absent: no such file or folder"):
        write(read(export), tmp_path / "pairs", format="pairs", first_dates=tmp_path / "absent", workers=0)


def test_what_has_not_changed_must_be_known(export, earlier, tmp_path):
    with pytest.raises(ConfigError, match="background=CLASS names the one that has not changed"):
        write(read(export, background=None), tmp_path / "pairs", format="pairs", first_dates=earlier)
    write(read(export, background="leaf"), tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    leaf = masks(read(export, background="leaf"))["train/a.png"] == 0
    assert (stored(tmp_path / "pairs" / "label" / "a.png") == 255 * ~leaf).all()
    last = read(export, classes=["stone", "leaf", "background"])
    write(last, tmp_path / "again", format="pairs", first_dates=earlier, workers=0)
    assert (stored(tmp_path / "again" / "label" / "a.png") == 255 * (masks(last)["train/a.png"] != 2)).all()


def test_the_other_spelling_and_a_second_file_of_the_name_are_no_hindrance(export, earlier, tmp_path):
    photo(earlier / "2019" / "b.jpg")
    write(read(export), tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    assert stored(tmp_path / "pairs" / "A" / "b.png")[0, 0].tolist() == [1, 1, 30]
    (tmp_path / "pairs" / "unlabeled").rename(tmp_path / "pairs" / "unlabelled")
    assert unlabelled(read(tmp_path / "pairs")) == ["c.png"]


@pytest.mark.parametrize("options", [{"format": "pairs"}, {"format": "coco", "first_dates": "earlier"}])
def test_first_dates_go_with_pairs_alone(export, tmp_path, options):
    with pytest.raises(ConfigError, match="goes with format=pairs, and not with others"):
        write(read(export), tmp_path / "pairs", **options)


def test_what_a_model_of_changes_has_predicted_as_unchanged_does_not_become_changed(earlier, tmp_path):
    """As predicted masks of pairs are: 0 is ``unchanged``, and no class is called background."""
    guess, mask = tmp_path / "guess", np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:2] = 1
    photo(guess / "images" / "a.png")
    (guess / "masks").mkdir()
    Image.fromarray(mask).save(guess / "masks" / "a.png")
    (guess / "classes.txt").write_text("unchanged\nchanged\n")
    with pytest.raises(ConfigError, match=r"counts as changed, and so would unchanged: add background=unchanged"):
        write(read(guess), tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    labels = read(guess, background="unchanged")
    write(labels, tmp_path / "pairs", format="pairs", first_dates=earlier, workers=0)
    assert (stored(tmp_path / "pairs" / "label" / "a.png") == 255 * mask).all()
