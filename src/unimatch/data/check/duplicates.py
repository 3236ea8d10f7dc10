"""Finds images that appear more than once: by the same file, or by the same pixels in another file."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from unimatch.data.sources.base import FileSource, Source
from unimatch.images.arrays import ImageArray

ROWS = 24
"""About how many rows of an image make its fingerprint; images of equal fingerprints are then compared completely."""

Fingerprints = Sequence[bytes | None]
"""The fingerprints of a part's images; None for images that cannot be read."""


def fingerprint(image: ImageArray) -> bytes:
    """Returns 16 bytes that are the same for images of the same pixels."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    step = max(1, image.shape[-3] // ROWS)
    digest.update(np.ascontiguousarray(image[..., ::step, :, :]).data)
    return digest.digest()


def by_fingerprint(fingerprints: Fingerprints) -> dict[bytes, list[int]]:
    """Returns the indices of the images of each fingerprint."""
    result: dict[bytes, list[int]] = {}
    for i, value in enumerate(fingerprints):
        if value is not None:
            result.setdefault(value, []).append(i)
    return result


def first_same(image: ImageArray, source: Source, indices: Sequence[int]) -> int | None:
    """Returns the first of some images of a source that has the pixels of an image; None if none has."""
    return next((i for i in indices if np.array_equal(source.image(i), image)), None)


def repeated(source: Source) -> Iterator[tuple[str, str]]:
    """Yields images that a part lists more than once."""
    times = Counter(source.pairs.images() if isinstance(source, FileSource) else ())
    return (("listed twice", f"{name}: {number} times") for name, number in times.items() if number > 1)


def shared(
    source: Source, held: Source, fingerprints: Fingerprints, held_fingerprints: Fingerprints, part: str
) -> Iterator[tuple[str, str]]:
    """Yields images of ``held``, the part called ``part``, that are also images of ``source``, by file or by pixels."""
    files = {os.path.realpath(name) for name in source.pairs.images()} if isinstance(source, FileSource) else set()
    alike = by_fingerprint(fingerprints)
    for j, value in enumerate(held_fingerprints):
        if isinstance(held, FileSource) and os.path.realpath(held.name(j)) in files:
            yield "in two parts", f"{held.name(j)}: also a {part} image"
        elif value is not None and value in alike:
            same = first_same(held.image(j), source, alike[value])
            if same is not None:
                yield "same content", f"{source.name(same)}: the pixels of the {part} image {held.name(j)}"


def copies(
    labeled: Source, unlabeled: Source, fingerprints: Fingerprints, unlabeled_fingerprints: Fingerprints
) -> Iterator[tuple[str, str]]:
    """Yields unlabelled images that have the pixels of a labelled image with another name."""
    alike = by_fingerprint(fingerprints)
    names = {labeled.name(i) for i in range(len(labeled))}
    for j, value in enumerate(unlabeled_fingerprints):
        if value is not None and value in alike and unlabeled.name(j) not in names:
            same = first_same(unlabeled.image(j), labeled, alike[value])
            if same is not None:
                yield "labelled copy", f"{unlabeled.name(j)}: the pixels of {labeled.name(same)}"
