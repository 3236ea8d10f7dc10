import numpy as np
import pytest

from unimatch.data.catalog import CAMVID
from unimatch.images import pictures
from unimatch.images.pictures import (
    Cell,
    add_legend,
    colorize,
    drawing,
    font_file,
    legend_of,
    overlay,
    save_figure,
    spread_evenly,
    stack_rows,
)

PALETTE = ((10, 200, 30), (255, 0, 128))


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_colorize_gives_each_class_its_colour_and_ignored_pixels_white():
    mask = np.array([[0, 10], [255, 3]], np.uint8)
    expected = [[CAMVID.palette[0], CAMVID.palette[10]], [(255, 255, 255), CAMVID.palette[3]]]
    assert colorize(mask, CAMVID.palette).tolist() == np.array(expected).tolist()


@pytest.mark.parametrize("cover_ignored", [False, True])
@pytest.mark.parametrize("opacity", [0.0, 0.5, 0.55, 1.0])
def test_an_overlay_mixes_pixel_by_pixel(monkeypatch, opacity, cover_ignored):
    monkeypatch.setattr("unimatch.images.arrays.STRIP_PIXELS", 20)  # several strips
    image = random_image(9, 7)
    mask = np.random.default_rng(1).choice([0, 1, 255], (9, 7))
    mixed = overlay(image, mask, PALETTE, opacity, cover_ignored=cover_ignored)
    for row, column in np.ndindex(9, 7):
        pixel, i = image[row, column], mask[row, column]
        color = (255, 255, 255) if i == 255 else PALETTE[i]
        expected = [int(p * (1 - opacity) + c * opacity) for p, c in zip(pixel.tolist(), color, strict=True)]
        assert mixed[row, column].tolist() == (pixel.tolist() if i == 255 and not cover_ignored else expected)


def test_of_a_pair_of_dates_the_second_lies_under_the_overlay():
    pair, mask = random_image(2, 4, 5), np.zeros((4, 5), np.uint8)
    assert np.array_equal(overlay(pair, mask, PALETTE), overlay(pair[1], mask, PALETTE))


@pytest.mark.parametrize("total", range(8))
def test_spread_positions_are_distinct_and_lie_in_the_middle(total):
    for count in range(1, 6):
        places = spread_evenly(total, count)
        assert places == sorted(set(places))
        assert len(places) == min(count, total)
        assert all(0 <= place < total for place in places)
        assert not places or places[0] <= total - 1 - places[-1] + 1


def test_rows_of_pictures_lie_below_each_other_on_black():
    a, b, c = random_image(3, 4, seed=1), random_image(3, 2, seed=2), random_image(5, 3, seed=3)
    picture = stack_rows([[a, b], [c]], gap=2)
    assert picture.shape == (3 + 2 + 5 + 2, 6, 3)
    assert np.array_equal(picture[:3], np.hstack([a, b]))
    assert np.array_equal(picture[5:10, :3], c)
    assert not picture[3:5].any()
    assert not picture[5:, 3:].any()


def test_a_legend_shows_each_colour_below_an_image_that_stays_as_it_is():
    image = random_image(10, 40)
    picture = np.asarray(add_legend(image, [("a", PALETTE[0]), ("a long name", PALETTE[1])]))
    assert np.array_equal(picture[:10], image)
    for color in PALETTE:
        assert (picture[10:] == color).all(-1).sum() == (11 - 1) ** 2  # a box without its outline
    assert np.array_equal(np.asarray(add_legend(image, [])), image)


NAMES = (
    "$x^{$",
    "_background_",
    "{a}",
    "%s \\frac",
    "k\u00f6ln",
    "\u0434\u043e\u043c",
    "\u4e2d\u6587",
    "bytes \udcff",
    "\u0627",
)
"""Names of classes and of files that plots would take for formulas, leave out, or have no character for."""


def test_any_name_is_drawn_without_a_warning(tmp_path):
    legend = legend_of(NAMES, [(i, i, i) for i in range(len(NAMES))], range(len(NAMES)))
    image = random_image(10, 40)
    assert np.array_equal(np.asarray(add_legend(image, legend))[:10], image)
    rows = [[Cell(image, name) for name in NAMES]]
    save_figure(tmp_path / "a.png", rows, [*legend, *zip(NAMES, PALETTE * 9, strict=False)], columns=9, size=(9, 3))
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_a_class_whose_name_no_font_can_write_is_called_by_its_id(monkeypatch):
    names, palette = ("road", "_a$", "\u4e2d\u6587", "\u0434\u043e\u043c"), [(i, i, i) for i in range(4)]
    own = {"": pictures.fonts()[""]}
    font_file.cache_clear()
    monkeypatch.setattr(pictures, "fonts", lambda: own)
    assert [name for name, _ in legend_of(names, palette, range(3))] == ["road", "_a$", "class 2"]
    font_file.cache_clear()
    monkeypatch.undo()
    assert legend_of(names, palette, [3]) == [("\u0434\u043e\u043c", (3, 3, 3))]  # Matplotlib's own font


def test_a_picture_that_fails_is_a_warning(caplog):
    for error in (RuntimeError("no font"), OSError(5, "Input/output error"), ValueError()):
        with drawing("sheet.png"):
            raise error
    assert [record.getMessage() for record in caplog.records] == [
        "sheet.png was not drawn: no font",
        "sheet.png was not drawn: Input/output error",
        "sheet.png was not drawn: ValueError()",
    ]
    with pytest.raises(OSError, match="No space"), drawing("sheet.png"):
        raise OSError(28, "No space left on device")
    with pytest.raises(RuntimeError), drawing("sheet.png"):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    closing = OSError("the file cannot be closed")
    closing.__context__ = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), drawing("sheet.png"):
        raise closing
    with pytest.raises(KeyboardInterrupt), drawing("sheet.png"):
        raise KeyboardInterrupt
