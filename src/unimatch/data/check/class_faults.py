"""Finds faults of data sets whose images have one class each."""

from collections.abc import Iterator, Sequence

from unimatch.data.catalog import DatasetInfo
from unimatch.data.check.duplicates import Fingerprints, by_fingerprint, first_same
from unimatch.data.check.findings import Part
from unimatch.data.sources.base import Source


def has_one_class(source: Source) -> bool:
    """Tells by its first image whether the images of a source have one class each."""
    if len(source) == 0:
        return False
    try:
        label = source.mask(0)
    except Exception:  # the check reads it again, and says what is wrong
        return False
    return label is not None and label.ndim == 0


def empty_classes(training: Sequence[Part], info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Yields classes without training images, labelled or not."""
    for number, name in enumerate(info.classes):
        if not any(part.showing[number] for part in training):
            yield "empty class", name


def two_classes(source: Source, fingerprints: Fingerprints, info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Yields images of one part that have the same pixels and different classes."""
    for indices in by_fingerprint(fingerprints).values():
        for place, index in enumerate(indices[1:], start=1):
            same = first_same(source.image(index), source, indices[:place])
            if same is None:
                continue
            one, other = (class_name(source, i, info) for i in (same, index))
            if one != other:
                yield "of two classes", f"{source.name(index)}: {other}, but {source.name(same)} is {one}"


def class_name(source: Source, index: int, info: DatasetInfo) -> str:
    """Returns the name of an image's class, or ``no class``."""
    label = source.mask(index)
    return "no class" if label is None else info.classes[int(label)]
