"""Collects the training images from which ``python -m unimatch.split`` chooses, with their lines in lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import FileSource, SegmentationData
from unimatch.data.sources.dates import PairSource, first_and_label
from unimatch.data.sources.files import FilePair
from unimatch.data.sources.one_class import ClassFiles
from unimatch.data.splits.generate import Candidate, group_of, read_classes_of
from unimatch.errors import DataError
from unimatch.types import NO_CLASS


@dataclass(frozen=True)
class Candidates:
    """The training images of a data set."""

    images: list[Candidate]
    """The images with a mask or a class."""
    others: list[str]
    """The lines of the images without one, which are added to every unlabelled list."""
    left_out: int = 0
    """The number of images that lists cannot name."""


def with_masks(pairs: Sequence[FilePair], root: Path, info: DatasetInfo, group: str | None, workers: int) -> Candidates:
    """Collects images and masks; lists name both by their paths relative to the root."""
    lines = {pair: line_of(pair, root) for pair in pairs}
    masked = [pair for pair in pairs if pair.mask is not None]
    groups = [group_of(relative(pair.image, root), group) for pair in masked]
    classes = read_classes_of(FileSource(masked, info), range(len(masked)), workers)
    images = [Candidate(lines[pair], seen, name) for pair, seen, name in zip(masked, classes, groups, strict=True)]
    return Candidates(images, [lines[pair] for pair in pairs if pair.mask is None])


def with_dates(pairs: Sequence[FilePair], root: Path, info: DatasetInfo, group: str | None, workers: int) -> Candidates:
    """Collects pairs of dates; lists name them by their path below ``A/`` or ``train/A/``."""
    folder = root / first_and_label(root)[0]
    named = [pair for pair in pairs if pair.image.is_relative_to(folder)]
    masked = [pair for pair in named if pair.mask is not None]
    names = [relative(pair.image, folder) for pair in masked]
    classes = read_classes_of(PairSource(masked, info), range(len(masked)), workers)
    images = [Candidate(name, seen, group_of(name, group)) for name, seen in zip(names, classes, strict=True)]
    others = [relative(pair.image, folder) for pair in named if pair.mask is None]
    return Candidates(images, others, left_out=len(pairs) - len(named))


def with_classes(data: SegmentationData, folder: Path, group: str | None) -> Candidates:
    """Collects images with one class each; lists name them by their path below the folder of training images.

    All images of a known class below this folder are candidates, including those that the data set holds out.
    """
    found: dict[str, int] = {}
    for source in (data.labeled, data.unlabeled, data.val):
        assert isinstance(source, ClassFiles)
        for i, label in enumerate(source.labels.tolist()):
            if label != NO_CLASS and Path(source.name(i)).is_relative_to(folder):
                found[relative(Path(source.name(i)), folder)] = label
    images = [Candidate(name, frozenset([label]), group_of(name, group)) for name, label in sorted(found.items())]
    return Candidates(images, [])


def line_of(pair: FilePair, root: Path) -> str:
    """Returns the line of a list: ``image_path mask_path`` relative to the root, with a tab if a path has blanks."""
    parts = [relative(path, root) for path in (pair.image, pair.mask) if path is not None]
    if all(len(part.split()) == 1 for part in parts):
        return " ".join(parts)
    return "\t".join(parts) + ("\t" if len(parts) == 1 else "")


def relative(path: Path, root: Path) -> str:
    """Returns a file's path relative to the root, with ``/``.

    Raises:
        DataError: it lies outside the root, or a list cannot hold its name.
    """
    if not path.is_relative_to(root):
        raise DataError(f"{path}: not below {root}, which the lists' paths are relative to")
    part = path.relative_to(root).as_posix()
    if "\t" in part or len(part.splitlines()) != 1:
        raise DataError(f"{path}: a list cannot hold a name with a tab or a line break; rename the file")
    return part
