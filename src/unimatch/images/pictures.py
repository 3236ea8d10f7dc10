"""Draws pictures: classes' colours over an image, pictures in rows, legends.

Overlays and their legends need only NumPy and Pillow; figures need Matplotlib too.
"""

import functools
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from unimatch.disk import lacks_room, replace_file
from unimatch.errors import interruption
from unimatch.images.arrays import ImageArray, MaskArray, latest, strips
from unimatch.types import IGNORE_INDEX

log = logging.getLogger("unimatch")

Color = Sequence[int]
"""Red, green and blue, 0-255."""
Legend = Sequence[tuple[str, Color]]
"""Names, and the colours they stand for."""


@contextmanager
def drawing(what: object) -> Iterator[None]:
    """Warns of a picture that could not be drawn, and goes on: a failing plot, font or legend must not end a run.

    A full disk remains an error.
    """
    handled = sys.exception()
    try:
        yield
    except Exception as error:
        if end := interruption(error, handled):
            raise end from None
        if lacks_room(error):
            raise
        log.warning("%s was not drawn: %s", what, getattr(error, "strerror", None) or str(error) or repr(error))


def spread_evenly(total: int, count: int) -> list[int]:
    """Returns ``count`` positions in a list of ``total`` items, evenly spread; all of them if there are fewer.

    >>> spread_evenly(100, 4), spread_evenly(2, 4)
    ([12, 37, 62, 87], [0, 1])
    """
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def colorize(mask: MaskArray, palette: Sequence[Color]) -> ImageArray:
    """Returns a mask (H, W) as a picture (H, W, 3): each class in its colour, ignored pixels white.

    >>> colorize(np.array([[0, 1, 255]], np.uint8), [(0, 0, 0), (9, 8, 7)]).tolist()
    [[[0, 0, 0], [9, 8, 7], [255, 255, 255]]]
    """
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette
    return table[mask]


def overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.integer],
    palette: Sequence[Color],
    opacity: float = 0.5,
    *,
    cover_ignored: bool = False,
) -> ImageArray:
    """Returns an image under the colours of its classes.

    Args:
        image: (H, W, 3); of a pair of dates (2, H, W, 3) the second is shown.
        mask: (H, W) class ids.
        palette: a colour for each class.
        opacity: of the colours, 0-1.
        cover_ignored: whether pixels without a class are whitened; if not, they stay as they are.

    >>> image, mask = np.zeros((1, 2, 3), np.uint8), np.array([[0, 255]])
    >>> overlay(image, mask, [(20, 40, 60)]).tolist()
    [[[10, 20, 30], [0, 0, 0]]]
    >>> overlay(image, mask, [(20, 40, 60)], cover_ignored=True).tolist()
    [[[10, 20, 30], [127, 127, 127]]]
    """
    shown = latest(image)
    result = np.empty_like(shown)
    for rows in strips(*mask.shape):
        below, ids = shown[rows], mask[rows].astype(np.uint8, copy=False)
        mixed = (below * (1 - opacity) + colorize(ids, palette) * opacity).astype(np.uint8)
        result[rows] = mixed if cover_ignored else np.where((ids == IGNORE_INDEX)[..., None], below, mixed)
    return result


def stack_rows(rows: Sequence[Sequence[ImageArray]], gap: int = 4) -> ImageArray:
    """Returns one picture: pictures of one height side by side in each row, and below each row ``gap`` black pixels."""
    joined = [np.hstack(row) for row in rows]
    width = max(row.shape[1] for row in joined)
    return np.vstack([np.pad(row, ((0, gap), (0, width - row.shape[1]), (0, 0))) for row in joined])


