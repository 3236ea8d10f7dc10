"""What a check reports: kinds of faults, the counts of each part, and the findings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import DatasetInfo

FAULTS = {
    "missing": "a file that a list or a folder promises is not there",
    "unreadable": "a file is cut short, no image, of a kind that cannot be used, or outside the data set's folders",
    "dates differ in size": "the two dates of a pair do not cover each other",
    "colours": "a mask holds colours where class ids are needed",
    "no mask": "a labelled or validation image has no mask",
    "no class": "an image lies in a folder whose class has no training images",
    "size mismatch": "a mask and its image differ in size",
    "ids out of range": "a mask holds an id, or a colour, that is no class and is not ignored",
    "shifted by one": "ids run from 1 to the number of classes: each class has its neighbour's name",
    "id 0 is void": "ids run from 0 to the number of classes, so that 0 can only mean void",
    "only 0 and 255": "masks hold nothing but 0 and 255, as black-and-white ones do, and 255 is ignored",
    "all ignored": "not one pixel of a part's masks counts",
    "empty class": "a class's folder has no training images",
    "of two classes": "images of the same pixels have different classes",
    "in two parts": "a validation or test image is also a training image",
    "same content": "a validation or test image has the pixels of a training image",
}
"""What makes training, or the scores on validation, wrong."""

WARNINGS = {
    "masks without image": "masks have the name of no image, so that they are not used",
    "paired by likeness": "an image and its mask have names that differ by more than the extension",
    "masks among photos": "masks lie among the photos and are left out",
    "other kinds": "files of kinds that are not read are passed over",
    "folder not used": "of two folders for one part only one is used",
    "numbered from 1?": "no mask holds id 0; if ids start at 1, each class has its neighbour's name",
    "reduced twice?": "0 is read as void and ids as one less, but the masks look as if that had been done to them",
    "class never labelled": "no labelled image shows a class, so it cannot be learned",
    "class not validated": "no validation image shows a class, so its score is not measured",
    "mostly changed": "more than half of all labelled pixels are changed; does 0 stand for changed?",
    "same dates": "the two dates of a pair have the same pixels",
    "mask all ignored": "not one pixel of a mask counts",
    "lossy mask": "a mask is a JPEG or WebP file, whose compression may change ids",
    "image skipped": "an unlabelled image cannot be read and is skipped, as dataset.on_bad_image=skip says",
    "truth unusable": "an unlabelled image has a mask that cannot be used; pseudo labels are not compared with it",
    "listed twice": "an image is in the same part more than once",
    "labelled copy": "an unlabelled image has the pixels of a labelled one of another name",
}
"""What may be meant, and is worth knowing."""


@dataclass
class Part:
    """What was counted in one part of a data set."""

    name: str
    """``labelled``, ``unlabelled``, ``validation`` or ``test``."""
    pixels: NDArray[np.int64]
    """Pixels of each class id, 255 for the ignored ones; where images have one class each, images of each class."""
    showing: NDArray[np.int64]
    """Masks that show each class id, or images of each class."""
    images: int = 0
    masks: int = 0
    """Or images that have a class."""
    stored: Counter[int] = field(default_factory=Counter)
    """Masks whose file holds each id, before it is read as a class."""
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Images of each height and width."""
    faulty: list[int] = field(default_factory=list)
    """Indices of the images with findings."""

    @classmethod
    def named(cls, name: str, num_classes: int) -> "Part":
        """Makes a part that has counted nothing yet."""
        length = max(256, num_classes)
        return cls(name, np.zeros(length, np.int64), np.zeros(length, np.int64))


@dataclass(frozen=True)
class Finding:
    """Everything of one kind that was found in one part."""

    kind: str
    """A key of :data:`FAULTS` or :data:`WARNINGS`."""
    part: str
    texts: tuple[str, ...]
    """One for each file or class."""

    @property
    def wrong(self) -> bool:
        """Whether it makes training or its scores wrong; else it is worth knowing."""
        return self.kind in FAULTS


@dataclass(frozen=True)
class Report:
    """What :func:`unimatch.data.check.full_check` has found."""

    info: DatasetInfo
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    """Faults first, in the order of :data:`FAULTS`, then warnings."""
    one_class: bool = False
    """Whether each image has one class, and not a mask."""

    @property
    def wrong(self) -> bool:
        """Whether training or its scores would be wrong."""
        return any(finding.wrong for finding in self.findings)


def collect(found: Sequence[tuple[str, str, str]]) -> tuple[Finding, ...]:
    """Collects (kind, part, text) triples by kind and part, in the order of the lists of kinds."""
    texts: dict[tuple[str, str], list[str]] = {}
    for kind, part, text in found:
        texts.setdefault((kind, part), []).append(text)
    order = [*FAULTS, *WARNINGS]
    return tuple(
        Finding(kind, part, tuple(items))
        for (kind, part), items in sorted(texts.items(), key=lambda item: order.index(item[0][0]))
    )
