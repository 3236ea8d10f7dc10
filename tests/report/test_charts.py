import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unimatch.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    line_chart,
    thinned,
    ticks,
)

finite = st.floats(-1e6, 1e6)


def points_of(chart: str, element: str = "polyline") -> list[list[tuple[float, float]]]:
    lines = re.findall(rf'<{element} points="([^"]*)"', chart)
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]


def test_points_lie_where_their_values_say():
    chart = line_chart("a", [Line("x", [(0, 0.0), (50, 25.0), (100, 100.0)])], limits=(0, 100))
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    expected = [(LEFT, TOP + down), (LEFT + across / 2, TOP + 0.75 * down), (LEFT + across, TOP)]
    assert points_of(chart) == [[pytest.approx(point, abs=0.06) for point in expected]]


@given(st.lists(st.lists(st.tuples(st.integers(0, 10**6), finite), min_size=1, max_size=30), min_size=1, max_size=10))
def test_any_values_are_drawn_inside_the_chart_as_well_formed_xml(lines):
    chart = line_chart("<a&b>", [Line(f'"{i}<', sorted(points), i) for i, points in enumerate(lines)], unit="%")
    ElementTree.fromstring(chart)
    assert len(points_of(chart)) == len(lines)
    for line in points_of(chart):
        for x, y in line:
            assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1
            assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


@given(st.lists(finite, min_size=1, max_size=1000))
def test_thinning_keeps_the_mean_of_whole_groups_and_the_number_small(values):
    points = thinned(list(enumerate(values)))
    assert len(points) <= MOST_POINTS
    if len(values) % len(points) == 0:
        assert sum(y for _, y in points) / len(points) == pytest.approx(sum(values) / len(values), abs=1e-3)


@given(finite, st.floats(1e-6, 1e6))
def test_ticks_are_inside_and_evenly_spaced(low, size):
    values = ticks(low, low + size)
    slack = size * 1e-6 + 4 * math.ulp(abs(low) + size)
    assert 2 <= len(values) <= 7
    assert all(low - slack <= value <= low + size + slack for value in values)


def test_a_chart_says_in_words_what_it_shows():
    chart = line_chart("mIoU", [Line("teacher", [(0, 10.0), (50, 42.04)], 0, [(0, 9, 11), (50, 40, 44)])], unit="%")
    assert "<title>mIoU</title><desc>Over training steps. teacher: 10% at step 0, 42% at step 50.</desc>" in chart
    assert "<caption>mIoU</caption>" in chart
    assert len(points_of(chart, "polygon")) == 1
