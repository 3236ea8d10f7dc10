import colorsys

import numpy as np
import pytest

from unimatch.data.catalog import CAMVID, CITYSCAPES, distinct_colors, voc_colors
from unimatch.images.colors import lab, told_apart


def least_distance(colors) -> float:
    places = lab(np.array(colors, np.uint8))
    return min(np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i])


@pytest.mark.parametrize(
    ("palette", "least"),
    [(CAMVID.palette, 40), (CITYSCAPES.palette, 30), (voc_colors(21), 30), (distinct_colors(81), 10)],
)
def test_no_two_colours_look_alike(palette, least):
    colors = told_apart(palette)
    assert len(set(colors)) == len(palette)
    assert least_distance(colors) > max(least, least_distance(palette))


def test_road_pavement_and_car_of_camvid_are_three_hues():
    colors = dict(zip(CAMVID.classes, told_apart(CAMVID.palette), strict=True))
    hues = [colorsys.rgb_to_hsv(*(c / 255 for c in colors[name]))[0] for name in ("road", "pavement", "car")]
    assert min(min(abs(a - b), 1 - abs(a - b)) for i, a in enumerate(hues) for b in hues[:i]) > 0.08


def test_colours_that_are_apart_stay_and_the_background_stays_black():
    assert told_apart([(0, 0, 0), (255, 64, 64)]) == [(0, 0, 0), (255, 64, 64)]
    assert told_apart([(9, 9, 9), (0, 0, 0)])[1] == (0, 0, 0)
    same = told_apart([(0, 0, 0), (0, 0, 0), (255, 0, 0), (255, 0, 0)])
    assert same[0] == (0, 0, 0)
    assert len(set(same)) == 4
    assert told_apart([]) == []
