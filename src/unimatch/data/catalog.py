"""The facts of each data set: name, classes, colours, source and licence."""

import colorsys
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from unimatch.images.arrays import Exif
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.colors import told_apart
from unimatch.types import IGNORE_INDEX

Color = tuple[int, int, int]

UnknownValues = Literal["error", "ignore", "nearest"]
"""What becomes of unknown ids and colours in masks: those that are neither a class nor ignored."""


@dataclass(frozen=True)
class DatasetInfo:
    """The facts of a data set that are known before it is read."""

    name: str
    classes: tuple[str, ...]
    """Names in the order of their ids."""
    palette: tuple[Color, ...]
    """An RGB colour (0-255) for each class, as in published masks."""
    ignore_ids: frozenset[int] = field(default=frozenset({IGNORE_INDEX}))
    """Stored ids of ignored pixels, which are read as 255; 255 itself is one too."""
    reduce_zero_label: bool = False
    """Whether masks store 0 for ignored pixels and classes from 1 on."""
    ids: Mapping[int, int] | None = None
    """Stored id -> class id, if they differ; other ids are errors."""
    color_masks: bool = False
    """Whether masks are RGB images in the colours of :attr:`palette`."""
    ignore_colors: frozenset[Color] = frozenset()
    """Colours of ignored pixels in such masks."""
    unknown_values: UnknownValues = "error"
    """What becomes of all other ids and colours: ``error`` refuses the mask, ``ignore`` ignores their pixels, and
    ``nearest`` reads them as the nearest of these."""
    exif: Exif = "turn"
    """Whether images and masks are turned as their EXIF orientation says, or left as they are stored."""
    bands: Bands = PHOTOS
    """What the bands of its images mean."""
    url: str = ""
    """The data set's web page."""
    license: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if len(self.palette) != len(self.classes):
            raise ValueError(f"{self.name}: {len(self.classes)} classes but {len(self.palette)} colours")

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @functools.cached_property
    def colors(self) -> list[Color]:
        """A colour for each class in pictures: that of the palette, or another one if two look alike."""
        return told_apart(self.palette)


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Returns colours of very different hues for classes without colours; that of class 0 is black.

    >>> distinct_colors(3)[0]
    (0, 0, 0)
    >>> len(set(distinct_colors(150)))
    150
    """
    colors: list[Color] = [(0, 0, 0)]
    for i in range(count - 1):
        # The golden ratio spreads hues evenly for any count; steps of brightness keep 150 colours distinct.
        red, green, blue = colorsys.hsv_to_rgb((i * 0.618034) % 1.0, 0.55 + 0.15 * (i % 4), 1.0 - 0.18 * (i % 3))
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors[:count])


def voc_colors(count: int) -> tuple[Color, ...]:
    """Returns the first ``count`` colours of Pascal VOC's colour map.

    The bits of a class id are split into groups of three, with one bit for each channel; the lowest group gives the
    highest bits of the channels.

    >>> voc_colors(21)[15]
    (192, 128, 128)
    """

    def channel(number: int, bit: int) -> int:
        return sum(((number >> (3 * place + bit)) & 1) << (7 - place) for place in range(8))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(count))


def names(text: str) -> tuple[str, ...]:
    """Splits a text at its commas into class names.

    >>> names(" wall, chest of drawers ")
    ('wall', 'chest of drawers')
    """
    return tuple(name.strip() for name in text.split(","))


def web_colors(text: str) -> tuple[Color, ...]:
    """Parses hexadecimal colours as on the web, separated by blanks.

    >>> web_colors("ff8000 000001")
    ((255, 128, 0), (0, 0, 1))
    """
    return tuple((code[0], code[1], code[2]) for code in map(bytes.fromhex, text.split()))


PASCAL = DatasetInfo(
    name="pascal",
    classes=names(
        """
        background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse,
        motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
        """
    ),
    palette=voc_colors(21),
    ignore_colors=frozenset({(224, 224, 192)}),  # the borders of objects, of id 255
    url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    license="Flickr's terms of use for the images; research use",
    citation="Everingham et al.: The Pascal Visual Object Classes Challenge, IJCV 2010; masks of the training images: "
    "Hariharan et al.: Semantic Contours from Inverse Detectors, ICCV 2011",
)

CITYSCAPES = DatasetInfo(
    name="cityscapes",
    classes=names(
        """
        road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person,
        rider, car, truck, bus, train, motorcycle, bicycle
        """
    ),
    palette=web_colors(
        "804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e "
        "000046 003c64 005064 0000e6 770b20"
    ),
    url="https://www.cityscapes-dataset.com/",
    license="non-commercial research and teaching, after registration",
    citation="Cordts et al.: The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
)

ADE20K = DatasetInfo(
    name="ade20k",
    classes=names(
        """
        wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
        door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
        field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
        signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
        stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee
        table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair,
        boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
        television, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet,
        poster, stage, van, ship, fountain, conveyor belt, canopy, washer, plaything, swimming pool, stool, barrel,
        basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot,
        animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
        ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
        """
    ),
    palette=distinct_colors(150),
    url="http://sceneparsing.csail.mit.edu/",
    license="BSD 3-Clause for the annotations; research and education for the images",
    citation="Zhou et al.: Scene Parsing through ADE20K Dataset, CVPR 2017",
)

COCO = DatasetInfo(
    name="coco",
    classes=names(
        """
        void, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop
        sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack,
        umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
        skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple,
        sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining
        table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
        refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
        """
    ),
    palette=distinct_colors(81),
    url="https://cocodataset.org/",
    license="CC BY 4.0 for the annotations; Flickr's terms of use for the images",
    citation="Lin et al.: Microsoft COCO: Common Objects in Context, ECCV 2014",
)

CAMVID = DatasetInfo(
    name="camvid",
    classes=names("sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist"),
    palette=web_colors("808080 800000 c0c080 804080 3c28de 808000 c08080 404080 400080 404000 0080c0"),
    # SegNet's files mark void with 11, others with 255.
    ignore_ids=frozenset({11, IGNORE_INDEX}),
    url="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    license="research use",
    citation="Brostow, Fauqueur, Cipolla: Semantic object classes in video, Pattern Recognition Letters 2009",
)

CHANGE = DatasetInfo(
    name="change_folder", classes=("unchanged", "changed"), palette=((0, 0, 0), (255, 64, 64)), ids={0: 0, 1: 1, 255: 1}
)

LEVIR = replace(
    CHANGE,
    name="levir",
    url="https://justchenhao.github.io/LEVIR/",
    license="academic use",
    citation="Chen, Shi: A Spatial-Temporal Attention-Based Method and a New Dataset for Remote Sensing Image Change "
    "Detection, Remote Sensing 2020",
)

WHU = replace(
    CHANGE,
    name="whu",
    url="http://gpcv.whu.edu.cn/data/building_dataset.html",
    license="see its page",
    citation="Ji, Wei, Lu: Fully Convolutional Networks for Multisource Building Extraction From an Open Aerial and "
    "Satellite Imagery Data Set, IEEE Transactions on Geoscience and Remote Sensing 2019",
)

CHANGE_DEMO = replace(
    CHANGE,
    name="change_demo",
    url="https://www.flickr.com/photos/danielbuechele/6061409035, https://www.flickr.com/photos/vultilion/6056698931",
    license="CC BY 2.0",
    citation="photographs by danielbuechele (china.jpg) and vultilion (flower.jpg), as scikit-learn ships them",
)

DIGITS = DatasetInfo(
    name="digits",
    classes=("background", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    palette=distinct_colors(11),
    url="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    license="CC BY 4.0",
    citation="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository 1998",
)

CIFAR10 = DatasetInfo(
    name="cifar10",
    classes=names("airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"),
    palette=distinct_colors(10),
    url="https://www.cs.toronto.edu/~kriz/cifar.html",
    license="not stated",
    citation="Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
)

STL10 = DatasetInfo(
    name="stl10",
    classes=names("airplane, bird, car, cat, deer, dog, horse, monkey, ship, truck"),
    palette=distinct_colors(10),
    url="https://cs.stanford.edu/~acoates/stl10/",
    license="that of ImageNet: non-commercial research and education",
    citation="Coates, Lee, Ng: An Analysis of Single Layer Networks in Unsupervised Feature Learning, AISTATS 2011",
)

SVHN = DatasetInfo(
    name="svhn",
    classes=names("0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    palette=distinct_colors(10),
    url="http://ufldl.stanford.edu/housenumbers/",
    license="non-commercial use",
    citation="Netzer et al.: Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS workshop 2011",
)

DIGITS_CLASSIFICATION = replace(
    DIGITS, name="digits_classification", classes=DIGITS.classes[1:], palette=distinct_colors(10)
)
