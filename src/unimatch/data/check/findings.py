"""The report of a check: kinds of faults, the counts of each part, and the findings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import DatasetInfo

FAULTS = {
    "missing": "a file that a list or a folder promises is not there",
    "unreadable": "a file is cut short, no image, of a kind that cannot be used, or outside the data set's folders",
    "dates differ in size": "the two dates of a pair do not cover each other",
    "colours": "a mask holds colours where class ids are needed",
    "no mask": "an image that needs a mask has none; training images that nobody has labelled yet are unlabelled ones "
    "with dataset.without_mask=unlabeled",
    "no class": "an image lies in a folder whose class has no training images",
    "size mismatch": "a mask and its image differ in size",
    "ids out of range": "a mask holds an id, or a colour, that is no class and is not ignored",
    "palette order": "a mask's palette gives ids the colours of other classes",
    "one class": "the labelled masks show one class alone, so nothing can be learned",
    "shifted by one": "ids run from 1 to the number of classes: each class has its neighbour's name",
    "id 0 is void": "ids run from 0 to the number of classes, so that 0 can only mean void",
    "only 0 and 255": "a mask holds nothing but 0 and 255, as black-and-white ones do, and 255 is ignored",
    "all ignored": "not one pixel of a part's masks counts",
    "empty class": "a class's folder has no training images",
    "of two classes": "images of the same pixels have different classes",
    "in two parts": "a validation or test image is also a training image",
    "same content": "a validation or test image has the pixels of a training image",
}
"""Kinds of findings that make training or validation scores wrong."""

WARNINGS = {
    "masks without image": "masks have the name of no image, so that they are not used",
    "second dates alone": "images of B have the name of none of A, so that they belong to no pair",
    "paired by likeness": "an image and its mask have names that differ by more than the extension",
    "masks among photos": "masks lie among the photos and are left out",
    "other kinds": "files of kinds that are not read are passed over",
    "folder not used": "a folder of images is not used, or not as the part that its name says",
    "classes alike": "the names of two classes differ in their case alone",
    "list not used": "a list of validation or test images lies in the data set and is not read",
    "values cut off": "many values of a band lie outside dataset.value_range",
    "range hardly used": "all values of a band lie in a small part of dataset.value_range",
    "other no data": "a GeoTIFF names a value that means no data, and dataset.no_data is not that value",
    "numbered from 1?": "no mask holds id 0; if ids start at 1, each class has its neighbour's name",
    "reduced twice?": "0 is read as void and ids as one less, but the masks look as if that had been done to them",
    "class never labelled": "no labelled image shows a class, so it cannot be learned",
    "class not validated": "no validation image shows a class, so its score is not measured",
    "mostly changed": "more than half of all labelled pixels are changed; does 0 stand for changed?",
    "1 and 255": "a mask holds both, and both mean the same class; or does 255 mean no class?",
    "same dates": "the two dates of a pair have the same pixels",
    "mask all ignored": "not one pixel of a mask counts",
    "lossy mask": "a mask is a JPEG, WebP or similar file, whose compression may change ids",
    "ids between": "a mask's edges pass through ids that lie between those on both sides, as smooth resizing does",
    "transparent": "a mask has transparent pixels, which are no class",
    "unknown values": "a mask has ids or colours of no class, and dataset.unknown_values says what becomes of them",
    "turned alone": "an image is turned by its EXIF orientation and its mask is not, or the other way round",
    "places apart": "GeoTIFFs of one sample say that they begin at different places on Earth",
    "one value": "each mask of a part holds one value all over",
    "image skipped": "an unlabelled image cannot be read and is skipped, as dataset.on_bad_image=skip says",
    "truth unusable": "an unlabelled image has a mask that cannot be used; pseudo labels are not compared with it",
    "near copy": "a validation or test image looks like a training image: a copy saved again, or a frame soon after it "
    "(dataset.val_group, or python -m unimatch.split group=..., keeps series of frames together)",
    "listed twice": "an image is in the same part more than once",
    "labelled copy": "an unlabelled image has the pixels of a labelled one of another name",
}
"""Kinds of findings that may be intended, and that the user should know."""


class Label(NamedTuple):
    """What a check keeps of a mask, or of the class of an image."""

    faults: tuple[tuple[str, str], ...] = ()
    """The kind of each fault, and a text that names the file and what is wrong."""
    stored: dict[int, int] | None = None
    """The pixels of each id in the mask's file, or 1 for the one class; None if there is neither."""
    classes: Mapping[int, int] | None = None
    """The pixels of each class that these ids are read as, 255 for ignored and -1 for unknown ones."""
    palette: Mapping[int, bytes] | None = None
    """The colour of each id in a mask with a palette, if no other of its ids has that colour."""
    drawn: str | None = None
    """The mask's file if it stores ids as they were drawn: not as colours, and without lossy compression."""


