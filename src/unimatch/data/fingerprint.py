"""Makes fingerprints of data sets, which tell whether a training continues on the data it began with."""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path
from typing import Any

from unimatch.data.sources.base import FileSource, SegmentationData, Source

SAMPLE = 1000
"""The most images of a part whose files are read, spread evenly over it."""

ENDS = 4096
"""Bytes that are read at the beginning and at the end of a file."""


def fingerprint(data: SegmentationData) -> dict[str, dict[str, Any]]:
    """Returns the number, names, order and contents of the images of each part, as short digests.

    Names are taken without the folders that they have in common, so that a data set may be moved. Contents are the size
    and both ends of the files of up to :data:`SAMPLE` images and their masks.
    """
    parts = {"labeled": data.labeled, "unlabeled": data.unlabeled, "val": data.val}
    return {name: of_part(source) for name, source in parts.items()}


def of_part(source: Source) -> dict[str, Any]:
    """Returns the fingerprint of one part."""
    names = [source.name(index) for index in range(len(source))]
    common = len(os.path.commonprefix(names))  # noqa: RUF071 - names need not be paths
    names = [name[common:] for name in names]
    return {
        "images": len(names),
        "names": digest(sorted(names)),
        "order": digest(names),
        "contents": digest(contents(source)),
    }


def contents(source: Source) -> Iterator[str]:
    """Yields a summary of each file of some images and masks; nothing for a source that is not made of files."""
    if isinstance(source, FileSource):
        for index in range(0, len(source), max(1, ceil(len(source) / SAMPLE))):
            mask = source.pairs.mask(index)
            yield from map(summary, [*source.image_paths(index), *([] if mask is None else [Path(mask)])])


def summary(path: Path) -> str:
    """Returns a file's size and a checksum of both its ends, or why it cannot be read."""
    if not path.is_file():
        return "gone"
    try:
        with path.open("rb") as file:
            first, size = file.read(ENDS), os.fstat(file.fileno()).st_size
            file.seek(max(0, size - ENDS))
            return f"{size} {zlib.crc32(first + file.read(ENDS))}"
    except OSError as error:
        return f"unreadable {error.errno}"


def digest(texts: Iterable[str]) -> str:
    """Returns 12 hexadecimal digits of a hash of some texts in their order."""
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode(errors="surrogateescape") + b"\0")
    return found.hexdigest()[:12]
