"""The settings of images that are no 8-bit photos, and what is measured."""

import logging

import numpy as np
import pytest

from helpers.rasters import rewritten, twelve_bits, write_png16
from helpers.support import make_change, make_folder
from unimatch import ConfigError, DataError
from unimatch.data import change_folder, folder, image_folder
from unimatch.images.arrays import read_image
from unimatch.images.bands import IMAGENET_MEAN, PHOTOS
from unimatch.images.folders import notes_taken


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos in the folder layout, and the same in 12 bits."""
    root = make_folder(tmp_path_factory.mktemp("photos") / "8", labeled=4, unlabeled=3, val=2)
    return root, rewritten(root, root.parent / "12", twelve_bits, ".png")


def test_photos_are_read_as_ever(photos):
    data = folder(photos[0])
    assert data.info.bands is PHOTOS or data.info.bands == PHOTOS
    assert np.array_equal(data.labeled.image(0), read_image(photos[0] / "images" / "a0.png"))


def test_a_range_of_red_green_and_blue_gives_the_photos_again(photos):
    plain, ranged = folder(photos[0]), folder(photos[1], value_range=[0, 4095])
    assert ranged.info.bands.mean == IMAGENET_MEAN
    for part in ("labeled", "unlabeled", "val"):
        for i in range(len(getattr(plain, part))):
            assert np.array_equal(getattr(plain, part).image(i), getattr(ranged, part).image(i))


def test_means_and_deviations_are_those_of_the_training_images(photos):
    data = folder(photos[1], bands=[3, 1], value_range=[[0, 4095], [0, 8190]])
    sources = [data.labeled, data.unlabeled]
    pixels = np.concatenate([s.image(i).reshape(-1, 2) for s in sources for i in range(len(s))]) / 255
    assert data.info.bands.bands == (3, 1)
    assert np.allclose(data.info.bands.mean, pixels.mean(0))
    assert np.allclose(data.info.bands.std, pixels.std(0))
    assert data.val.image(0).shape[-1] == 2


def test_percentiles_are_measured_in_the_training_images(photos):
    data = folder(photos[1], value_range={"percentiles": [2, 98]})
    images = [*(photos[1] / "images").iterdir(), *(photos[1] / "unlabeled").iterdir()]
    stored = [twelve_bits(read_image(photos[0] / path.parent.name / path.name)).reshape(-1, 3) for path in images]
    stored = np.concatenate(stored)
    assert np.allclose(data.info.bands.value_range, np.percentile(stored, [2, 98], axis=0).T)


def test_measured_numbers_given_again_measure_nothing(photos, monkeypatch):
    data = folder(photos[1], bands=3, value_range={"percentiles": [2, 98]}, picture_bands=[3, 2, 1])
    monkeypatch.setattr("unimatch.data.sources.band_settings.sample", None)
    again = folder(photos[1], **data.info.bands.arguments())
    assert again.info.bands == data.info.bands
    assert PHOTOS.arguments() == {}


def test_no_data_has_no_part_in_what_is_measured(tmp_path):
    make_folder(tmp_path, labeled=4, val=2)
    values = np.full((24, 32, 3), 1000, np.uint16)
    values[:12] = 7
    values[0, 0] = 3000
    for path in [*(tmp_path / "images").iterdir(), *(tmp_path / "val" / "images").iterdir()]:
        width = read_image(path).shape[1]
        write_png16(path, np.resize(values, (read_image(path).shape[0], width, 3)))
    data = folder(tmp_path, bands=[1], no_data=7, value_range={"percentiles": [0, 100]})
    assert data.info.bands.value_range == ((1000, 3000),)
    image = data.labeled.image(0)
    missing = data.info.bands.without_data(image)
    assert np.allclose(data.info.bands.mean, image[~missing].mean() / 255, atol=0.01)


def test_images_without_any_data_are_refused(photos, tmp_path):
    flat = rewritten(photos[0], tmp_path / "flat", lambda photo: np.full_like(photo, 5, np.uint16), ".png")
    with pytest.raises(DataError, match="no_data=5: no pixel looked at in the training images has data"):
        folder(flat, bands=[1], value_range=[0, 4095], no_data=5)


def test_values_outside_the_range_are_worth_a_warning(photos, caplog):
    with caplog.at_level(logging.WARNING, "unimatch"), notes_taken() as notes:
        folder(photos[1], bands=[2], value_range=[0, 2047])
    assert [kind for kind, _ in notes] == ["values cut off"]  # which the check lists
    assert "of the values of band 2 lie outside value_range, 0 to 2047" in caplog.text


def test_a_range_that_the_values_hardly_use_is_worth_a_warning(photos, caplog):
    """12 bits read as 16 would be nearly black."""
    with caplog.at_level(logging.WARNING, "unimatch"), notes_taken() as notes:
        folder(photos[1], bands=[2], value_range=[0, 65535])
    assert [kind for kind, _ in notes] == ["range hardly used"]
    assert "in a small part of value_range, 0 to 65535" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "unimatch"):
        folder(photos[1], bands=[2], value_range=[0, 4095])
    assert "value_range" not in caplog.text


def test_images_that_cannot_be_read_are_left_out_of_what_is_measured(photos, tmp_path):
    root = rewritten(photos[0], tmp_path / "12", twelve_bits, ".png")
    (root / "images" / "a0.png").write_bytes(b"no image")
    assert folder(root, bands=1, value_range=[0, 4095]).info.bands.count == 1
    for path in [*(root / "images").iterdir(), *(root / "unlabeled").iterdir()]:
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"\.png: cannot be read"):
        folder(root, bands=1, value_range=[0, 4095])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 0}, "bands="),
        ({"bands": [4], "value_range": [0, 1]}, "has 3 band"),
        ({"bands": [1]}, r"stores uint16 .*dataset.value_range=\[LOW,HIGH\]"),
        ({"value_range": [0, 1, 2]}, r"value_range=\[0, 1, 2\]"),
        ({"value_range": [[0, 1]]}, "one for each of the 3 bands"),
        ({"value_range": 4095}, "value_range=4095: must be a list or a mapping"),
        ({"value_range": [["a", "b"]] * 3}, r"value_range=.*\[LOW, HIGH\]"),
        ({"value_range": {"percentiles": 99}}, "percentiles=99: a list of numbers"),
        ({"bands": 2.5}, r"bands=2\.5: must be a whole number or a list of whole numbers"),
        ({"bands": True}, "bands=True: must be a whole number or a list of whole numbers"),
        ({"picture_bands": "rgb"}, "picture_bands=rgb: must be a list of whole numbers"),
        ({"mean": 0.5, "std": 0.5}, r"mean=0\.5: must be a list of numbers"),
        ({"mean": [], "std": []}, "mean=.*a number for each of the 3 bands"),
        ({"value_range": {"percentile": [1, 99]}}, "percentiles"),
        ({"value_range": {"percentiles": [99, 1]}}, "lowest first"),
        ({"bands": [1], "value_range": [0, 1], "mean": [0.5]}, "mean and std go together"),
    ],
)
def test_settings_that_cannot_be_are_refused(photos, settings, message):
    with pytest.raises((ConfigError, DataError), match=message):
        folder(photos[1], **settings)


def test_pairs_and_class_folders_take_the_same_settings(tmp_path):
    root = make_change(tmp_path / "pairs", [f"{i}.png" for i in range(4)])
    data = change_folder(rewritten(root, tmp_path / "pairs12", twelve_bits, ".png"), value_range=[0, 4095])
    assert np.array_equal(data.labeled.image(1), change_folder(root).labeled.image(1))
    for name in ("oak", "elm"):
        for i in range(3):
            (tmp_path / "trees/train" / name).mkdir(parents=True, exist_ok=True)
            write_png16(tmp_path / f"trees/train/{name}/{i}.png", np.full((8, 8, 3), 500 * i, np.uint16))
    trees = image_folder(tmp_path / "trees", bands=[2], value_range=[0, 1000], val_per_class=1, unlabeled="rest")
    assert {int(trees.labeled.image(i)[0, 0, 0]) for i in range(4)} <= {0, 128, 127, 255}
    assert trees.val.image(0).shape == (8, 8, 1)
    assert trees.info.bands.count == 1


def test_a_value_that_files_name_for_no_data_is_worth_a_note(tmp_path):
    import tifffile

    make_folder(tmp_path, labeled=3, val=1)
    for path in [*(tmp_path / "images").iterdir(), *(tmp_path / "val" / "images").iterdir()]:
        values = read_image(path).astype(np.int16)
        values[:2] = -9999
        path.unlink()
        tifffile.imwrite(
            path.with_suffix(".tif"), values, photometric="rgb", extratags=[(42113, "s", 0, "-9999", True)]
        )
    for no_data, noted in ((None, True), (0, True), (-9999, False)):
        with notes_taken() as notes:
            folder(tmp_path, bands=3, value_range=[0, 255], no_data=no_data)
        texts = [text for kind, text in notes if kind == "other no data"]
        assert len(texts) == noted
        assert all("says that -9999 means no data, and stores it; if so, set dataset.no_data=-9999" in t for t in texts)
