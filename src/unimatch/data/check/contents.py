"""Finds images that are there more than once: the same file, or the same pixels under another name."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from unimatch.data.sources.base import FileSource, Source
from unimatch.images.arrays import ImageArray

ROWS = 24
"""About so many rows of an image make its fingerprint; images of one fingerprint are then compared whole."""

Fingerprints = Sequence[bytes | None]
"""Of a part's images; None where one could not be read."""


def fingerprint(image: ImageArray) -> bytes:
    """Computes a short value that images of the same pixels share."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    step = max(1, image.shape[-3] // ROWS)
    digest.update(np.ascontiguousarray(image[..., ::step, :, :]).data)
    return digest.digest()


def by_fingerprint(fingerprints: Fingerprints) -> dict[bytes, list[int]]:
    """Collects the images of each fingerprint."""
    result: dict[bytes, list[int]] = {}
    for i, value in enumerate(fingerprints):
        if value is not None:
            result.setdefault(value, []).append(i)
    return result


def first_same(image: ImageArray, source: Source, indices: Sequence[int]) -> int | None:
    """Finds the first of these images of a source that has the same pixels."""
    return next((i for i in indices if np.array_equal(source.image(i), image)), None)


def repeated(source: Source) -> Iterator[tuple[str, str]]:
    """Finds images that a part lists more than once."""
    times = Counter(source.pairs.images() if isinstance(source, FileSource) else ())
    return (("listed twice", f"{name}: {number} times") for name, number in times.items() if number > 1)


def shared(
    source: Source, held: Source, fingerprints: Fingerprints, held_fingerprints: Fingerprints, part: str
) -> Iterator[tuple[str, str]]:
    """Finds ``held``-out images (of ``part``) that are training images too, by their file or by their pixels."""
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
    """Finds unlabelled images that have the pixels of a labelled one and another name."""
    alike = by_fingerprint(fingerprints)
    names = {labeled.name(i) for i in range(len(labeled))}
    for j, value in enumerate(unlabeled_fingerprints):
        if value is not None and value in alike and unlabeled.name(j) not in names:
            same = first_same(unlabeled.image(j), labeled, alike[value])
            if same is not None:
                yield "labelled copy", f"{unlabeled.name(j)}: the pixels of {labeled.name(same)}"
