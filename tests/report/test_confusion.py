import re

import pytest

from unimatch.report.confusion import MISTAKES, cell, confusion_section, luminance, mistakes


@pytest.mark.parametrize("share", range(0, 101, 5))
def test_numbers_on_any_shade_have_a_contrast_of_4_5(share):
    red, green, blue = map(int, re.search(r"rgb\((\d+),(\d+),(\d+)\)", cell(share)).groups())
    background = luminance((red, green, blue))
    text = 0.0 if "color:#000" in cell(share) else 1.0
    assert (max(text, background) + 0.05) / (min(text, background) + 0.05) >= 4.5


def test_rows_are_shares_of_the_true_class():
    text = confusion_section([[3, 1], [0, 0]], ["soil", "plant"])
    assert re.findall(r"<td[^>]*>([^<]*)</td>", text)[:4] == ["75", "25", "-", "-"]


def test_many_classes_are_a_picture_of_what_is_at_least_half_a_percent():
    counts = [[1000 if row == column else 4 * (column == 0) for column in range(40)] for row in range(40)]
    counts[7][3] = 20
    text = confusion_section(counts, [f"class {i}" for i in range(40)])
    assert text.count("<rect") == 1 + 40 + 1  # the ground, the diagonal, and 20 of 1024
    assert 'x="3" y="7"' in text
    assert "<td>class 3</td>" in text  # the commonest mistake


def test_mistakes_are_the_largest_off_the_diagonal():
    names = [f"c{i}" for i in range(9)]
    shares = [[90.0 if row == column else row + column / 10 for column in range(9)] for row in range(9)]
    expected = sorted((s, r, c) for r, row in enumerate(shares) for c, s in enumerate(row) if r != c)[::-1][:MISTAKES]
    found = re.findall(r"<th scope=\"row\">(\w+)</th><td>(\w+)</td><td>([\d.]+)</td>", mistakes(shares, names))
    assert found == [(names[truth], names[predicted], f"{share:.1f}") for share, truth, predicted in expected]
