"""Prepares Pascal VOC 2012 with the masks of SBD, the Semantic Boundaries Dataset."""

import functools
import io

import numpy as np
import scipy.io

from unimatch.data.prepare.archives import Archive, Member, Published
from unimatch.data.prepare.mask_bytes import encode_mask
from unimatch.data.prepare.parallel_writes import Job, copy_of
from unimatch.errors import DataError

VOC, SBD = "VOCtrainval_11-May-2012.tar", "benchmark.tgz"

ARCHIVES = (
    Archive(
        VOC,
        "images and 2,913 masks",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        size=1_999_639_040,
        checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
    ),
    Archive(
        SBD,
        "SBD, masks of 11,355 of the images",
        page="http://home.bharathh.info/pubs/codes/SBD/download.html",
        url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        size=1_419_539_633,
        checksum="md5:82b4d87ceb2ed10f6038a1cba92111cb",
    ),
)
"""The checksums are torchvision's (``VOCSegmentation``, ``SBDataset``)."""

CLASSES = 21

LARGEST_MAT = 2**20
"""The most bytes of one of SBD's files, which have some 10 KB: it bounds what they decompress to."""


def jobs(published: Published) -> list[Job]:
    """Returns the jobs that copy images, lists and VOC's masks, and convert SBD's masks of images without a VOC mask.

    Both have ids 0 (background) to 20. VOC's masks mark borders of objects with 255, SBD's do not.
    """
    images = published.require(VOC, r"JPEGImages/([^/]+)\.jpg")
    own = published.require(VOC, r"SegmentationClass/([^/]+)\.png")
    lists = published.require(VOC, r"ImageSets/Segmentation/([^/]+)\.txt")
    more = published.require(SBD, r"cls/([^/]+)\.mat")
    wanted = {match[1] for match, _ in images} - {match[1] for match, _ in own}
    return [
        *(copy_of(member, f"ImageSets/Segmentation/{match[1]}.txt") for match, member in lists),
        *(copy_of(member, f"JPEGImages/{match[1]}.jpg") for match, member in images),
        *(copy_of(member, f"SegmentationClass/{match[1]}.png") for match, member in own),
        *(
            Job(f"SegmentationClass/{match[1]}.png", functools.partial(sbd_mask, member), member.size, member.path)
            for match, member in more
            if match[1] in wanted
        ),
    ]


def sbd_mask(member: Member) -> bytes:
    """Returns the class mask in one of SBD's MATLAB files as the bytes of a PNG.

    Raises:
        DataError: it cannot be read, or holds other ids.
    """
    try:
        content = scipy.io.loadmat(io.BytesIO(member.read(LARGEST_MAT)), variable_names=["GTcls"])
        mask = np.asarray(content["GTcls"]["Segmentation"][0, 0])
    except DataError:
        raise
    except Exception as error:  # scipy raises many kinds of errors for damaged files
        raise DataError(f"{member.place}: {member.name} has no GTcls.Segmentation ({error})") from error
    if mask.ndim != 2 or not 0 <= mask.min() <= mask.max() < CLASSES:
        raise DataError(f"{member.place}: {member.name} is no mask of classes 0-{CLASSES - 1}")
    return encode_mask(mask.astype(np.uint8))
