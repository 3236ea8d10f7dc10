"""Prepares Cityscapes: fine annotations of 19 classes, and the images of the coarse set as unlabelled ones."""

import functools

from unimatch.data.prepare.archives import Archive, Published
from unimatch.data.prepare.mask_bytes import relabel
from unimatch.data.prepare.parallel_writes import Job, copy_of
from unimatch.types import IGNORE_INDEX

IMAGES, MASKS, COARSE = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip", "leftImg8bit_trainextra.zip"
PAGE = "https://www.cityscapes-dataset.com/downloads/"

ARCHIVES = (
    Archive(IMAGES, "images, 11 GB", PAGE),
    Archive(MASKS, "fine annotations, 241 MB", PAGE),
    Archive(COARSE, "the coarse set's images, 44 GB, to be used as unlabelled ones", PAGE, required=False),
)

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The published id of each of the 19 classes, in their order; all other ids are void."""

TRAIN_IDS = bytes(LABEL_IDS.index(i) if i in LABEL_IDS else IGNORE_INDEX for i in range(256))
"""Published id -> class id; 255 for void."""


def jobs(published: Published) -> list[Job]:
    """Returns the jobs that copy images, and make a ``*_labelTrainIds.png`` of each ``*_labelIds.png``."""
    images = published.require(IMAGES, r"(leftImg8bit/(?:train|val)/[^/]+/[^/]+_leftImg8bit\.png)")
    coarse = published.match(COARSE, r"(leftImg8bit/train_extra/[^/]+/[^/]+_leftImg8bit\.png)")
    masks = published.require(MASKS, r"(gtFine/(?:train|val)/[^/]+/[^/]+_gtFine_label)Ids\.png")
    return [
        *(copy_of(member, match[1]) for match, member in images + coarse),
        *(
            Job(f"{match[1]}TrainIds.png", functools.partial(relabel, member, TRAIN_IDS), member.size, member.path)
            for match, member in masks
        ),
    ]
