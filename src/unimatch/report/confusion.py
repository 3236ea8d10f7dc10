"""Shows a confusion matrix: as a table of shaded cells, or as a picture if there are many classes."""

from collections.abc import Sequence

from markupsafe import Markup

from unimatch.report.markup import drawing, section, table, tag

LARGEST = 30
"""How many classes a table may have; a matrix of more is drawn as a picture."""
MISTAKES = 10
"""How many of the commonest mistakes are listed beside the matrix."""
SMALLEST = 0.05
"""Percent: smaller shares would be shown as 0.0."""

SHADES = (((255, 255, 255), (11, 74, 143)), ((20, 24, 29), (125, 184, 245)))
"""The colours of 0% and of 100%, on a light page and on a dark one."""


def confusion_section(counts: Sequence[Sequence[int]], classes: Sequence[str], unit: str) -> Markup:
    """Returns the section of the page: each row of the matrix as percentages of its true class, and the mistakes."""
    shares = [[100 * count / sum(row) if sum(row) else None for count in row] for row in counts]
    text = f"Each row holds the {unit} of one true class, in percent, by the class that the teacher predicts."
    content = matrix(shares, classes) if len(classes) <= LARGEST else heat_map(shares, classes)
    return section("Confusion", tag("p", text), tag("div", content, mistakes(shares, classes), class_="beside"))


def matrix(shares: Sequence[Sequence[float | None]], classes: Sequence[str]) -> Markup:
    """Returns the matrix as a table of shaded cells."""
    rows = [[name, *(cell(share) for share in row)] for name, row in zip(classes, shares, strict=True)]
    return table(["truth \\ prediction", *classes], rows, caption="Confusion matrix of the teacher, %", class_="matrix")


def cell(share: float | None) -> Markup:
    """Returns a percentage on a shade of blue, in black or white, whichever can be read better."""
    if share is None:
        return tag("td", "-")
    grounds = [[round(low + (high - low) * share / 100) for low, high in zip(*ends, strict=True)] for ends in SHADES]
    inks = ["#000" if luminance(ground) > 0.179 else "#fff" for ground in grounds]  # there both contrasts are the same
    shade, ink = (f"light-dark({','.join(pair)})" for pair in (map(rgb, grounds), inks))
    return tag("td", f"{share:.0f}", style=f"background:{shade};color:{ink}")


def rgb(color: Sequence[int]) -> str:
    """Returns a colour as CSS writes it.

    >>> rgb((11, 74, 143))
    'rgb(11,74,143)'
    """
    return f"rgb({','.join(map(str, color))})"


def luminance(color: Sequence[int]) -> float:
    """Returns the relative luminance of a colour, 0-1, as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def heat_map(shares: Sequence[Sequence[float | None]], classes: Sequence[str]) -> Markup:
    """Draws the matrix as a picture with a square for each cell; cells below half a percent stay empty."""
    count = len(classes)
    squares = [
        tag("rect", x=column, y=row, width=1, height=1, opacity=f"{share / 100:.2f}")
        for row, values in enumerate(shares)
        for column, share in enumerate(values)
        if share is not None and share >= 0.5
    ]
    drawn = drawing(
        count,
        count,
        tag("rect", width=count, height=count, style="fill:var(--tint)"),
        tag("g", squares, style=f"fill:light-dark({','.join(rgb(full) for _, full in SHADES)})"),
        title="Confusion matrix of the teacher",
        description=f"{count} classes, truth from top to bottom, prediction from left to right; more blue is more.",
        style="width:100%;max-width:640px",
    )
    return tag("figure", drawn)


def mistakes(shares: Sequence[Sequence[float | None]], classes: Sequence[str]) -> Markup | None:
    """Returns a table of the largest entries off the diagonal; None where there is no mistake."""
    found = [
        (share, truth, predicted)
        for truth, row in enumerate(shares)
        for predicted, share in enumerate(row)
        if truth != predicted and share and share >= SMALLEST
    ]
    largest = sorted(found, reverse=True)[:MISTAKES]
    rows = [[classes[truth], classes[predicted], f"{share:.1f}"] for share, truth, predicted in largest]
    caption = "The commonest mistakes, by their share of the true class"
    return table(["truth", "predicted as", "share, %"], rows, caption=caption, class_="words") if rows else None
