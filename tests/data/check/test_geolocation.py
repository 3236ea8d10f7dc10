"""GeoTIFFs of one sample must lie at one place."""

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from unimatch.data import change_folder, folder
from unimatch.data.check import full_check
from unimatch.data.check.geolocation import Corner, apart, corner_of


def save(path, array, x=500_000.0, y=4_000_000.0, pixel=0.5, column=0.0, *, matrix=False):
    """A GeoTIFF whose corner is there, as a tie point of any column, or as a matrix, says."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    said = (
        {34264: (pixel, 0.0, 0.0, x, 0.0, -pixel, 0.0, y, *[0.0] * 7, 1.0)}
        if matrix
        else {33550: (pixel, pixel, 0.0), 33922: (column, 0.0, 0.0, x + column * pixel, y, 0.0)}
    )
    for tag, values in said.items():
        tags.tagtype[tag] = 12
        tags[tag] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, tiffinfo=tags)
    return path


PIXELS = np.zeros((8, 9), np.uint8)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({}, 0),
        ({"column": 4.0}, 0),
        ({"matrix": True}, 0),
        ({"x": 500_000.1}, 0),
        ({"x": 500_005.0}, 1),
        ({"y": 3_999_000.0, "matrix": True}, 1),
        ({"x": 9.25, "y": 48.5, "pixel": 1e-5}, 1),
        ({"x": float("nan")}, 0),
        ({"pixel": 0.0}, 0),
    ],
)
def test_files_of_other_places_are_found(tmp_path, other, found):
    paths = [save(tmp_path / "a.tif", PIXELS), save(tmp_path / "b.TIF", PIXELS, **other)]
    kinds = list(apart(paths))
    assert [kind for kind, _ in kinds] == ["places apart"] * found
    if found:
        assert kinds[0][1].startswith(f"{paths[1]}: begins at ")
        assert f"and {paths[0]} at 500000, 4000000; cut both to one extent" in kinds[0][1]


def test_files_that_do_not_say_where_they_lie_are_passed_over(tmp_path):
    image = save(tmp_path / "a.tif", PIXELS)
    Image.fromarray(PIXELS).save(tmp_path / "b.tif")
    Image.fromarray(PIXELS).save(tmp_path / "c.png")
    assert corner_of(image) == Corner(500_000.0, 4_000_000.0, 0.5)
    assert not list(apart([tmp_path / name for name in ("b.tif", "a.tif", "c.png", "gone.tif")]))


def test_the_full_check_names_masks_and_dates_of_other_places(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        mask = rng.integers(0, 2, (8, 9), np.uint8)
        save(tmp_path / "images" / f"{i}.tif", rng.integers(0, 256, (8, 9, 3), np.uint8))
        save(tmp_path / "masks" / f"{i}.tif", mask, x=500_001.0 if i == 1 else 500_000.0)
        for date in "AB":
            away = {"y": 0.0} if (date, i) == ("B", 2) else {}
            save(tmp_path / "pairs" / date / f"{i}.tif", rng.integers(0, 256, (8, 9, 3), np.uint8), **away)
        save(tmp_path / "pairs" / "label" / f"{i}.tif", mask)
    (tmp_path / "classes.txt").write_text("soil\nplant\n")
    for data, file in (
        (folder(tmp_path, val_share=0.25), tmp_path / "masks" / "1.tif"),
        (change_folder(tmp_path / "pairs", val_share=0.25), tmp_path / "pairs" / "B" / "2.tif"),
    ):
        found = [one for one in full_check(data, workers=0, progress=False).findings if one.kind == "places apart"]
        assert len(found) == 1
        assert found[0].texts[0].startswith(f"{file}: begins at ")
        assert not found[0].wrong
