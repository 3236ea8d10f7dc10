"""Surveys labelled and validation masks before a training, and reports the faults of all of them together."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from unimatch.data.check.findings import FAULTS, WARNINGS, Finding, Part, collect
from unimatch.data.check.mask_faults import faults_together
from unimatch.data.check.one_image import read_label
from unimatch.data.check.pair_faults import share_faults
from unimatch.data.parallel import sample_map
from unimatch.data.sources.base import FileSource, SegmentationData, Source
from unimatch.data.sources.checked import CheckedSource
from unimatch.data.sources.dates import PairSource
from unimatch.data.sources.masks import mask_reader
from unimatch.errors import DataError

Result = TypeVar("Result")

SAMPLE_LIMIT = 1000
"""The most images that are read of a part, spread evenly."""

SAMPLE_SECONDS = 1.0
"""Seconds after which no more images of a part are read, once :data:`SAMPLE_LEAST` have been."""

SAMPLE_LEAST = 100
"""The least number of images that are read of a part, however long it takes."""

SAMPLE_OWN = 8
"""The most images that are read of a user's own source, whose samples are checked again whenever they are read."""

MASK_LIMIT = 10_000
"""The most masks that are read of a part, within the same time."""

FATAL = ("one class", "all ignored")
"""Kinds of findings that end the training if all labelled masks were read: nothing can be learned."""

NEEDS_ALL = ("class never labelled", "class not validated")
"""Kinds of findings that mean nothing unless all masks of a part were read."""

NAMED = 3
"""The most files or classes that a line names."""


def survey(data: SegmentationData) -> list[str]:
    """Reads masks of labelled and validation images from files; returns a line for each kind of finding.

    Raises:
        DataError: all labelled masks show one class or none.
    """
    reader = None if data.one_class else mask_reader(data.info)
    parts, found, seen = list[Part](), list[tuple[str, str, str]](), dict[str, str]()
    for name, source in (("labelled", data.labeled), ("validation", data.val)):
        part = Part.named(name, data.info.num_classes)
        for label in some_of(source, lambda i, source=source: read_label((source, reader), i), MASK_LIMIT):  # type: ignore[misc]
            part.count(label)
            found += [(kind, name, text) for kind, text in label.faults]
        parts.append(part)
        if isinstance(source, PairSource):
            found += [(kind, name, text) for kind, text in share_faults(part)]
        seen[name] = f" ({part.images} of {len(source)} masks looked at)" if part.images < len(source) else ""
    found += [(kind, name, text) for name, kind, text in faults_together(parts, data.info)]
    findings = [one for one in collect(found) if not (one.kind in NEEDS_ALL and seen[one.part])]
    if not seen["labelled"] and any(finding.kind in FATAL and finding.part == "labelled" for finding in findings):
        raise DataError("\n".join(line(finding) for finding in findings if finding.part != "validation"))
    return [line(finding, seen.get(finding.part, "")) for finding in findings]


def line(finding: Finding, seen: str = "") -> str:
    """Writes a finding as one line; ``seen`` says how many masks were read, if these are not all."""
    meaning = {**FAULTS, **WARNINGS}[finding.kind]
    more = f" and {len(finding.texts) - NAMED} more" if len(finding.texts) > NAMED else ""
    return f"{finding.part}{seen}: {finding.kind} ({meaning}): {'; '.join(finding.texts[:NAMED])}{more}"


def some_of(source: Source, work: Callable[[int], Result], limit: int = SAMPLE_LIMIT) -> list[Result]:
    """Calls ``work`` with the indices of as many images as time allows; returns the results in the images' order."""
    # In random order, so that the images read before the time is up are spread evenly too.
    order = np.random.default_rng(0).permutation(spread(source, limit)).tolist()
    results: dict[int, Result] = {}
    stop = time.monotonic() + SAMPLE_SECONDS
    with sample_map(source) as run:
        while len(results) < len(order) and (len(results) < SAMPLE_LEAST or time.monotonic() < stop):
            block = order[len(results) : len(results) + 20]
            results.update(zip(block, run(work, block), strict=True))
    return [results[i] for i in sorted(results)]


def spread(source: Source, limit: int = SAMPLE_LIMIT) -> list[int]:
    """Returns evenly spread indices of images to read: fewer of a user's own source, none of our sources in memory."""
    if not isinstance(source, FileSource):
        limit = SAMPLE_OWN if isinstance(source, CheckedSource) else 0
    count = min(len(source), limit)
    return [i * len(source) // count for i in range(count)]