FONTS = (
    *("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "wqy-zenhei.ttc", "wqy-microhei.ttc"),
    *("msyh.ttc", "simhei.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "Arial Unicode.ttf"),
    *("malgun.ttf", "YuGothM.ttc"),
)
"""Files of fonts with more characters than Pillow's own; each system has some of them."""


@functools.cache
def fonts() -> dict[str, ImageFont.FreeTypeFont]:
    """Returns the fonts that this system has, by their files; ``""`` is Pillow's own."""
    found = {"": font_of("", 16)}
    matplotlib = find_spec("matplotlib")
    folders = (matplotlib and matplotlib.submodule_search_locations) or ()
    bundled = [str(Path(folder, "mpl-data/fonts/ttf/DejaVuSans.ttf")) for folder in folders]
    for file in (*bundled, *FONTS):
        with suppress(OSError):
            found[file] = font_of(file, 16)
    return found


def font_of(file: str, size: int) -> ImageFont.FreeTypeFont:
    """Loads a font."""
    font = ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@functools.lru_cache(maxsize=4096)
def font_file(text: str) -> str | None:
    """Returns the file of the first font that has all characters of a text, as in :func:`fonts`; None if none has."""
    for file, font in fonts().items():
        missing = bytes(font.getmask("\U0010fffe"))
        if all(char.isspace() or bytes(font.getmask(char)) != missing for char in set(legible(text))):
            return file
    return None


def legible(text: str) -> str:
    """Returns a text in which code points that cannot be encoded, as in file names that are not UTF-8, are escaped."""
    return text.encode(errors="backslashreplace").decode()


def legend_of(classes: Sequence[str], palette: Sequence[Color], ids: Iterable[int]) -> list[tuple[str, Color]]:
    """Returns the legend of some classes: their names, or ``class ID`` where no font has all characters of a name."""
    return [(f"class {i}" if font_file(classes[i]) is None else legible(classes[i]), palette[i]) for i in ids]


def add_legend(image: ImageArray, legend: Legend) -> Image.Image:
    """Returns the image with a white strip below it that holds a box and a name for each entry of the legend."""
    height, width = image.shape[:2]
    size = max(11, width // 60)
    pad = size // 2
    corners, x, y = [], pad, pad
    for name, _ in legend:
        font = font_of(font_file(name) or "", size)
        wide = round(font.getlength(name)) + 2 * size + pad
        if x > pad and x + wide > width:
            x, y = pad, y + size + pad
        corners.append((font, x, height + y))
        x += wide
    strip = y + size + pad if legend else 0
    picture = Image.new("RGB", (width, height + strip), "white")
    picture.paste(Image.fromarray(image), (0, 0))
    draw = ImageDraw.Draw(picture)
    for (name, color), (font, x, y) in zip(legend, corners, strict=True):
        draw.rectangle((x, y, x + size, y + size), fill=tuple(color), outline="gray")
        draw.text((x + size + pad, y), name, fill="black", font=font)
    return picture


@dataclass(frozen=True)
class Cell:
    """One picture of a figure, with a title above it."""

    picture: ImageArray
    title: str = ""
    color: str = "black"
    """Colour of the title."""


def save_figure(
    path: Path,
    rows: Sequence[Sequence[Cell]],
    legend: Legend,
    *,
    columns: int,
    size: tuple[float, float],
    sizes: tuple[float, float] = (10, 8),
    legend_columns: int = 6,
    interpolation: str = "nearest",
) -> None:
    """Draws rows of at most ``columns`` pictures with a legend below them, and writes them as PNG.

    Args:
        path: of the file.
        rows: pictures.
        legend: of the colours in the pictures.
        columns: places for pictures in a row.
        size: width and height, in inches of 110 pixels.
        sizes: font sizes of titles and of the legend, in points.
        legend_columns: entries of the legend that stand side by side.
        interpolation: how Matplotlib scales the pictures.
    """
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    def write(text: Text, name: str, points: float) -> None:
        """Sets a text literally: ``$`` begins no formula, and a character that no font has becomes a question mark."""
        file, name = font_file(name), legible(name)
        if file is None:
            name = "".join(char if font_file(char) is not None else "?" for char in name)
            file = font_file(name) or ""
        text.set(text=name, parse_math=False, fontproperties=FontProperties(fname=file or None, size=points))

    figure = Figure(figsize=size, layout="constrained", dpi=110)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, cells in zip(axes, rows, strict=True):
        for axis, cell in zip(row, cells, strict=False):
            axis.imshow(cell.picture, interpolation=interpolation)
            write(axis.set_title("", color=cell.color), cell.title, sizes[0])
        for axis in row:
            axis.axis("off")
    if legend:
        colors = [(red / 255, green / 255, blue / 255) for _, (red, green, blue) in legend]
        handles = [Patch(facecolor=color, edgecolor="0.5", label="-") for color in colors]
        box = figure.legend(
            handles=handles, loc="outside lower center", ncols=legend_columns, fontsize=sizes[1], frameon=False
        )
        # Names are set afterwards, as Matplotlib leaves out labels that begin with "_".
        for text, (name, _) in zip(box.get_texts(), legend, strict=True):
            write(text, name, sizes[1])
    replace_file(path, lambda file: figure.savefig(file, format="png"))
