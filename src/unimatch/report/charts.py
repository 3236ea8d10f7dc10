"""Draws line charts as SVG, each with a legend, a description and a table of its values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from unimatch.report.markup import data, drawing, folded, html, table, tag

Point = tuple[float, float]

COLORS = 8
"""How many colours lines have: the classes ``c0`` to ``c7`` of style.css, which differ between light and dark pages.

Their contrast to the page is at least 4.5. Lines have dashes too, so that colour-blind people can tell them apart.
"""
DASHES = (None, "7 3", "2 3", "9 3 2 3")
"""The values of SVG's ``stroke-dasharray``."""

WIDTH, HEIGHT = 380, 230
"""The size of a chart, in the units of its SVG."""
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 34
"""The margins around its axes."""
MOST_POINTS = 80
"""How many points a line has at most; if there are more, neighbours are averaged."""
MOST_MARKED = 12
"""How many points a line may have for each to be marked."""
MOST_ROWS = 12
"""How many rows the table of a chart has at most."""

PERCENTAGES: dict[str, Any] = {"unit": "%", "limits": (0, 100)}
"""Arguments of :func:`line_chart` for percentages."""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[Point]
    style: int = 0
    """A number, from 0, that chooses the colour and the dash."""
    band: Sequence[tuple[float, float, float]] = ()
    """(x, lowest, highest) of an area around the line."""

    @property
    def color(self) -> str:
        """The CSS class with the line's colour. After eight styles, colours repeat with other dashes."""
        return f"c{self.style % COLORS}"

    def stroke(self, width: int) -> dict[str, object]:
        """Returns the SVG attributes of the line. Neighbouring styles have different dashes."""
        dash = DASHES[(self.style + self.style // COLORS) % len(DASHES)]
        return {"class_": self.color, "stroke": "currentColor", "stroke_width": width, "stroke_dasharray": dash}


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    unit: str = "",
    limits: tuple[float, float] | None = None,
    named: bool = True,
    listed: bool = True,
) -> Markup:
    """Returns a chart of lines over training steps.

    Args:
        title: of the figure.
        lines: those without points are left out; at least one has points.
        unit: of the values.
        limits: of the axis of values; None to fit them to the lines.
        named: whether the chart has its own legend, and does not share one with other charts.
        listed: whether a table below the chart lists its values.
    """
    lines = [line for line in lines if line.points]
    shown = [point for line in lines for point in (*thinned(line.points), *line.band)]
    values = [value for _, *heights in shown for value in heights]
    low, high = limits or padded(min(values), max(values))
    end = max(x for line in lines for x, _ in line.points) or 1.0

    def place(x: float, y: float) -> str:
        across = LEFT + x / end * (WIDTH - LEFT - RIGHT)
        down = TOP + (high - min(max(y, low), high)) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    drawn = [axes(low, high, end, unit)]
    for line in lines:
        parts = []
        if line.band:
            upper = [place(x, top) for x, _, top in line.band]
            lower = [place(x, bottom) for x, bottom, _ in reversed(line.band)]
            area = {"points": " ".join(upper + lower), "class_": line.color, "fill": "currentColor", "opacity": 0.15}
            parts.append(tag("polygon", **area))
        places = [place(x, y) for x, y in thinned(line.points)]
        parts.append(tag("polyline", points=" ".join(places), **line.stroke(2), fill="none"))
        if len(places) <= MOST_MARKED:
            for position in places:
                x, y = position.split(",")
                parts.append(tag("circle", cx=x, cy=y, r=2.6, class_=line.color, fill="currentColor"))
        drawn.append(tag("g", parts, data_line=line.style))
    svg = drawing(WIDTH, HEIGHT, drawn, title=title, description=describe(lines, unit))
    for_script = {
        "unit": unit,
        "box": [LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM],
        "axes": [end, low, high],
        "lines": [
            {
                "name": line.name,
                "style": line.style,
                "points": [[x, float(f"{y:.6g}")] for x, y in thinned(line.points)],
            }
            for line in lines
        ],
    }
    return tag(
        "figure",
        tag("figcaption", title),
        tag("div", svg, class_="plot"),
        legend(lines) if named else None,
        folded("values", values_table(title, lines)) if listed else None,
        data(for_script),
        class_="chart",
    )


def axes(low: float, high: float, end: float, unit: str) -> Markup:
    """Draws the grid, with the values beside it and the steps below it."""
    parts, bottom = [], HEIGHT - BOTTOM
    for value in ticks(low, high):
        down = TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{down:.1f}", y2=f"{down:.1f}", class_="grid"))
        parts.append(tag("text", number(value) + unit, x=LEFT - 6, y=f"{down + 4:.1f}", text_anchor="end"))
    for value in ticks(0, end):
        across = LEFT + value / end * (WIDTH - LEFT - RIGHT)
        anchor = "end" if across > WIDTH - 30 else "middle"
        parts.append(tag("text", short(value), x=f"{min(across, WIDTH - 2):.1f}", y=bottom + 16, text_anchor=anchor))
    parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"))
    parts.append(tag("text", "step", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 3, text_anchor="middle"))
    return html(parts)


def legend(lines: Sequence[Line]) -> Markup:
    """Returns the names of lines, each after a sample of its line."""
    return tag("ul", [tag("li", swatch(line), line.name, data_line=line.style) for line in lines], class_="legend")


def swatch(line: Line) -> Markup:
    """Draws a sample of a line."""
    return drawing(28, 10, tag("line", x1=0, x2=28, y1=5, y2=5, **line.stroke(3)), class_="swatch")


def describe(lines: Sequence[Line], unit: str) -> str:
    """Returns in words where each line begins and ends.

    >>> describe([Line("teacher", [(0, 10.0), (50, 42.04)])], "%")
    'Over training steps. teacher: 10% at step 0, 42% at step 50.'
    """
    said = ["Over training steps."]
    for line in lines:
        ends = dict.fromkeys((line.points[0], line.points[-1]))
        said.append(f"{line.name}: " + ", ".join(f"{number(y)}{unit} at step {x:.0f}" for x, y in ends) + ".")
    return " ".join(said)


def values_table(title: str, lines: Sequence[Line]) -> Markup:
    """Returns a table of the lines' values, at :data:`MOST_ROWS` of their steps if there are more."""
    columns = [dict(thinned(line.points)) for line in lines]
    steps = sorted({x for values in columns for x in values})
    if len(steps) > MOST_ROWS:
        steps = [steps[round(i * (len(steps) - 1) / (MOST_ROWS - 1))] for i in range(MOST_ROWS)]
    rows = [[f"{x:.0f}", *(number(values[x]) if x in values else "" for values in columns)] for x in steps]
    return table(["step", *(line.name for line in lines)], rows, caption=title)


def thinned(points: Sequence[Point]) -> list[Point]:
    """Returns at most :data:`MOST_POINTS` points, each the mean of equally many neighbours.

    >>> thinned([(i, 2.0 * i) for i in range(160)])[:2]
    [(0.5, 1.0), (2.5, 5.0)]
    """
    each = max(1, math.ceil(len(points) / MOST_POINTS))
    groups = [points[i : i + each] for i in range(0, len(points), each)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def padded(low: float, high: float) -> tuple[float, float]:
    """Returns the limits of an axis for values from ``low`` to ``high``. It begins at 0 if the values begin near 0.

    >>> padded(0.1, 2.0), padded(50.0, 60.0), padded(3.0, 3.0)
    ((0.0, 2.1), (49.0, 61.0), (2.0, 4.0))
    """
    if low == high:
        return low - 1, high + 1
    margin = (high - low) / 10
    if 0 <= low < (high - low) / 2:
        return 0.0, high * 1.05
    return low - margin, high + margin


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about ``count`` round numbers from ``low`` to ``high``.

    >>> ticks(0, 1200), ticks(44.0, 54.2)
    ([0, 200, 400, 600, 800, 1000, 1200], [44, 46, 48, 50, 52, 54])
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.8 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [round(i * step, 12) for i in range(first, last + 1)]
    return [int(value) if value == int(value) else value for value in values]


def number(value: float) -> str:
    """Returns a value as text with three significant digits.

    >>> number(52.58), number(0.01234), number(1200.0), number(0.0)
    ('52.6', '0.0123', '1200', '0')
    """
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def short(value: float) -> str:
    """Returns a number of steps as a short text.

    >>> short(500), short(40000), short(2500), short(2000000)
    ('500', '40k', '2.5k', '2M')
    """
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