@dataclass
class Part:
    """The counts of one part of a data set."""

    name: str
    """``labelled``, ``unlabelled``, ``validation`` or ``test``."""
    pixels: NDArray[np.int64]
    """Pixels of each class id, 255 for ignored ones; if images have one class each, the images of each class."""
    showing: NDArray[np.int64]
    """The number of masks that show each class id, or of images of each class."""
    images: int = 0
    """The number of images."""
    masks: int = 0
    """The number of masks, or of images that have a class."""
    stored: Counter[int] = field(default_factory=Counter)
    """The number of masks whose file holds each id."""
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """The number of images of each height and width."""
    ids: list[tuple[str, frozenset[int]]] = field(default_factory=list)
    """The file and the ids of each mask that stores ids as they were drawn."""
    palette: dict[tuple[int, bytes], str] = field(default_factory=dict)
    """For each id and its colour in a mask's palette, the first file with these."""
    faulty: list[int] = field(default_factory=list)
    """The indices of the images with findings."""

    @classmethod
    def named(cls, name: str, num_classes: int) -> "Part":
        """Returns a part without any counts."""
        length = max(256, num_classes)
        return cls(name, np.zeros(length, np.int64), np.zeros(length, np.int64))

    def count(self, label: Label) -> None:
        """Counts one image and its label."""
        self.images += 1
        if label.stored is None or label.classes is None:
            return
        self.masks += 1
        self.stored.update(label.stored.keys())
        if label.drawn is not None:
            self.ids.append((label.drawn, frozenset(label.stored)))
        if label.drawn is not None and label.palette:
            for item in label.palette.items():
                self.palette.setdefault(item, label.drawn)
        for class_id, number in label.classes.items():
            if class_id >= 0:
                self.pixels[class_id] += number
                self.showing[class_id] += 1


@dataclass(frozen=True)
class Finding:
    """All findings of one kind in one part."""

    kind: str
    """A key of :data:`FAULTS` or :data:`WARNINGS`."""
    part: str
    texts: tuple[str, ...]
    """A text for each file or class."""

    @property
    def wrong(self) -> bool:
        """Whether it makes training or its scores wrong; otherwise it is a warning."""
        return self.kind in FAULTS


@dataclass(frozen=True)
class Report:
    """The result of :func:`unimatch.data.check.full_check`."""

    info: DatasetInfo
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    """Faults first, in the order of :data:`FAULTS`, then warnings."""
    one_class: bool = False
    """Whether each image has one class instead of a mask."""

    @property
    def wrong(self) -> bool:
        """Whether training or its scores would be wrong."""
        return any(finding.wrong for finding in self.findings)


def collect(found: Sequence[tuple[str, str, str]]) -> tuple[Finding, ...]:
    """Groups (kind, part, text) triples by kind and part, in the order of :data:`FAULTS` and :data:`WARNINGS`."""
    texts: dict[tuple[str, str], list[str]] = {}
    for kind, part, text in found:
        texts.setdefault((kind, part), []).append(text)
    order = [*FAULTS, *WARNINGS]
    return tuple(
        Finding(kind, part, tuple(items))
        for (kind, part), items in sorted(texts.items(), key=lambda item: order.index(item[0][0]))
    )
