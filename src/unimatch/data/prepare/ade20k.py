"""Prepares ADE20K, the 150 classes of the scene parsing challenge."""

import functools

import numpy as np

from unimatch.data.prepare.archives import Archive, Published
from unimatch.data.prepare.jobs import Job, copy_of
from unimatch.data.prepare.mask_bytes import relabel

NAME = "ADEChallengeData2016.zip"

ARCHIVES = (
    Archive(
        NAME,
        "images and annotations",
        page="http://sceneparsing.csail.mit.edu",
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        size=967_382_037,
        checksum="sha256:7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
    ),
)
"""The checksum is TensorFlow Datasets' (``url_checksums/ade20k.txt``)."""

SHIFT = ((np.arange(256) - 1) % 256).astype(np.uint8).tobytes()
"""Published: 0 is "other", 1-150 the classes. Prepared: 255 is "other", 0-149 the classes."""


def jobs(published: Published) -> list[Job]:
    """Copies ``images/`` and writes ``annotations/`` with every id one less."""
    images = published.require(NAME, r"(images/(?:training|validation)/[^/]+\.jpg)")
    masks = published.require(NAME, r"(annotations/(?:training|validation)/[^/]+\.png)")
    return [copy_of(member, match[1]) for match, member in images] + [
        Job(match[1], functools.partial(relabel, member, SHIFT), member.size, member.path) for match, member in masks
    ]
