"""Prepares COCO 2017: draws masks of its 80 classes of things from the instance annotations."""

import functools
import json
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from unimatch.data.prepare.archives import LARGEST_TEXT, Archive, Member, Published
from unimatch.data.prepare.mask_bytes import encode_mask
from unimatch.data.prepare.parallel_writes import Job, copy_of
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import MaskArray

TRAIN, VAL, NOTES = "train2017.zip", "val2017.zip", "annotations_trainval2017.zip"
EXTRA = "unlabeled2017.zip"
PAGE = "https://cocodataset.org/#download"

ARCHIVES = (
    Archive(
        TRAIN,
        "118,287 images",
        PAGE,
        url="http://images.cocodataset.org/zips/train2017.zip",
        size=19_336_861_798,
        checksum="sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    Archive(
        VAL,
        "5,000 images",
        PAGE,
        url="http://images.cocodataset.org/zips/val2017.zip",
        size=815_585_330,
        checksum="sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    Archive(
        NOTES,
        "instance annotations",
        PAGE,
        url="http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        size=252_907_541,
        checksum="sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    ),
    Archive(
        EXTRA,
        "123,403 images to be used as unlabelled ones",
        PAGE,
        url="http://images.cocodataset.org/zips/unlabeled2017.zip",
        size=20_126_613_414,
        required=False,
    ),
)
"""The checksums are TensorFlow Datasets' (``url_checksums/coco.txt``); of the last archive only the size is known."""


class Thing(NamedTuple):
    """One annotated object, or a crowd of them."""

    label: int
    """Its class in the mask, 1-80."""
    crowd: bool
    segmentation: Any
    """Polygons, ``[[x, y, x, y, ...], ...]``, or run lengths, ``{"size": [h, w], "counts": ...}``."""


def jobs(published: Published) -> list[Job]:
    """Returns the jobs that copy images, and draw the masks of training and validation images.

    Raises:
        ConfigError: pycocotools is not installed.
        DataError: annotations are malformed or do not list an image.
    """
    if find_spec("pycocotools") is None:
        raise ConfigError("dataset=coco: pycocotools draws the masks; install it: pip install 'unimatch[coco]'")
    result = []
    for part, archive in (("train2017", TRAIN), ("val2017", VAL)):
        images = published.require(archive, rf"{part}/([^/]+)\.jpg")
        note = published.require(NOTES, rf"annotations/instances_{part}\.json")[0][1]
        masks = read_annotations(note)
        result += [copy_of(member, f"{part}/{match[1]}.jpg") for match, member in images]
        for match, member in images:
            if match[1] not in masks:
                raise DataError(f"{note.place}: {note.name} does not know the image {member.name}")
            height, width, things = masks[match[1]]
            make = functools.partial(draw, height, width, things)
            result.append(Job(f"masks/{match[1]}.png", make, height * width // 32))
    extra = published.match(EXTRA, r"(unlabeled2017/[^/]+\.jpg)")
    return result + [copy_of(member, match[1]) for match, member in extra]


def read_annotations(member: Member) -> dict[str, tuple[int, int, list[Thing]]]:
    """Returns height, width and things of every image, by the stem of its file name.

    Raises:
        DataError: the file is malformed, or an annotation has no segmentation or one of another size.
    """
    where = f"{member.place}: {member.name}"
    try:
        content = json.loads(member.read(LARGEST_TEXT))
        order = sorted(category["id"] for category in content["categories"])
        labels = {category: label for label, category in enumerate(order, start=1)}
        names = {image["id"]: image["file_name"] for image in content["images"]}
        images = {
            image["id"]: (int(image["height"]), int(image["width"]), list[Thing]()) for image in content["images"]
        }
        for number, note in enumerate(content["annotations"], start=1):
            height, width, things = images[note["image_id"]]
            if wrong := fault_of(note.get("segmentation"), height, width):
                name = note["id"] if note.get("id") is not None else f"number {number}"
                raise DataError(f"{where}: {names[note['image_id']]}: annotation {name} {wrong}")
            things.append(Thing(labels[note["category_id"]], bool(note.get("iscrowd", 0)), note["segmentation"]))
        # Some tools write the folder of an image too.
        return {re.split(r"[/\\]", name)[-1].rpartition(".")[0]: images[i] for i, name in names.items()}
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where} is no file of instance annotations ({error!r})") from error


def fault_of(segmentation: Any, height: int, width: int) -> str | None:
    """Says what is wrong with a segmentation of an image of this size; None if nothing is."""
    if not isinstance(segmentation, dict):
        whole = isinstance(segmentation, list) and all(isinstance(p, list) and len(p) % 2 == 0 for p in segmentation)
        return None if whole else "has no segmentation, or one that is no list of polygons; correct or remove it"
    size, counts = segmentation["size"], segmentation["counts"]
    if list(size) != [height, width]:
        swapped = " (height and width are swapped)" if list(size) == [width, height] else ""
        return f"has run lengths of size {size}, and the image has [{height}, {width}]{swapped}; correct it"
    if isinstance(counts, list) and sum(counts) != height * width:
        return f"has run lengths of {sum(counts)} pixels, and the image has {height * width}; correct it"
    return None


def draw(height: int, width: int, things: Sequence[Thing]) -> bytes:
    """Draws the mask of one image (:func:`draw_mask`) as PNG."""
    return encode_mask(draw_mask(height, width, things))


def draw_mask(height: int, width: int, things: Sequence[Thing]) -> MaskArray:
    """Returns the mask of one image, (height, width) uint8: the class of the thing at each pixel, 0 for none.

    Smaller things lie over larger ones, later over earlier ones of equal size, and all of them over crowds. (Which rule
    the published masks follow is not known.)
    """
    mask = np.zeros((height, width), np.uint8)
    drawn = [(thing, area_of(thing.segmentation, height, width)) for thing in things]
    for thing, area in sorted(drawn, key=lambda pair: (not pair[0].crowd, -np.count_nonzero(pair[1]))):
        mask[area] = thing.label
    return mask


def area_of(segmentation: Any, height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Returns the pixels of one thing, (height, width) bool."""
    from pycocotools import mask as rle

    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            segmentation = rle.frPyObjects(segmentation, height, width)
    else:
        # pycocotools takes four numbers for a box.
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        if not polygons:
            return np.zeros((height, width), bool)
        segmentation = rle.merge(rle.frPyObjects(polygons, height, width))
    return np.asarray(rle.decode(segmentation), bool)
