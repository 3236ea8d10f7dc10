"""The facts of each data set, one frozen record per set, and nowhere else."""

import colorsys
from dataclasses import dataclass, field

from unimatch.types import IGNORE_INDEX

Color = tuple[int, int, int]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without reading it."""

    name: str
    classes: tuple[str, ...]
    """Names in the order of their ids."""
    palette: tuple[Color, ...]
    """One RGB colour (0-255) per class."""
    ignore_ids: frozenset[int] = field(default=frozenset({IGNORE_INDEX}))
    """Mask values that mean "no class"; all become 255 when read."""
    url: str = ""
    license: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if len(self.palette) != len(self.classes):
            raise ValueError(f"{self.name}: {len(self.classes)} classes but {len(self.palette)} colours")

    @property
    def num_classes(self) -> int:
        """The number of classes, without the ignored value."""
        return len(self.classes)


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Colours far apart in hue for classes that have none of their own; class 0 is black.

    >>> distinct_colors(3)[0]
    (0, 0, 0)
    >>> len(set(distinct_colors(150)))
    150
    """
    colors: list[Color] = [(0, 0, 0)]
    for i in range(count - 1):
        # The golden ratio spreads hues evenly for any count; three brightness steps keep 150 apart.
        red, green, blue = colorsys.hsv_to_rgb((i * 0.618034) % 1.0, 0.55 + 0.15 * (i % 4), 1.0 - 0.18 * (i % 3))
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors[:count])


CAMVID = DatasetInfo(
    name="camvid",
    classes=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    # SegNet's files mark void with 11, others with 255.
    ignore_ids=frozenset({11, IGNORE_INDEX}),
    url="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    license="research use",
    citation="Brostow, Fauqueur, Cipolla: Semantic object classes in video, Pattern Recognition Letters 2009",
)

DIGITS = DatasetInfo(
    name="digits",
    classes=("background", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    palette=distinct_colors(11),
    url="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    license="CC BY 4.0",
    citation="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository 1998",
)
