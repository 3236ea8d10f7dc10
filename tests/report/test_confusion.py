import re

import pytest

from unimatch.report.confusion import MISTAKES, cell, heat_map, luminance, matrix, mistakes


@pytest.mark.parametrize("page", ["light", "dark"])
def test_numbers_on_any_shade_have_a_contrast_of_4_5(page):
    dark, grounds = page == "dark", []
    for share in range(101):
        shades = re.findall(r"rgb\((\d+),(\d+),(\d+)\)", cell(share))
        inks = re.search(r";color:light-dark\((#\w+),(#\w+)\)", cell(share)).groups()
        background = luminance([*map(int, shades[dark])])
        text = {"#000": 0.0, "#fff": 1.0}[inks[dark]]
        assert (max(text, background) + 0.05) / (min(text, background) + 0.05) >= 4.5
        grounds.append(background)
    assert grounds == sorted(grounds, reverse=not dark)  # from the page's own colour on
    assert grounds[0] == 1 if not dark else grounds[0] < 0.01


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
