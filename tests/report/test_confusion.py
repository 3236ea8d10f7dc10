import re

import pytest

from unimatch.report.confusion import MISTAKES, cell, heat_map, luminance, matrix, mistakes


@pytest.mark.parametrize("share", range(0, 101, 5))
def test_numbers_on_any_shade_have_a_contrast_of_4_5(share):
    red, green, blue = map(int, re.search(r"rgb\((\d+),(\d+),(\d+)\)", cell(share)).groups())
    background = luminance((red, green, blue))
    text = 0.0 if "color:#000" in cell(share) else 1.0
    assert (max(text, background) + 0.05) / (min(text, background) + 0.05) >= 4.5


def test_a_row_of_a_class_that_is_nowhere_is_empty():
    text = matrix([[75.0, 25.0], [None, None]], ["soil", "plant"])
    assert re.findall(r"<td[^>]*>([^<]*)</td>", text) == ["75", "25", "-", "-"]


def test_a_picture_has_what_is_at_least_half_a_percent():
    shares = [[99.0 if row == column else 0.4 for column in range(40)] for row in range(40)]
    shares[7][3], shares[9] = 50.0, [None] * 40
    text = heat_map(shares, [f"class {i}" for i in range(40)])
    assert text.count("<rect") == 1 + 39 + 1  # the ground, the diagonal but for the absent class, and 50%
    assert '<rect x="3" y="7" width="1" height="1" opacity="0.50">' in text


def test_mistakes_are_the_largest_off_the_diagonal():
    names = [f"c{i}" for i in range(9)]
    shares = [[90.0 if row == column else row + column / 10 for column in range(9)] for row in range(9)]
    expected = sorted((s, r, c) for r, row in enumerate(shares) for c, s in enumerate(row) if r != c)[::-1][:MISTAKES]
    found = re.findall(r"<th scope=\"row\">(\w+)</th><td>(\w+)</td><td>([\d.]+)</td>", mistakes(shares, names))
    assert found == [(names[truth], names[predicted], f"{share:.1f}") for share, truth, predicted in expected]
