"""Tells whether a data set is still the one that a training began with, wherever it lies now."""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unimatch.data.sources.base import FileSource, SegmentationData, Source

SAMPLE = 1000
"""How many images of a part are looked into, evenly spread over it."""

ENDS = 4096
"""Bytes at the beginning and at the end of a file that are looked at."""


def fingerprint(data: SegmentationData) -> dict[str, dict[str, Any]]:
    """Describes what is trained and evaluated on: of each part the number of images, their names, order and contents.

    Names are taken without the folders that all have in common. Contents are those of files: of up to :data:`SAMPLE`
    images, and of their masks, the size and both ends.
    """
    parts = {"labeled": data.labeled, "unlabeled": data.unlabeled, "val": data.val}
    return {name: of_part(source) for name, source in parts.items()}


def of_part(source: Source) -> dict[str, Any]:
    """Describes one part by plain values."""
    names = [source.name(index) for index in range(len(source))]
    common = len(os.path.commonprefix(names))  # noqa: RUF071 - of names that need not be paths
    names = [name[common:] for name in names]
    return {
        "images": len(names),
        "names": digest(sorted(names)),
        "order": digest(names),
        "contents": digest(contents(source)),
    }


def contents(source: Source) -> Iterator[str]:
    """Yields a glimpse of the files of some images, nothing for what is not made of files."""
    if isinstance(source, FileSource):
        for index in range(0, len(source), max(1, -(-len(source) // SAMPLE))):
            mask = source.pairs.mask(index)
            yield from map(glimpse, [*source.image_paths(index), *([] if mask is None else [Path(mask)])])


def glimpse(path: Path) -> str:
    """Returns a file's size and a checksum of its ends."""
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
    """Returns a short sum of some texts and their order."""
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode(errors="surrogateescape") + b"\0")
    return found.hexdigest()[:12]
