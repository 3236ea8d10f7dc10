"""Prepares ADE20K, the 150 classes of the scene parsing challenge."""

from functools import partial

from unimatch.data.prepare.archives import Archive, Published
from unimatch.data.prepare.mask_bytes import relabel
from unimatch.data.prepare.parallel_writes import Job, copy_of

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

SHIFT = bytes((i - 1) % 256 for i in range(256))
"""Published id -> prepared id: "other" changes from 0 to 255, the classes from 1-150 to 0-149."""


def jobs(published: Published) -> list[Job]:
    """Returns the jobs that copy ``images/``, and write ``annotations/`` with every id reduced by one."""
    images = published.require(NAME, r"(images/(?:training|validation)/[^/]+\.jpg)")
    masks = published.require(NAME, r"(annotations/(?:training|validation)/[^/]+\.png)")
    return [
        *(copy_of(member, match[1]) for match, member in images),
        *(Job(match[1], partial(relabel, member, SHIFT), member.size, member.path) for match, member in masks),
    ]
