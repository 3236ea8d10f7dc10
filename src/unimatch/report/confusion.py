"""Shows a confusion matrix, as a table of shaded cells or, for many classes, as a picture."""

from collections.abc import Sequence

from markupsafe import Markup

from unimatch.report.markup import drawing, section, table, tag

LARGEST = 30
"""How many classes a table may have; the matrix of more classes is drawn as a picture."""
MISTAKES = 10
"""How many of the commonest mistakes are listed beside the matrix."""
SMALLEST = 0.05
"""The smallest share of a mistake that is listed, in percent: smaller ones would be shown as 0.0."""
EQUAL_CONTRAST = 0.179
"""The relative luminance at which black and white text have the same contrast."""

SHADES = (((255, 255, 255), (11, 74, 143)), ((20, 24, 29), (125, 184, 245)))
"""The colours of 0% and of 100%, on a light page and on a dark one."""


def confusion_section(counts: Sequence[Sequence[int]], classes: Sequence[str], unit: str) -> Markup:
    """Returns the section of the page: the matrix, in percent of each true class, and the commonest mistakes.

    Args:
        counts: of each class (row) that are predicted as each class (column).
        classes: their names.
        unit: what is counted: ``pixels`` or ``images``.
    """
    shares = [[100 * count / sum(row) if sum(row) else None for count in row] for row in counts]
    text = f"Each row holds the {unit} of one true class, in percent, by the class that the teacher predicts."
    content = matrix(shares, classes) if len(classes) <= LARGEST else heat_map(shares, classes)
    return section("Confusion", tag("p", text), tag("div", content, mistakes(shares, classes), class_="beside"))


def matrix(shares: Sequence[Sequence[float | None]], classes: Sequence[str]) -> Markup:
    """Returns the matrix as a table of shaded cells."""
    rows = [[name, *(cell(share) for share in row)] for name, row in zip(classes, shares, strict=True)]
    return table(["truth \\ prediction", *classes], rows, caption="Confusion matrix of the teacher, %", class_="matrix")


def cell(share: float | None) -> Markup:
    """Returns a percentage on a shade of blue, in black or white, whichever has more contrast."""
    if share is None:
        return tag("td", "-")
    grounds = [blend(none, full, share) for none, full in SHADES]
    inks = ["#000" if luminance(ground) > EQUAL_CONTRAST else "#fff" for ground in grounds]
    style = f"background:light-dark({','.join(map(rgb, grounds))});color:light-dark({','.join(inks)})"
    return tag("td", f"{share:.0f}", style=style)


def blend(first: Sequence[int], second: Sequence[int], percent: float) -> list[int]:
    """Returns a colour between two others, with ``percent`` of the second.

    >>> blend((255, 255, 255), (0, 100, 255), 50)
    [128, 178, 255]
    """
    return [round(low + (high - low) * percent / 100) for low, high in zip(first, second, strict=True)]


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
    """Draws the matrix with a square for each cell; cells below half a percent stay empty."""
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
    """Returns a table of the largest entries off the diagonal; None if there are none."""
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
